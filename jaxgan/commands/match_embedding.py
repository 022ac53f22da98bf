"""The embeddings in which generated images are compared with real ones."""

from __future__ import annotations

import argparse

import numpy as np

from jaxgan.commands import own_extractor
from jaxgan.commands.errors import CommandError
from jaxgan.commands.match_reals import Reals
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.features import CallableExtractor, FeatureExtractor, inception_extractor
from jaxgan.evaluation.small_classifier import train_classifier
from jaxgan.generation.progress import Progress

_NAMES = ("inception", "classifier", "pixels")
_TRAINING_BYTES = 2**28  # of real images that the classifier is trained on, at most; they are held in memory
_TRAINING_STEPS, _TRAINING_BATCH = 500, 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --extractor, --feature_dims and --inception_weights."""
    parser.add_argument(
        "--extractor",
        metavar="NAME",
        default="inception",
        help="embedding: inception (FID's, default), classifier (a small one, trained here on the labelled images), "
        "pixels, or package.module:function of your own",
    )
    parser.add_argument(
        "--feature_dims", type=int, choices=(64, 192, 768, 2048), default=2048, help="of Inception (default 2048)"
    )
    parser.add_argument(
        "--inception_weights", metavar="FILE", help="default: the run's own setting, the environment's, or fetched"
    )


def make_extractor(args: argparse.Namespace, reals: Reals, *, configured: str = "") -> FeatureExtractor:
    """Returns what the flags ask for; `configured` is the file of Inception's weights that the run's settings name.

    Raises:
      CommandError: an unknown name, no labels to train the classifier on, or no weights for Inception.
    """
    if own_extractor.is_own(args.extractor):
        return own_extractor.load(args.extractor)
    if args.extractor not in _NAMES:
        raise CommandError(f"--extractor (={args.extractor!r}) must be {', '.join(_NAMES)} or package.module:function.")
    if args.extractor == "pixels":
        return pixels_extractor()
    if args.extractor == "classifier":
        return trained_classifier(reals, seed=args.seed)
    try:
        return inception_extractor(
            dims=args.feature_dims,
            weights=args.inception_weights or configured or None,
            batch_size=args.batch_size,
        )
    except EvaluationError as error:
        raise CommandError(
            f"{str(error).rstrip('.')}; or pass --extractor classifier (trained here, on labelled images) or "
            "--extractor pixels, which need no weights."
        ) from error


def pixels_extractor() -> FeatureExtractor:
    """Returns an extractor whose features are the pixels themselves, in [0, 1]."""
    return CallableExtractor("pixels", lambda images: images.reshape(len(images), -1).astype(np.float32) / 255.0)


def trained_classifier(reals: Reals, *, seed: int) -> FeatureExtractor:
    """Trains the small classifier on the real images, evenly spread ones of a large set.

    Raises:
      CommandError: there are no labels.
    """
    num_classes = len(reals.class_names)
    if not num_classes:
        raise CommandError(f"--extractor classifier learns from labels, but {reals.name} has none; pass another.")
    spec = reals.dataset.spec
    fitting = max(1, _TRAINING_BYTES // (spec.height * spec.width * spec.channels))
    images, labels = reals.dataset.first(min(len(reals), fitting, _TRAINING_STEPS * _TRAINING_BATCH))
    with Progress("training the classifier", _TRAINING_STEPS * _TRAINING_BATCH) as progress:
        return train_classifier(
            images,
            labels,
            num_classes=num_classes,
            seed=seed,
            num_steps=_TRAINING_STEPS,
            batch_size=_TRAINING_BATCH,
            progress=progress.advance,
        )
