"""Checkpoints of a run: asynchronous, atomic, checksummed, kept by policy.

Each step is a folder of three items: `train` (the state without its averages), `ema` (the averages alone, all that
sampling needs) and `run` (JSON: format, configuration, data, checksums). Orbax writes into a temporary folder and
renames it when complete, so a folder with a step's name is whole; the checksums catch what a rename cannot, e.g. a
flipped bit on the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

from jaxgan.config import CheckpointConfig
from jaxgan.core import checksum
from jaxgan.core.state import Average, TrainState

FORMAT = 1  # of the items; a reader refuses a newer one


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the message says which and what to do."""


class Checkpointer:
    """Writes and reads the checkpoints of one workdir. Every process must call each method."""

    def __init__(self, directory: str | os.PathLike[str], config: CheckpointConfig | None = None):
        """Opens (and, with a `config`, creates) the folder; leftovers of a save that was cut off are removed then.

        Args:
          directory: e.g. `runs/digits/checkpoints`.
          config: when and what to keep; None opens for reading only.
        """
        self.directory = os.path.abspath(directory)
        self._every_steps = config.every_steps if config else 0
        self._healthy: dict[int, bool] = {}
        try:
            self._manager = ocp.CheckpointManager(self.directory, options=_options(config, self.is_healthy))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.directory} cannot be used for checkpoints ({_reason(error)}).") from error

    def steps(self) -> list[int]:
        """Steps with a complete checkpoint on the disk, ascending; a save in the background is not among them."""
        # Orbax's own list counts a save from its beginning, even if it fails. A complete one has its plain number.
        names = os.listdir(self.directory) if os.path.isdir(self.directory) else []
        return sorted(int(name) for name in names if name.isdigit())

    def latest_step(self) -> int | None:
        """The newest complete checkpoint, if any."""
        return max(self.steps(), default=None)

    def is_healthy(self, step: int) -> bool:
        """Whether a checkpoint was saved while nothing was wrong with the run; False where that cannot be read."""
        if step not in self._healthy:
            facts = self._facts(step)
            self._healthy[step] = bool(facts) and facts.get("healthy", True) is True
        return self._healthy[step]

    def num_rollbacks(self, step: int) -> int | None:
        """How many rollbacks the run had behind it when it saved this step; None where that cannot be read."""
        facts = self._facts(step)
        found = facts.get("rollbacks", 0) if facts else None
        return found if isinstance(found, int) else None

    def remove(self, steps: Sequence[int]) -> None:
        """Deletes checkpoints, newest first: what is left at any moment is a run that ended earlier."""
        for step in sorted(steps, reverse=True):
            with self._reporting(step, "remove"):
                self._manager.delete(step)
            self._healthy.pop(step, None)

    def is_due(self, step: int) -> bool:
        """Whether the settings ask for a checkpoint of this step."""
        return step > 0 and step % self._every_steps == 0

    def save(
        self,
        step: int,
        state: TrainState,
        run: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
        *,
        healthy: bool = True,
    ) -> None:
        """Starts to save; returns when the arrays are copied, and writes in the background.

        Args:
          step: number of finished steps; saving the same step twice is a no-op.
          state: what to save.
          run: JSON-serialisable facts: "config", "data", "rollbacks".
          metrics: scores of this step, for keeping the best.
          healthy: whether nothing was wrong with the run; the newest such one is kept until there is another.

        Raises:
          CheckpointError: this save, or the one before it in the background, failed (e.g. disk full).
        """
        if step in self._manager.all_steps():
            return
        self._check_space(state)
        items = _items(state)
        sums = {name: checksum.compute(item) for name, item in items.items()}
        shapes = {name: checksum.shapes(item) for name, item in items.items()}
        args = ocp.args.Composite(
            **{name: ocp.args.StandardSave(item) for name, item in items.items()},
            run=ocp.args.JsonSave(dict(run, healthy=healthy, format=FORMAT, checksums=sums, shapes=shapes)),
        )
        self._healthy[step] = healthy
        with self._reporting(step):
            self._manager.save(step, args=args, metrics=dict(metrics) if metrics else None, force=True)
        kept = set(self._manager.all_steps())
        self._healthy = {known: fine for known, fine in self._healthy.items() if known in kept}

    def wait(self) -> None:
        """Blocks until the save in the background is complete.

        Raises:
          CheckpointError: it failed.
        """
        with self._reporting(None):
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def check(self) -> None:
        """Raises CheckpointError if a save in the background has failed; does not wait."""
        with self._reporting(None):
            self._manager.check_for_errors()

    def close(self) -> None:
        self._manager.close()

    def run(self, step: int) -> dict[str, Any]:
        """Reads the JSON item of a step."""
        with self._reading(step):
            found = self._manager.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore()))["run"]
            if not isinstance(found, dict) or not {"format", "checksums", "shapes"} <= set(found):
                raise ValueError("it was not written by jaxgan")
            if not isinstance(found["format"], int) or not all(
                isinstance(found[name], dict) and all(isinstance(item, dict) for item in found[name].values())
                for name in ("checksums", "shapes")
            ):
                raise ValueError("its item `run` is damaged")
            if found["format"] > FORMAT:
                raise ValueError(f"its format {found['format']} is newer than this version's {FORMAT}; update jaxgan")
            return found

    def restore(self, step: int, like: TrainState) -> TrainState:
        """Reads a state.

        Args:
          step: one of `steps()`.
          like: a state of the same structure; its shardings say where the arrays go, so any number of devices works.

        Raises:
          CheckpointError: the checkpoint is absent, truncated, damaged, or of other networks.
        """
        run = self.run(step)
        items = {name: self._restore_item(step, name, item, run) for name, item in _items(like).items()}
        train = items["train"]
        return like.replace(step=train["step"], nets=train["nets"], aux=train["aux"], ema=items.get("ema", {}))

    def restore_ema(self, step: int, like: dict[str, Average]) -> dict[str, Average]:
        """Reads the moving averages alone; see `restore`."""
        return self._restore_item(step, "ema", like, self.run(step))

    def _restore_item(self, step: int, name: str, like: Any, run: Mapping[str, Any]) -> Any:
        with self._reading(step):
            if problem := _mismatch(run["shapes"].get(name, {}), checksum.shapes(like)):
                raise ValueError(f"it was saved from other networks: {problem}")
            abstract = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None)), like
            )
            args = ocp.args.Composite(**{name: ocp.args.StandardRestore(abstract)})
            # Orbax hands back buffers that may share memory with its own; the donated step needs buffers of its own.
            restored = jax.tree.map(lambda x: x.copy(), self._manager.restore(step, args=args)[name])
            if damaged := checksum.mismatches(restored, run["checksums"][name]):
                raise ValueError(f"checksum of {damaged[0]} does not match: the file is damaged")
            return restored

    def _facts(self, step: int) -> dict[str, Any]:
        """The JSON item as it lies on the disk, unchecked; {} where it cannot be read."""
        # Not by way of the manager, which asks while it saves (see `_NewestHealthy`).
        try:
            with open(os.path.join(self.directory, str(step), "run", "metadata"), encoding="utf-8") as file:
                found = json.load(file)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _check_space(self, state: TrainState) -> None:
        """Refuses a save that cannot succeed before anything is written."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.directory).free
        if free < needed:
            kept = self.latest_step()
            rest = f"the one of step {kept} stays valid" if kept is not None else "there is none before it"
            raise CheckpointError(
                f"cannot save a checkpoint in {self.directory}: it takes up to {needed / 2**20:,.1f} MiB and "
                f"{free / 2**20:,.1f} MiB are free; {rest}. Make room and type the same command to go on."
            )

    @contextlib.contextmanager
    def _reporting(self, step: int | None, doing: str = "save") -> Iterator[None]:
        """Turns whatever the storage layer raises while writing into one sentence."""
        try:
            yield
        except CheckpointError:
            raise
        except Exception as error:
            which = "a checkpoint" if step is None else f"the checkpoint of step {step}"
            kept = self.latest_step()
            rest = f"the one of step {kept} stays valid" if kept is not None else "there is none before it"
            raise CheckpointError(
                f"cannot {doing} {which} in {self.directory} ({_reason(error)}); {rest}. Make room and type the same "
                "command to go on."
            ) from error

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        """Turns whatever the storage layer raises while reading into one sentence."""
        try:
            yield
        except CheckpointError:
            raise
        except Exception as error:
            older = [s for s in self.steps() if s < step]
            fix = f"delete that folder to go on from step {older[-1]}" if older else "use another --workdir"
            folder = os.path.join(self.directory, str(step))
            raise CheckpointError(f"{folder} cannot be read ({_reason(error)}); {fix}.") from error


def _reason(error: BaseException) -> str:
    """What the operating system said, if it is quoted, else the first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    if quoted := re.search(r"\[OS error \d+: ([^\]]+)\]|\(os error \d+\): ([^\[]+)", str(error)):
        return next(text for text in quoted.groups() if text).strip()
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def _items(state: TrainState) -> dict[str, Any]:
    items = {"train": {"step": state.step, "nets": state.nets, "aux": state.aux}}
    return items | {"ema": state.ema} if state.ema else items


def _mismatch(saved: Mapping[str, str], wanted: Mapping[str, str]) -> str | None:
    """Names the first array that the checkpoint has otherwise; the storage layer's own words would be its internals."""
    for name in sorted(set(saved) | set(wanted)):
        if saved.get(name) != wanted.get(name):
            return f"{name} is {saved.get(name, 'absent')} there and {wanted.get(name, 'absent')} here"
    return None


class _NewestHealthy(policies.PreservationPolicy):
    """Keeps the newest healthy checkpoint, which a run that goes wrong is rolled back to."""

    def __init__(self, is_healthy: Callable[[int], bool]):
        self._is_healthy = is_healthy

    def should_preserve(self, checkpoints: Sequence[Any], *, context: policies.PreservationContext) -> Sequence[bool]:
        del context
        newest = next((info.step for info in reversed(checkpoints) if self._is_healthy(info.step)), None)
        return [info.step == newest for info in checkpoints]


def _options(config: CheckpointConfig | None, is_healthy: Callable[[int], bool]) -> ocp.CheckpointManagerOptions:
    if config is None:
        return ocp.CheckpointManagerOptions(read_only=True, save_interval_steps=0, create=False)
    keep: list[policies.PreservationPolicy] = [policies.LatestN(config.keep), _NewestHealthy(is_healthy)]
    if config.keep_every:
        keep.append(policies.EveryNSteps(config.keep_every))
    if config.keep_best:
        # A score that a checkpoint lacks counts as the worst possible.
        worst = float("inf") if config.best_is_lower else float("-inf")
        keep.append(
            policies.BestN(
                get_metric_fn=lambda metrics: metrics.get(config.best_metric, worst),
                reverse=config.best_is_lower,
                n=config.keep_best,
                keep_checkpoints_without_metrics=False,
            )
        )
    return ocp.CheckpointManagerOptions(
        enable_async_checkpointing=True,
        preservation_policy=policies.AnyPreservationPolicy(keep),
        create=True,
        cleanup_tmp_directories=True,
    )
