"""The sections with images: the history of the samples, and what the weights draw now beside real images."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.commands.report_page import Section, note
from jaxgan.commands.report_pictures import picture
from jaxgan.generation import images as images_lib
from jaxgan.generation import latents
from jaxgan.generation.run import Run

_MAX_STEPS = 24  # of the history
_HISTORY_BYTES = 4 * 2**20  # of all its pictures before they become text
_GRID_BYTES = 2**20  # of one grid
_FILE = re.compile(r"step_(\d+)(_raw)?\.png")


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A grid of fresh samples: rows of one class (or of any, without classes), one z per column with classes."""

    images: np.ndarray  # uint8 (rows * columns, H, W, C)
    z: np.ndarray
    labels: np.ndarray
    columns: int

    @property
    def num_rows(self) -> int:
        return len(self.images) // self.columns

    def first_column(self, at_most: int) -> np.ndarray:
        """Returns the numbers of the first image of up to `at_most` rows, evenly spaced."""
        rows = np.unique(np.round(np.linspace(0, self.num_rows - 1, min(at_most, self.num_rows))).astype(int))
        return rows * self.columns


def draw(run: Run, *, seed: int) -> Drawn:
    """Draws as many rows and columns as the run's own sample grids have, of the same classes, from new z."""
    rows, columns = run.config.sample.rows, run.config.sample.columns
    if run.num_classes:
        rows = min(rows, run.num_classes)
        classes = np.round(np.linspace(0, run.num_classes - 1, rows)).astype(np.int32)
        z = np.tile(latents.draw(run.latent_dim, 0, seed, 0, columns)["z"], (rows, 1))
        labels = np.repeat(classes, columns)
    else:
        z = latents.draw(run.latent_dim, 0, seed, 0, rows * columns)["z"]
        labels = np.zeros(rows * columns, np.int32)
    images = images_lib.to_uint8(run.sample(z=z, labels=labels))
    return Drawn(images, z, labels, columns)


def history(workdir: Path, same: str = "z") -> Section:
    """A slider over the sample grids that the training wrote, averaged and raw weights; `same` at every step."""
    files = _sample_files(workdir / "samples")
    steps = _spread(sorted(files), _MAX_STEPS)
    if not steps:
        return Section("history", "Sample history", note("The training has written no samples yet."))
    kinds = ["averaged", "raw"] if any("raw" in files[step] for step in steps) else [""]
    shown = [(step, kind, path) for step in steps for kind, path in files[step].items()]
    budget = _HISTORY_BYTES // len(shown)
    images = []
    for step, kind, path in shown:
        kind = kind if kind in kinds else ""
        hidden = "" if (step, kind) == (steps[-1], kinds[0]) else " hidden"
        alt = f"samples of step {step:,}{f', {kind} weights' if kind else ''}"
        images.append(
            picture(path, alt, budget=budget, attributes=f'data-step="{step}" data-kind="{kind or "the"}"{hidden}')
        )
    left_out = f" ({len(steps)} of {len(files)} steps are shown)" if len(steps) < len(files) else ""
    text = f"The same {same} at every step{left_out}."
    return Section("history", "Sample history", f'{note(text)}<figure class="history">{"".join(images)}</figure>')


def grids(run: Run, drawn: Drawn, real: np.ndarray | Path | None) -> Section:
    """What the checkpoint draws, beside real images: a grid uint8 (H, W, C), a picture file, or None."""
    scale = images_lib.display_scale(drawn.images.shape[1])
    fresh = images_lib.grid(drawn.images, columns=drawn.columns, scale=scale)
    weights = "averaged" if run.ema else "raw"
    rows = f"one class per row: {_row_names(run, drawn)}" if run.num_classes else "no classes"
    text = f"drawn at step {run.step:,} with the {weights} weights; {rows}"
    body = _figure(text, picture(fresh, f"generated images, {rows}", budget=_GRID_BYTES))
    if real is None:
        body += note("There are no real images to show: the run has no samples/real.png.")
    else:
        body += _figure("real images of the training data", picture(real, "real images", budget=_GRID_BYTES))
    return Section("classes", "Generated and real", f'<div class="beside">{body}</div>')


def _row_names(run: Run, drawn: Drawn) -> str:
    names = run.data.class_names
    labels = drawn.labels[:: drawn.columns]
    return ", ".join(names[label] if label < len(names) else str(label) for label in labels)


def _figure(caption: str, image: str) -> str:
    return f"<figure><figcaption>{html.escape(caption)}</figcaption>{image}</figure>"


def _sample_files(folder: Path) -> dict[int, dict[str, Path]]:
    """Returns {step: {"averaged" or "raw": file}}; where no weights are averaged, all are called averaged here."""
    files: dict[int, dict[str, Path]] = {}
    for path in sorted(folder.glob("step_*.png")):
        if match := _FILE.fullmatch(path.name):
            files.setdefault(int(match[1]), {})["raw" if match[2] else "averaged"] = path
    return files


def _spread(steps: Sequence[int], at_most: int) -> list[int]:
    """Returns up to `at_most` of the steps, evenly spaced in their order, the first and the last among them."""
    if len(steps) <= at_most:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (at_most - 1))] for i in range(at_most)]
