"""`python -m jaxgan report`: one HTML page that tells everything about a run and needs no network to be read."""

from __future__ import annotations

import argparse
import datetime
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxgan.commands import (
    report_attention,
    report_curves,
    report_facts,
    report_neighbours,
    report_samples,
    report_spectra,
    report_translations,
)
from jaxgan.commands.errors import CommandError
from jaxgan.commands.match_reals import Reals
from jaxgan.commands.output import output_file
from jaxgan.commands.report_page import Section, note, page
from jaxgan.core.checkpoint import CheckpointError
from jaxgan.data.errors import DataError
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.generation import images as images_lib
from jaxgan.generation import latents
from jaxgan.generation.run import Run, RunError, list_steps, open_run
from jaxgan.training.recording import real_grid

HELP = "write one self-contained HTML page about a run"

_REASONS = (CommandError, CheckpointError, DataError, EvaluationError, RunError, OSError)  # why a part is missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags: which run, its real images, and where to write."""
    parser.add_argument("--workdir", required=True, help="folder of the run, finished or training")
    parser.add_argument("--step", type=int, help="of the checkpoint; default: the newest")
    parser.add_argument("--seed", type=int, default=0, help="of the fresh samples (default 0)")
    parser.add_argument("--data", help="source of real images, or none; default: what the run was trained on")
    parser.add_argument(
        "--extractor", choices=("pixels", "classifier"), default="pixels",
        help="nearest neighbours by pixels (default), or by a small classifier trained here on the labelled images",
    )  # fmt: skip
    parser.add_argument("--out", help="file to write; default: WORKDIR/report.html, which is replaced")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")


def run(args: argparse.Namespace) -> None:
    """Writes the page. What a run does not have (yet) is a sentence in its place."""
    latents.check_seed(args.seed)
    workdir = Path(args.workdir)
    list_steps(workdir)  # raises where this is no workdir
    opened, reason = _open(workdir, args.step)
    out = Path(args.out) if args.out else workdir / "report.html"
    with output_file(out, overwrite=args.overwrite or not args.out) as file:
        file.write_text(build(workdir, opened, reason, args), encoding="utf-8")
        size = file.stat().st_size
    print(f"the report of {workdir} is {out} ({size / 2**20:.1f} MB)")


def build(workdir: Path, opened: Run | None, reason: str, args: argparse.Namespace) -> str:
    """Returns the page.

    Args:
      workdir: folder of the run.
      opened: its weights, or None.
      reason: why there are none.
      args: seed, data and extractor.
    """
    config = report_facts.read_object(workdir / "config.json")
    now = datetime.datetime.now().astimezone()
    header = report_facts.header(workdir, opened, config, now)
    sections = [report_curves.training_curves(workdir), report_curves.score_curves(workdir)]
    same = "images" if opened is not None and opened.directions else "z"
    sections.append(_part("history", "Sample history", lambda: report_samples.history(workdir, same)))
    if opened is None:
        sections.append(Section("weights", "Weights", note(f"There are no weights to look into: {reason}")))
    else:
        sections += _of_weights(opened, args)
    sections += [report_facts.settings(config), report_facts.environment(workdir)]
    return page(f"{workdir.resolve().name}: a run of jaxgan", header, sections)


def _open(workdir: Path, step: int | None) -> tuple[Run | None, str]:
    """Returns the run, or why it has no weights; a step that was named must be there."""
    try:
        return open_run(workdir, step=step), ""
    except (RunError, CheckpointError) as error:
        if step is not None:
            raise
        return None, str(error)


def _of_weights(run: Run, args: argparse.Namespace) -> list[Section]:
    """The sections that need weights; those of drawn images only where the method draws from latents."""
    if run.directions:
        return _of_translating_weights(run, args)
    spectra = report_spectra.spectra(run)
    try:
        drawn = report_samples.draw(run, seed=args.seed)
    except RunError as error:
        return [Section("classes", "Generated and real", note(str(error))), spectra]
    reals, reason = _open_reals(run, args.data)
    sections = [_part("classes", "Generated and real", lambda: report_samples.grids(run, drawn, _real(run, reals)))]
    if reals is None:
        text = f"There are no real images to compare with: {reason}"
        sections.append(Section("neighbours", "Nearest neighbours", note(text)))
    else:
        sections.append(
            _part(
                "neighbours",
                "Nearest neighbours",
                lambda: report_neighbours.neighbours(run, drawn, reals, extractor=args.extractor, seed=args.seed),
            )
        )
    return [*sections, spectra, report_attention.attention(run, drawn)]


def _of_translating_weights(run: Run, args: argparse.Namespace) -> list[Section]:
    if args.data == "none":
        text = "There are no images to translate: --data none was given."
        sections = [Section("translations", "Translations", note(text))]
    else:
        make = functools.partial(report_translations.translations, run, args.data)
        sections = [_part("translations", "Translations", make)]
    return [*sections, *([report_spectra.spectra(run)] if report_spectra.spectral_layers(run) else [])]


def _open_reals(run: Run, source: str | None) -> tuple[Reals | None, str]:
    if source == "none":
        return None, "--data none was given."
    try:
        return Reals(run, source), ""
    except _REASONS as error:
        if source is not None:
            raise
        return None, str(error)


def _real(run: Run, reals: Reals | None) -> np.ndarray | Path | None:
    """Returns the grid that the training wrote, whose rows are those of the samples, or a new one."""
    written = run.workdir / "samples" / "real.png"
    if written.is_file():
        return written
    if reals is None:
        return None
    images = real_grid(reals.dataset, run.config.sample.rows, run.config.sample.columns)
    return images_lib.grid(images, columns=run.config.sample.columns)


def _part(anchor: str, title: str, make: Callable[[], Section]) -> Section:
    try:
        return make()
    except _REASONS as error:
        return Section(anchor, title, note(f"This part is missing: {error}"))
