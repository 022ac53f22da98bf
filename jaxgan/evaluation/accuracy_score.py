"""Classification accuracy score: can a classifier learn the classes from generated images alone?

Ravuri and Vinyals 2019 (arXiv:1905.10887), section 3: train on generated images with the labels they were asked for,
test on real images. There the classifier is a ResNet-50; here it is `small_classifier`'s, or the caller's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.small_classifier import train_classifier

Labelled = tuple[np.ndarray, Any]  # uint8 (N, H, W, C), integers (N,)


class Classifier(Protocol):
    """What the score asks of a classifier."""

    def accuracy(self, images: np.ndarray, labels: Any) -> float: ...


@dataclasses.dataclass(frozen=True)
class AccuracyScore:
    """Fractions of real test images that are classified rightly."""

    accuracy: float  # by the classifier trained on generated images
    real_accuracy: float | None  # by the same classifier trained on real images, where given
    per_class: dict[int, float]  # class id -> accuracy of the first


def classification_accuracy_score(
    generated: Labelled,
    test: Labelled,
    *,
    num_classes: int,
    real: Labelled | None = None,
    seed: int = 0,
    train: Callable[..., Classifier] = train_classifier,
    **options: Any,
) -> AccuracyScore:
    """Trains on generated images only and tests on real ones.

    Args:
      generated: images and the labels they were generated for.
      test: real images, best of a split that no generator has seen.
      num_classes: K.
      real: if given, the same training on as many of these images as were generated, to compare with. Which ones: the
        first; shuffle a set that is sorted by class.
      seed: of the training.
      train: called as `train(images, labels, num_classes=, seed=, **options)`.
      **options: further arguments of `train`, e.g. `num_steps`.

    Raises:
      EvaluationError: if a set has no images, sizes differ, or labels lie outside of the classes.
    """
    sets = {"generated": generated, "test": test} | ({"real": real} if real is not None else {})
    shapes = {name: np.shape(images)[1:] for name, (images, _) in sets.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise EvaluationError(f"all images must have one size and number of channels, and have {listed}; resize them.")
    classifier = train(*generated, num_classes=num_classes, seed=seed, **options)
    images, labels = np.asarray(test[0]), np.asarray(test[1])
    accuracy = classifier.accuracy(images, labels)
    per_class = {int(c): classifier.accuracy(images[labels == c], labels[labels == c]) for c in np.unique(labels)}
    real_accuracy = None
    if real is not None:
        count = len(generated[0])
        other = train(real[0][:count], real[1][:count], num_classes=num_classes, seed=seed, **options)
        real_accuracy = other.accuracy(images, labels)
    return AccuracyScore(accuracy, real_accuracy, per_class)
