"""The flags of `python -m jaxgan evaluate`, and what they say together with a run's configuration."""

from __future__ import annotations

import argparse
from typing import Any

from jaxgan.commands import own_extractor
from jaxgan.commands.errors import CommandError
from jaxgan.config import EvalConfig
from jaxgan.evaluation.evaluator import default_cache
from jaxgan.evaluation.settings import METRICS, Settings
from jaxgan.generation.run import list_steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags: what to evaluate, against what, and how."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", help="folder of a run, finished or training; its evaluations.jsonl is added to")
    what.add_argument("--images", help="or a folder, source string, or .npz of `features` (N, D) and `logits`")
    parser.add_argument(
        "--data",
        help="the real images: source string, or .npz; default: the run's training images, or, of a run that "
        "translates, the test images beside them if there are any",
    )
    parser.add_argument("--metrics", help=f"some of {','.join(METRICS)} (default: config.eval.metrics, else fid)")
    parser.add_argument(
        "--num_samples",
        type=int,
        help="generated images (default: config.eval.num_samples), --images, or images to translate (default: all)",
    )
    parser.add_argument("--num_reference", type=int, help="real images, spread over --data; 0 (default) = all")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout, and nothing else there")
    _add_run_arguments(parser.add_argument_group("with --workdir"))
    _add_translation_arguments(parser.add_argument_group("with --workdir of a run that translates"))
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


def _add_translation_arguments(group: Any) -> None:
    group.add_argument("--direction", choices=("a2b", "b2a", "both"), help="default: every one that the run learnt")
    group.add_argument("--baseline", action="store_const", const=True, help="also score the images before translating")


def settings_of(args: argparse.Namespace, config: EvalConfig) -> Settings:
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


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the options of an `Evaluator` that the flags ask for."""
    if own_extractor.is_own(args.extractor):  # its features are not cached: the function may change under its name
        return {"extractor": own_extractor.load(args.extractor)}
    return {"cache": default_cache()}


def steps_of(args: argparse.Namespace) -> list[int | None]:
    """Returns the steps to evaluate, ascending; None = the newest."""
    if args.step in (None, "latest"):
        return [None]
    if args.step == "all":
        return [*list_steps(args.workdir)] or [None]
    if not args.step.isdecimal():
        raise CommandError(f"--step (={args.step!r}) must be latest, all, or the number of a checkpoint.")
    return [int(args.step)]
