"""`python -m jaxgan evaluate`: scores of a run, of a folder of images, or of features, with their protocol."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from jaxgan.commands import evaluate_table, opening, own_extractor
from jaxgan.commands.errors import CommandError
from jaxgan.config import EvalConfig
from jaxgan.data.errors import DataError
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.sources import open_source
from jaxgan.evaluation import image_sets, records
from jaxgan.evaluation.evaluator import Evaluator, default_cache
from jaxgan.evaluation.extraction import Extracted, read_features
from jaxgan.evaluation.image_sets import GeneratedImages, RealImages
from jaxgan.evaluation.in_training import make_record
from jaxgan.evaluation.protocol import Protocol
from jaxgan.evaluation.scores import Scores, metric_fields, score
from jaxgan.evaluation.settings import METRICS, Settings, need
from jaxgan.generation import latents
from jaxgan.generation.run import Run, list_steps, open_run

HELP = "compute FID, IS, KID, precision and recall, ... of a run, of a folder of images, or of features"

_OF_RUNS = ("step", "weights", "bn", "truncation", "truncation_curve")
_OF_NETWORKS = ("extractor", "resizer", "inception_weights", "classifier_steps")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags: what to evaluate, against what, and how."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", help="folder of a run, finished or training; its evaluations.jsonl is added to")
    what.add_argument("--images", help="or a folder, source string, or .npz of `features` (N, D) and `logits`")
    parser.add_argument("--data", help="the real images: source string, or .npz; default: the run's training images")
    parser.add_argument("--metrics", help=f"some of {','.join(METRICS)} (default: config.eval.metrics, else fid)")
    parser.add_argument(
        "--num_samples", type=int, help="generated images (default: config.eval.num_samples), or --images"
    )
    parser.add_argument("--num_reference", type=int, help="real images, spread over --data; 0 (default) = all")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout, and nothing else there")
    _add_run_arguments(parser.add_argument_group("with --workdir"))
    network = parser.add_argument_group("features (defaults: config.eval of the run)")
    network.add_argument(
        "--extractor",
        help="inception, classifier (a small one, trained on the labelled --data), or package.module:function",
    )
    network.add_argument("--feature_dims", type=int, help="of Inception: 64, 192, 768 or 2048")
    network.add_argument("--resizer", help="of Inception: tf1, bilinear or clean")
    network.add_argument("--inception_weights", metavar="FILE", help="default: $JAXGAN_INCEPTION_WEIGHTS, or download")
    network.add_argument("--batch_size", type=int, help="images at a time on all devices (default 64)")
    metrics = parser.add_argument_group("metrics")
    metrics.add_argument("--is_splits", type=int, help="parts of the inception score (default 10)")
    metrics.add_argument("--kid_subsets", type=int, help="default 100; 1 with a size of the whole set takes it whole")
    metrics.add_argument("--kid_subset_size", type=int, help="images (default 1,000)")
    metrics.add_argument("--k", type=int, help="neighbours of precision, recall, density, coverage (default 5)")
    metrics.add_argument("--classifier_steps", type=int, help="updates of the classifiers trained here (default 500)")
    metrics.add_argument("--seed", type=int, help="of z and of KID's subsets (default 0, and torch-fidelity's 2020)")


def _add_run_arguments(group: Any) -> None:
    group.add_argument("--step", help="latest (default), a number, or all: those not yet in evaluations.jsonl")
    group.add_argument("--weights", choices=("auto", "ema", "raw"), help="auto (default) = averaged where kept")
    group.add_argument("--bn", metavar="running|standing:N", help="batch norm statistics (default running)")
    group.add_argument("--truncation", type=float, help="bound of every element of z, > 0; default: none")
    group.add_argument("--truncation_curve", metavar="T,T,...", help="evaluate at each of these truncations")


def run(args: argparse.Namespace) -> None:
    """Evaluates and prints."""
    if args.seed is not None:
        latents.check_seed(args.seed)
    if args.workdir:
        found = _evaluate_run(args)
        many = args.step == "all" or args.truncation_curve is not None
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
    steps = _steps(args)
    first = open_run(args.workdir, step=steps[0])
    settings = _settings(args, first.config.eval)
    num = first.config.eval.num_samples if args.num_samples is None else args.num_samples
    evaluator = _evaluator(args, settings, _reference_of(first, args, settings))
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


def _evaluate_images(args: argparse.Namespace) -> records.Record:
    for flag in _OF_RUNS:
        if getattr(args, flag) is not None:
            raise CommandError(f"--{flag} belongs to --workdir; leave it out with --images.")
    settings = _settings(args, EvalConfig())
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
        scores = _evaluator(args, settings, reference).evaluate(images, seed=settings.kid_seed)
    return {"images": args.images, **scores.to_json()}


def _evaluator(args: argparse.Namespace, settings: Settings, reference: RealImages | None) -> Evaluator:
    if own_extractor.is_own(args.extractor):  # its features are not cached: the function may change under its name
        return Evaluator(settings, reference, extractor=own_extractor.load(args.extractor))
    return Evaluator(settings, reference, cache=default_cache())


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


def _settings(args: argparse.Namespace, config: EvalConfig) -> Settings:
    """Returns what the flags say, and where they say nothing, the run's configuration or the defaults."""
    chosen: dict[str, Any] = {
        name: getattr(config, name) for name in ("metrics", "extractor", "feature_dims", "resizer", "inception_weights")
    }
    names = (*chosen, "batch_size", "is_splits", "kid_subsets", "kid_subset_size", "k", "classifier_steps")
    chosen |= {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if own_extractor.is_own(chosen["extractor"]):
        chosen["extractor"] = "inception"  # not used: the evaluator is given the function
    if isinstance(chosen["metrics"], str):
        chosen["metrics"] = tuple(name.strip() for name in chosen["metrics"].split(","))
    if args.seed is not None:
        chosen["kid_seed"] = args.seed
    return Settings(**chosen)


def _steps(args: argparse.Namespace) -> list[int | None]:
    if args.step in (None, "latest"):
        return [None]
    if args.step == "all":
        return [*list_steps(args.workdir)] or [None]
    if not args.step.isdecimal():
        raise CommandError(f"--step (={args.step!r}) must be latest, all, or the number of a checkpoint.")
    return [int(args.step)]


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
    num = run.config.eval.num_reference if args.num_reference is None else args.num_reference
    return image_sets.from_dataset(dataset, data, num)
