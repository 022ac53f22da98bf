"""`python -m jaxgan evaluate` of a run that translates: every direction against the domain that it leads to."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence

from jaxgan.commands.errors import CommandError
from jaxgan.commands.evaluate_flags import options_of, settings_of
from jaxgan.data.errors import DataError
from jaxgan.evaluation import records, translations
from jaxgan.evaluation.in_training import make_record
from jaxgan.evaluation.translations import INPUT, Domains, TranslationEvaluator
from jaxgan.generation.run import Run, open_run
from jaxgan.generation.translate import check_direction


def evaluate(args: argparse.Namespace, first: Run, steps: Sequence[int | None]) -> list[records.Record]:
    """Evaluates the steps, writes their records and returns them.

    Args:
      args: the flags.
      first: the run, opened at the first step; it has the compiled generators of all steps.
      steps: None = the newest.
    """
    directions = _directions(args, first)
    settings = settings_of(args, first.config.eval)
    domains = _domains(args, first)
    nums = args.num_samples or 0, first.config.eval.num_reference if args.num_reference is None else args.num_reference
    evaluator = TranslationEvaluator(settings, domains, directions, nums=nums, **options_of(args))
    baselines = {direction: evaluator.baseline(direction) for direction in directions} if args.baseline else {}
    done = records.read(args.workdir) if args.step == "all" else []
    found = []
    for step in steps:
        opened = first if step in (None, first.step) else open_run(args.workdir, step=step)
        for direction in directions:
            found.append(_evaluate_one(args, evaluator, first, opened, direction, baselines.get(direction), done))
    return found


def _evaluate_one(
    args: argparse.Namespace,
    evaluator: TranslationEvaluator,
    first: Run,
    opened: Run,
    direction: str,
    baseline: dict[str, float] | None,
    done: list[records.Record],
) -> records.Record:
    """Evaluates one direction of one step, unless it is done."""
    chosen = args.weights or "auto"
    weights = opened.weights_used(chosen)
    name = f"step {opened.step:,}"
    images = evaluator.images(direction, name, first, opened.variables(chosen), args.seed or 0)
    names = (*evaluator.settings.score_names, *((INPUT,) if baseline else ()))
    before = records.find(done, opened.step, evaluator.protocol(images, weights=weights), names)
    if before is not None:
        print(f"{images.name} is evaluated already under this protocol", file=sys.stderr)
        return before
    reference = evaluator.evaluators[direction].reference
    compared = f" against {reference.num:,} of {reference.name}" if reference else ""
    print(f"evaluating {name}: {images.num:,} translations of {images.inputs.name}{compared}", file=sys.stderr)
    record = make_record(opened.step, evaluator.evaluate(images, weights=weights))
    record |= {INPUT: baseline} if baseline else {}
    records.write(opened.workdir, record)
    return record


def _directions(args: argparse.Namespace, run: Run) -> tuple[str, ...]:
    if args.direction in (None, "both"):
        return run.directions
    check_direction(run, args.direction)
    return (args.direction,)


def _domains(args: argparse.Namespace, run: Run) -> Domains:
    """Returns the images of --data, or the test images beside the training's, or these."""
    own = run.config.data.source
    source = args.data or translations.held_out(own)
    if source == own and not args.data:
        print(f"{own} has no test images beside it, so the training images are evaluated", file=sys.stderr)
    try:
        return translations.open_domains(dataclasses.replace(run.config.data, source=source))
    except DataError as error:
        if args.data:
            raise
        raise CommandError(f"the run's images cannot be read ({error}) Name others by --data.") from error
