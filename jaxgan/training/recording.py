"""What a run leaves behind while it trains: scalars, sample grids, the parameter table, profiles, the status line."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from clu import parameter_overview, profiler

from jaxgan.config import Config
from jaxgan.config_tree import to_dict
from jaxgan.data.domains import DomainsDataset
from jaxgan.data.pipeline import Dataset
from jaxgan.generation import images as images_lib
from jaxgan.training.epochs import Epoch
from jaxgan.training.setup import Setup
from jaxgan.training.status import StatusLine
from jaxgan.training.tensorflow_free import periodic_actions

_SHOWN = ("d_loss", "g_loss")  # in the status line


class Recorder:
    """Writes to the workdir, the metric writers and the terminal; on all processes but the primary it does nothing."""

    def __init__(self, workdir: Path, config: Config, writer: Any, status: StatusLine, *, is_primary: bool):
        self._samples = workdir / "samples"
        self._config, self._writer, self._status = config, writer, status
        self._is_primary = is_primary
        self._columns = config.sample.columns
        self._profile = None
        if is_primary and config.log.profile_step:
            # CLU's default also waits for 3 s to pass, so a short run would leave the trace open and write nothing.
            self._profile = periodic_actions.Profile(
                logdir=workdir,
                num_profile_steps=config.log.profile_num_steps,
                profile_duration_ms=0,
                first_profile=config.log.profile_step,
                every_secs=None,
            )

    def start(self, setup: Setup, dataset: Dataset | DomainsDataset, first_step: int) -> None:
        """Records the parameter table, the settings, and one grid of real images."""
        self._columns = setup.method.grid_columns(self._config.sample.columns)
        if not self._is_primary:
            return
        if first_step == 0:
            self._writer.write_hparams(to_dict(self._config))
            self._writer.write_texts(0, {"parameters": f"```\n{parameter_table(setup)}\n```"})
        columns = self._config.sample.columns
        real = real_grid(dataset, self._config.sample.rows, columns)
        self._write_grid("real.png", real, columns)
        self._writer.write_images(first_step, {"real": real[:columns]})
        if dataset.skipped:
            self._status.say(f"{len(dataset.skipped)} unreadable images are left out, e.g. {dataset.skipped[0]}.")

    def metrics(self, step: int, metrics: Mapping[str, float], *, data_wait: float) -> None:
        """Writes the metrics of a step and shows the status line; `data_wait` is the share of time spent waiting."""
        if not metrics:
            return
        rate = self._status.report(step, {name: metrics[name] for name in _SHOWN if name in metrics})
        images_seen = step * self._config.batch_size * self._config.num_d_steps
        scalars = {f"train/{name}": value for name, value in metrics.items()} | {"images_seen": images_seen}
        scalars["data_wait"] = data_wait
        if rate is not None:
            scalars["images_per_second"] = rate
        self._writer.write_scalars(step, scalars)

    def epochs(self, finished: Sequence[Epoch]) -> None:
        """Writes the summaries of epochs, and says them where `config.log.epochs` asks for it."""
        for epoch in finished if self._config.log.epochs else ():
            self._writer.write_scalars(epoch.step, {f"epoch/{name}": value for name, value in epoch.means.items()})
            shown = [name for name in epoch.means if name.endswith(("_loss", "_grad_norm"))]
            means = ", ".join(f"{name} {epoch.means[name]:.4g}" for name in shown)
            self._status.say(f"epoch {epoch.number} ended with step {epoch.step:,}; means of it: {means}.")

    def samples(self, step: int, grids: Mapping[str, np.ndarray]) -> None:
        """Writes `step_00001000.png`: the averaged weights where there are any, with the raw ones beside it."""
        if not self._is_primary:
            return
        main = "ema" if "ema" in grids else "raw"
        for kind, images in grids.items():
            suffix = "" if kind == main else f"_{kind}"
            grid = self._write_grid(f"step_{step:08d}{suffix}.png", images, self._columns)
            self._writer.write_images(step, {f"samples/{kind}": grid[None]})

    def gates(self, step: int, gates: Mapping[str, float]) -> None:
        """Writes the gates of attention layers, where there are any."""
        if gates:
            self._writer.write_scalars(step, {f"train/{name}": value for name, value in gates.items()})

    def scores(self, step: int, scores: Mapping[str, float]) -> Mapping[str, float]:
        """Writes the scores of an evaluation and hands them on."""
        self._writer.write_scalars(step, {f"eval/{name}": float(value) for name, value in scores.items()})
        return scores

    def health(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes what was measured of the run's health."""
        self._writer.write_scalars(step, {f"health/{name}": value for name, value in scalars.items()})

    def step_done(self, step: int) -> None:
        """Starts and ends the profile that `config.log` asks for; TensorBoard's Profile tab shows it."""
        if self._profile is not None:
            self._profile(step)

    def close(self) -> None:
        """Ends a profile that is still open."""
        if self._profile is not None:
            with contextlib.suppress(RuntimeError):  # none is open
                profiler.stop()

    def finished(self, step: int, stopped: str | None) -> None:
        """Says how the run ended."""
        if stopped:
            self._status.note(f"stopped by {stopped} and saved at step {step:,}; type the same command to go on.")
        else:
            self._status.note(f"done: {step:,} steps; samples are in {self._samples}.")
        self._status.close()

    def _write_grid(self, name: str, images: np.ndarray, columns: int) -> np.ndarray:
        columns = min(columns, len(images))
        grid = images_lib.grid(images, columns=columns, scale=images_lib.display_scale(images.shape[1]))
        images_lib.write_png(self._samples / name, grid)
        return grid


def examples(dataset: Dataset | DomainsDataset, config: Config) -> dict[str, np.ndarray]:
    """Returns the real examples that `Method.sample_inputs` is given."""
    rows = config.sample.rows
    return dataset.examples(rows if dataset.spec.has_domains else rows * config.sample.columns)


def real_grid(dataset: Dataset | DomainsDataset, rows: int, columns: int) -> np.ndarray:
    """Returns real images uint8 (rows * columns, H, W, C).

    One class per row where the data is labelled; of two domains, rows of the first above as many rows of the second.
    """
    if isinstance(dataset, DomainsDataset):
        return np.concatenate([domain.first(max(1, rows // 2) * columns)[0] for domain in (dataset.a, dataset.b)])
    classes = dataset.spec.num_classes
    if not classes:
        return dataset.first(rows * columns)[0]
    shown = np.round(np.linspace(0, classes - 1, min(rows, classes))).astype(int)
    picked = [dataset.examples_of(int(label), columns)[0] for label in shown]
    blank = np.zeros((columns, *picked[0].shape[1:]), np.uint8)
    return np.concatenate([np.concatenate([images, blank])[:columns] for images in picked])


def parameter_table(setup: Setup) -> str:
    """Returns the table of all parameters, network by network."""
    tables = [
        f"{name}\n{parameter_overview.get_parameter_overview(setup.state.nets[name].params, include_stats=False)}"
        for name in setup.state.nets
    ]
    return "\n\n".join(tables)
