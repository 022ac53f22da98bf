"""Rolling a run back: to which checkpoint, with what changed, how often; remembered in `health.jsonl`.

The file has one JSON object per event of the run's health: "warning", "cleared", "rollback", "stopped", with the step,
the signal, its value and its limit. It is only ever appended to, so the events of steps that were undone stay, and
the number of its rollbacks is what counts against `HealthConfig.max_rollbacks`, over any number of restarts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from jaxgan.config import Config
from jaxgan.core import rng
from jaxgan.core.checkpoint import Checkpointer, CheckpointError
from jaxgan.core.state import TrainState
from jaxgan.training.metrics import HealthError, NonFiniteError

FILE = "health.jsonl"


class Rollbacks:
    """The rollbacks of one run. All processes hold the same; the primary one writes them down."""

    def __init__(self, workdir: Path, config: Config, *, own_method: bool, is_primary: bool):
        """Reads what happened before; changes nothing.

        Args:
          workdir: of the run; may be absent.
          config: the settings.
          own_method: the optimizers come from Python, so `config` does not set their learning rates.
          is_primary: False on all processes but one.
        """
        self._path, self._config, self._own_method = workdir / FILE, config, own_method
        self._is_primary = is_primary
        self._targets = _targets(self._path)  # steps, one per rollback

    @property
    def count(self) -> int:
        """How often this run was rolled back."""
        return len(self._targets)

    def config(self) -> Config:
        """Returns the settings with the learning rates that hold after the rollbacks so far."""
        factor = self._config.health.rollback_lr_factor**self.count
        scaled = {
            name: dataclasses.replace(optim, lr=optim.lr * factor)
            for name, optim in (("g_optim", self._config.g_optim), ("d_optim", self._config.d_optim))
        }
        return dataclasses.replace(self._config, **scaled) if self.count else self._config

    def root_key(self, key: jax.Array) -> jax.Array:
        """Returns the run's key, which differs after each rollback: else the same steps would fail in the same way."""
        if not self.count:
            return key
        fold = jax.jit(
            lambda key: jax.random.fold_in(rng.stream(key, "rollback"), self.count), out_shardings=key.sharding
        )
        return fold(key)

    def restore(self, checkpointer: Checkpointer, fresh: TrainState) -> TrainState:
        """Reads the checkpoint to go on from (`next_step`), and deletes those that a rollback has undone after that.

        Args:
          checkpointer: of the run.
          fresh: the state of step 0, which is returned where there is no checkpoint.

        Raises:
          CheckpointError: it cannot be read. Nothing was deleted then.
        """
        latest, undone = self.next_step(checkpointer), self._undone(checkpointer)
        state = fresh if latest is None else checkpointer.restore(latest, fresh)
        if jax.process_count() > 1:  # deleting before all have listed them would leave the processes with other lists
            multihost_utils.sync_global_devices("jaxgan: rollback")
        checkpointer.remove(undone)
        return state

    def next_step(self, checkpointer: Checkpointer) -> int | None:
        """The step of the checkpoint that `restore` will read."""
        return max(set(checkpointer.steps()) - set(self._undone(checkpointer)), default=None)

    def roll_back(self, failure: HealthError, checkpointer: Checkpointer) -> str:
        """Decides where to go on from and writes it down; the next start, in whatever process, obeys.

        The target is the newest healthy checkpoint which was not a target before (from the same one the run might fail
        as before), else the newest healthy one, else the initial state, step 0.

        Returns:
          What to tell the user.

        Raises:
          HealthError: `failure`, with a diagnosis, because the budget is spent.
        """
        with contextlib.suppress(CheckpointError):
            checkpointer.wait()
        budget = self._config.health.max_rollbacks
        if self.count >= budget:
            self.log({"event": "stopped", "step": failure.step, "reason": str(failure)})
            failure.args = (self._diagnosis(failure, checkpointer),)
            raise failure
        target = self._target(checkpointer)
        self._targets.append(target)
        self.log({"event": "rollback", "step": failure.step, "to_step": target, "reason": str(failure)})
        factor = self._config.health.rollback_lr_factor**self.count
        lr = "other randomness" if self._own_method else f"learning rates x {factor:g} and other randomness"
        return (
            f"{failure}; rolling back to step {target:,} with {lr} (rollback {self.count} of at most {budget}, "
            "config.health.max_rollbacks)."
        )

    def log(self, event: dict[str, Any]) -> None:
        """Appends an event and waits until it is on the disk."""
        if not self._is_primary:
            return
        with open(self._path, "ab+") as file:
            if file.tell() and _last_byte(file) != b"\n":  # a kill cut the last line off
                file.write(b"\n")
            file.write(json.dumps(event).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _target(self, checkpointer: Checkpointer) -> int:
        healthy = [step for step in checkpointer.steps() if checkpointer.is_healthy(step)]
        unused = [step for step in healthy if step not in self._targets]
        return max(unused or healthy, default=0)

    def _undone(self, checkpointer: Checkpointer) -> list[int]:
        """Checkpoints that are later than the last target and older than that rollback."""
        if not self._targets:
            return []
        later = [step for step in checkpointer.steps() if step > self._targets[-1]]
        # One whose number cannot be read is damaged: restoring it says so.
        return [step for step in later if (n := checkpointer.num_rollbacks(step)) is not None and n < self.count]

    def _diagnosis(self, failure: HealthError, checkpointer: Checkpointer) -> str:
        times = f"after {self.count} rollback{'s' * (self.count != 1)} (config.health.max_rollbacks)"
        seen = f"{failure}, {times}" if self.count else str(failure)
        healthy = [step for step in checkpointer.steps() if checkpointer.is_healthy(step)]
        if not isinstance(failure, NonFiniteError):
            last = f"the newest healthy checkpoint is step {healthy[-1]}" if healthy else "no checkpoint is healthy"
            return (
                f"{seen}; {last}. Lower the learning rates, raise the batch size or strengthen D's regularisation and "
                "start again; or change the limits, docs/reliability.md tells how."
            )
        latest = checkpointer.latest_step()
        last = f"the last good checkpoint is step {latest}" if latest is not None else "there is no checkpoint yet"
        return (
            f"{seen}; {last}. Nothing after it was saved: lower the learning rate or change the seed, and start again "
            "from there with --accept_config_change."
        )


def _targets(path: Path) -> list[int]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    targets = []
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            if event["event"] == "rollback":
                targets.append(int(event["to_step"]))
    return targets


def _last_byte(file: Any) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
