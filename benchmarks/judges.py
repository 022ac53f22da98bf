"""Judges: classifiers of real images, which say what samples are, and what another of their kind learns from these.

Two kinds, of the same questions: a small convolutional network of this library, and for 8x8 digits the support vector
machine that scikit-learn's documentation reads them with, which is the better one there.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from sklearn.svm import SVC

from jaxgan.data.errors import DataError
from jaxgan.evaluation.accuracy_score import Labelled, classification_accuracy_score
from jaxgan.evaluation.small_classifier import SmallClassifier, train_classifier


class Judge(Protocol):
    """Attributes: `name` for protocols; `train`, `test`, the real images; `accuracy` on the latter; `num_classes`;
    `teaching`, for protocols: how a new one learns."""

    @property
    def name(self) -> str: ...
    @property
    def train(self) -> Labelled: ...
    @property
    def test(self) -> Labelled: ...
    @property
    def accuracy(self) -> float: ...
    @property
    def teaching(self) -> str: ...
    @property
    def num_classes(self) -> int: ...

    def assign(self, images: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns the classes (N,) of uint8 images (N, H, W, C), and its confidence in 0 ... 1, if it has any."""
        ...

    def taught_by(self, images: np.ndarray, labels: np.ndarray, /) -> float:
        """Returns the accuracy on the real test images of a new one that learns from these images alone."""
        ...

    def taught_by_real(self, num: int, /) -> float:
        """Returns that accuracy where it learns from the first `num` real training images, at most all."""
        ...


@dataclasses.dataclass(frozen=True)
class NetworkJudge:
    """The small classifier of `evaluation/small_classifier.py`; the new ones learn for `taught_steps` updates."""

    classifier: SmallClassifier
    train: Labelled
    test: Labelled
    accuracy: float
    steps: int
    taught_steps: int

    @classmethod
    def of(cls, train: Labelled, test: Labelled, *, steps: int, taught_steps: int) -> NetworkJudge:
        classifier = train_classifier(*train, num_classes=_num_classes(train), num_steps=steps)
        return cls(classifier, train, test, classifier.accuracy(*test), steps, taught_steps)

    @property
    def num_classes(self) -> int:
        return self.classifier.num_classes

    @property
    def name(self) -> str:
        return f"{self.classifier.name}, {self.steps} updates"

    @property
    def teaching(self) -> str:
        return f"{self.taught_steps} updates"

    def assign(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        logits = self.classifier.logits(images).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.argmax(logits, axis=1), odds.max(axis=1) / odds.sum(axis=1)

    def taught_by(self, images: np.ndarray, labels: np.ndarray) -> float:
        return classification_accuracy_score(
            (images, labels), self.test, num_classes=self.num_classes, num_steps=self.taught_steps
        ).accuracy

    def taught_by_real(self, num: int) -> float:
        images, labels = self.train
        if num >= len(images) and self.taught_steps == self.steps:
            return self.accuracy  # so the judge itself learnt
        return self.taught_by(images[:num], labels[:num])


class VectorJudge:
    """scikit-learn's `SVC(gamma=0.001)` on grey 8x8 pixels in 0 ... 16; it has no confidence."""

    name = "SVC(gamma=0.001) on 8x8 pixels in 0 ... 16"
    teaching = "SVC(gamma=0.001)"

    def __init__(self, train: Labelled, test: Labelled):
        height, width, channels = train[0].shape[1:]
        if height != width or height % 8 or channels != 1:
            raise DataError(
                f"the judge svc reads square grey images whose side is a multiple of 8, and these are {height}x{width} "
                f"of {channels} channels; take --judge=network."
            )
        self.train, self.test, self.num_classes = train, test, _num_classes(train)
        self._machine = _fitted(*train)
        self.accuracy = float(self._machine.score(_pixels(test[0]), test[1]))

    def assign(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return self._machine.predict(_pixels(images)), None

    def taught_by(self, images: np.ndarray, labels: np.ndarray) -> float:
        return float(_fitted(images, labels).score(_pixels(self.test[0]), self.test[1]))

    def taught_by_real(self, num: int) -> float:
        return self.taught_by(*(part[:num] for part in self.train))


def _fitted(images: np.ndarray, labels: np.ndarray) -> SVC:
    return SVC(gamma=0.001).fit(_pixels(images), labels)  # pyright: ignore[reportArgumentType] (it knows strings only)


def _pixels(images: np.ndarray) -> np.ndarray:
    """Brings uint8 images (N, 8 k, 8 k, 1) to (N, 64) in 0 ... 16, by the mean over k x k pixels."""
    side = images.shape[1] // 8
    return images.reshape(-1, 8, side, 8, side).mean(axis=(2, 4)).reshape(-1, 64) * (16 / 255)


def _num_classes(images: Labelled) -> int:
    return int(np.max(images[1])) + 1
