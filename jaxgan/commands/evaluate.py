"""`python -m jaxgan evaluate`: scores of a run, of a folder of images, or of features, with their protocol."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from jaxgan.commands import evaluate_table, evaluate_translations, opening
from jaxgan.commands.errors import CommandError
from jaxgan.commands.evaluate_flags import add_arguments, options_of, settings_of, steps_of
from jaxgan.config import EvalConfig
from jaxgan.data.domains import DomainsDataset
from jaxgan.data.errors import DataError
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.sources import open_source
from jaxgan.evaluation import image_sets, records
from jaxgan.evaluation.evaluator import Evaluator
from jaxgan.evaluation.extraction import Extracted, read_features
from jaxgan.evaluation.image_sets import GeneratedImages, RealImages
from jaxgan.evaluation.in_training import make_record
from jaxgan.evaluation.protocol import Protocol
from jaxgan.evaluation.scores import Scores, metric_fields, score
from jaxgan.evaluation.settings import Settings, need
from jaxgan.generation import latents
from jaxgan.generation.run import Run, open_run

__all__ = ["HELP", "add_arguments", "run"]

HELP = "compute FID, IS, KID, precision and recall, ... of a run, of a folder of images, or of features"

_OF_LATENTS = ("bn", "truncation", "truncation_curve")
_OF_TRANSLATIONS = ("direction", "baseline")
_OF_RUNS = ("step", "weights", *_OF_LATENTS, *_OF_TRANSLATIONS)
_OF_NETWORKS = ("extractor", "resizer", "inception_weights", "classifier_steps")


def run(args: argparse.Namespace) -> None:
    """Evaluates and prints."""
    if args.seed is not None:
        latents.check_seed(args.seed)
    if args.workdir:
        found = _evaluate_run(args)
        many = args.step == "all" or args.truncation_curve is not None or len(found) > 1
    else:
        found, many = [_evaluate_images(args)], False
    if args.json:
        print(json.dumps({"evaluations": found} if many else found[0], allow_nan=False))
        return
    earlier = [record for record in records.read(args.workdir) if record not in found] if args.workdir else []
    print(evaluate_table.table(found + earlier))


def _evaluate_run(args: argparse.Namespace) -> list[records.Record]:
    truncations = _truncations(args)
    opening.num_standing_batches(args.bn or "running")
    steps = steps_of(args)
    first = open_run(args.workdir, step=steps[0])
    _refuse(args, _OF_LATENTS if first.directions else _OF_TRANSLATIONS, first)
    if first.directions:
        return evaluate_translations.evaluate(args, first, steps)
    settings = settings_of(args, first.config.eval)
    num = first.config.eval.num_samples if args.num_samples is None else args.num_samples
    evaluator = Evaluator(settings, _reference_of(first, args, settings), **options_of(args))
    done = records.read(args.workdir) if args.step == "all" else []
    found: list[records.Record] = []
    for step in steps:
        opened = first if step == first.step else open_run(args.workdir, step=step)
        for truncation in truncations:
            chosen = argparse.Namespace(
                weights=args.weights or "auto", bn=args.bn or "running", truncation=truncation, seed=args.seed or 0
            )
            record = _evaluate_step(evaluator, first, opened, chosen, num, done)
            found.append(record)
    return found


def _evaluate_step(
    evaluator: Evaluator, first: Run, opened: Run, chosen: argparse.Namespace, num: int, done: list[records.Record]
) -> records.Record:
    """Evaluates one step at one truncation, unless it is done; `first` has the compiled generator of all steps."""
    facts = opening.describe(opened, chosen)
    about = {
        "weights": facts["weights"],
        "bn": chosen.bn,
        "truncation": "none" if chosen.truncation is None else f"{chosen.truncation:g}",
        "seed": chosen.seed,
    }
    at = "" if chosen.truncation is None else f" at truncation {about['truncation']}"
    name = f"step {opened.step:,}{at}"
    images = GeneratedImages(
        name, num, first, opened.variables(chosen.weights), chosen.seed, chosen.truncation, opened.data.class_names
    )
    evaluator.check(images)
    protocol = evaluator.protocol(images, **about)
    before = records.find(done, opened.step, protocol, evaluator.settings.score_names)
    if before is not None:
        print(f"{name} is evaluated already under this protocol", file=sys.stderr)
        return before
    compared = f" against {evaluator.reference.num:,} of {evaluator.reference.name}" if evaluator.reference else ""
    print(f"evaluating {name}: {num:,} samples{compared}", file=sys.stderr)
    images = dataclasses.replace(images, variables=opening.choose_variables(opened, chosen))
    record = make_record(opened.step, evaluator.evaluate(images, **about))
    records.write(opened.workdir, record)
    return record


def _refuse(args: argparse.Namespace, flags: tuple[str, ...], run: Run) -> None:
    what = "translates images" if run.directions else "draws images from latents"
    for flag in flags:
        if getattr(args, flag) is not None:
            raise CommandError(f"--{flag} does not apply, since {run.workdir} {what}; leave it out.")


def _evaluate_images(args: argparse.Namespace) -> records.Record:
    for flag in _OF_RUNS:
        if getattr(args, flag) is not None:
            raise CommandError(f"--{flag} belongs to --workdir; leave it out with --images.")
    settings = settings_of(args, EvalConfig())
    if settings.needs_reference and args.data is None:
        raise CommandError(f"--data is missing; {need(settings.metrics)} real images to compare with.")
    files = [text.endswith(".npz") for text in (args.images, args.data) if text is not None]
    if any(files):
        if not all(files):
            raise CommandError(
                "--images and --data must both be .npz files of features, or neither; extract the other."
            )
        scores = _score_features(args, settings)
    else:
        images = _open_images("images", args.images, "num_samples", args.num_samples)
        reference = None
        if settings.needs_reference:
            reference = _open_images("data", args.data, "num_reference", args.num_reference)
        settings.check_sizes(images.num, reference and reference.num, (args.images, args.data or ""))
        settings.check_labels(images.num_classes > 0, reference is None or reference.num_classes > 0)
        scores = Evaluator(settings, reference, **options_of(args)).evaluate(images, seed=settings.kid_seed)
    return {"images": args.images, **scores.to_json()}


def _open_images(flag: str, text: str, num_flag: str, num: int | None) -> RealImages:
    if Path(text).expanduser().is_dir():
        text = f"folder:{text}"
    elif ":" not in text and text != "digits":
        raise CommandError(f"--{flag} {text} is no folder, no .npz file and no source such as folder:PATH; correct it.")
    images = image_sets.from_source(open_source(text))
    if not 0 <= (num or 0) <= images.total:
        raise CommandError(f"--{num_flag} (={num}) must be at most {images.total}, the images of {text}; 0 takes all.")
    return dataclasses.replace(images, num=num or images.total)


def _score_features(args: argparse.Namespace, settings: Settings) -> Scores:
    for flag in (*_OF_NETWORKS, "num_samples", "num_reference"):
        if getattr(args, flag) is not None:
            raise CommandError(f"--{flag} is for images, and .npz files hold features; leave it out.")
    if "cas" in settings.metrics:
        raise CommandError("the metric cas needs images, and .npz files hold features; leave it out.")
    generated, _ = read_features(args.images)
    reference, fingerprint = read_features(args.data) if args.data and settings.needs_reference else (None, None)
    for path, found in ((args.images, generated), (args.data, reference)):
        _check_features(args, settings, path, found, is_reference=found is reference)
    num_reference = reference and reference.moments.count
    settings.check_sizes(generated.moments.count, num_reference, (args.images, args.data or ""))
    values, notes = score(settings, reference, generated)
    for note in notes:
        print(f"jaxgan: {note}.", file=sys.stderr)
    protocol = Protocol(
        extractor="features given",
        dims=generated.moments.dim,
        reference=args.data if reference else None,
        fingerprint=fingerprint,
        num_reference=num_reference,
        num_samples=generated.moments.count,
        seed=settings.kid_seed,
        notes="|".join(notes) or None,
        **metric_fields(settings),
    )
    return Scores({name: values[name] for name in settings.score_names}, protocol)


def _check_features(
    args: argparse.Namespace, settings: Settings, path: str, found: Extracted | None, *, is_reference: bool
) -> None:
    if found is None:
        return
    if args.feature_dims is not None and args.feature_dims != found.moments.dim:
        raise CommandError(f"{path} has {found.moments.dim} features and --feature_dims is {args.feature_dims}.")
    missing = {"logits": settings.needs_logits and not is_reference, "labels": "intra_fid" in settings.metrics}
    for name, needed in missing.items():
        if needed and getattr(found, name) is None:
            metric = "is" if name == "logits" else "intra_fid"
            raise CommandError(f"{path} has no array `{name}`, which the metric {metric} needs; leave the metric out.")


def _truncations(args: argparse.Namespace) -> list[float | None]:
    if args.truncation_curve is None:
        latents.check_truncation(args.truncation)
        return [args.truncation]
    if args.truncation is not None:
        raise CommandError("--truncation and --truncation_curve exclude each other; leave one of them out.")
    try:
        found = [float(text) for text in args.truncation_curve.split(",")]
    except ValueError as error:
        raise CommandError(
            f"--truncation_curve (={args.truncation_curve!r}) must be numbers joined by commas, e.g. 0.5,1,2."
        ) from error
    for truncation in found:
        latents.check_truncation(truncation)
    return list(found)


def _reference_of(run: Run, args: argparse.Namespace, settings: Settings) -> RealImages | None:
    """Returns the images of --data, or of the training, as the training sees them, unflipped."""
    if not settings.needs_reference:
        return None
    data = dataclasses.replace(run.config.data, source=args.data or run.config.data.source)
    try:
        dataset = open_dataset(data)
    except DataError as error:
        if args.data:
            raise
        raise CommandError(f"the run's training images cannot be read ({error}) Name others by --data.") from error
    if isinstance(dataset, DomainsDataset):
        raise CommandError(f"--data {data.source} has two domains, and the run draws images of one; give folder:PATH.")
    num = run.config.eval.num_reference if args.num_reference is None else args.num_reference
    return image_sets.from_dataset(dataset, data, num)
