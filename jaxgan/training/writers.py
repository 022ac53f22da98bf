"""What a run records of itself: `metrics.jsonl` and TensorBoard event files, behind one CLU writer."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.training.partial_writer import PartialWriter
from jaxgan.training.tensorboard_writer import TensorBoardWriter
from jaxgan.training.tensorflow_free import metric_writers

METRICS_FILE = "metrics.jsonl"


def make_writer(
    workdir: str | os.PathLike[str], *, resume_step: int | None, is_primary: bool
) -> metric_writers.MultiWriter:
    """Returns the writer of a run: scalars to `metrics.jsonl` at once, everything to TensorBoard in the background.

    Arrays given to `write_images` and `write_histograms` are read later by another thread: pass NumPy arrays, not
    buffers that a training step donates. An error of the background thread is raised by a later call.

    Args:
      workdir: the folder of the run; created if absent.
      resume_step: the step that the run goes on from; what was recorded of later steps, which will be run again, is
        dropped from `metrics.jsonl` and hidden in TensorBoard. None: the run starts anew, so nothing recorded in this
        workdir before belongs to it.
      is_primary: False on all processes but one; their writers write nothing and touch no file.
    """
    if not is_primary:
        return metric_writers.MultiWriter([])
    folder = Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    last_step = -1 if resume_step is None else resume_step
    drop_later_steps(folder / METRICS_FILE, last_step)
    tensorboard = TensorBoardWriter(folder, purge_step=last_step + 1)
    return metric_writers.MultiWriter(
        [JsonlWriter(folder / METRICS_FILE), metric_writers.AsyncWriter(tensorboard, num_workers=1)]
    )


class JsonlWriter(PartialWriter):
    """Appends one JSON object per `write_scalars`: `{"step": 100, "train/d_loss": 1.25, ...}`; ignores the rest.

    A line reaches the operating system whole before the call returns, so a killed process loses none. JSON has no
    non-finite numbers: they are written as "NaN", "Infinity" and "-Infinity", which `float()` reads back.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "a", encoding="utf-8")

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes single numbers (any one-element array, also on a device: the call then waits for it)."""
        # device_get is an explicit transfer, which jax.transfer_guard("disallow") lets pass.
        values = {name: _plain(value) for name, value in jax.device_get(dict(scalars)).items()}
        self._file.write(json.dumps({"step": int(step), **values}, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _plain(value: Any) -> bool | int | float | str:
    number = np.asarray(value).item()
    if isinstance(number, float) and not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    return number


def drop_later_steps(path: str | os.PathLike[str], last_step: int) -> None:
    """Removes from a JSON Lines file what is later than `last_step`, and every line that is not whole.

    The file is replaced atomically: a process killed meanwhile leaves the old one. An absent file stays absent.
    """
    path = Path(path)
    if not path.exists():
        return
    temporary = path.with_name(f".{path.name}.tmp")
    with open(path, "rb") as old, open(temporary, "wb") as new:
        new.writelines(line for line in old if _keep(line, last_step))
        new.flush()
        os.fsync(new.fileno())
    os.replace(temporary, path)


def _keep(line: bytes, last_step: int) -> bool:
    if not line.endswith(b"\n"):  # cut off by a kill; even if it parses, a number may have lost digits
        return False
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and isinstance(record.get("step"), int) and record["step"] <= last_step
