"""The classification accuracy score, with a classifier whose answers are known; trained once for real."""

import numpy as np
import pytest

from jaxgan.evaluation.accuracy_score import classification_accuracy_score
from jaxgan.evaluation.errors import EvaluationError


class NearestBrightness:
    """Knows the mean brightness of each class it was trained on."""

    trained = []

    def __init__(self, images, labels, *, num_classes, seed, **options):
        self.trained.append((len(images), num_classes, seed, options))
        self.means = np.array([images[labels == c].mean() if c in labels else np.inf for c in range(num_classes)])

    def accuracy(self, images, labels):
        brightness = images.mean(axis=(1, 2, 3))
        return float(np.mean(np.argmin(np.abs(brightness[:, None] - self.means[None, :]), axis=1) == labels))


def shades(levels, labels):
    """Images 2 x 2 of the brightness of their class."""
    labels = np.asarray(labels)
    return np.asarray(levels, np.uint8)[labels][:, None, None, None].repeat(2, axis=1).repeat(2, axis=2), labels


def test_it_trains_on_generated_and_tests_on_real_images():
    NearestBrightness.trained.clear()
    # The generator has learned classes 0 and 2 and confuses 1 with 2.
    generated = shades([0, 200, 210], [0, 1, 2, 2, 1, 0])
    test = shades([10, 100, 220], [0, 0, 0, 1, 2, 2, 2, 2])
    real = shades([10, 100, 220], [0, 1, 2, 1, 1, 1, 2, 2])
    found = classification_accuracy_score(
        generated, test, num_classes=3, real=real, seed=5, train=NearestBrightness, num_steps=7
    )
    assert found.per_class == {0: 1.0, 1: 0.0, 2: 1.0}
    assert found.accuracy == 7 / 8 and found.real_accuracy == 1.0
    assert NearestBrightness.trained == [(6, 3, 5, {"num_steps": 7})] * 2  # as many real images as generated ones


def test_the_comparison_with_real_images_is_optional():
    generated = shades([0, 250], [0, 1])
    found = classification_accuracy_score(generated, generated, num_classes=2, train=NearestBrightness)
    assert found.accuracy == 1.0 and found.real_accuracy is None


def test_swapped_labels_are_punished_by_the_small_classifier():
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=64)
    images = (labels[:, None, None, None] * 150 + generator.integers(0, 90, (64, 4, 4, 1))).astype(np.uint8)
    options = {"num_classes": 2, "num_steps": 30, "batch_size": 32}
    good = classification_accuracy_score((images, labels), (images, labels), **options)
    swapped = classification_accuracy_score((images, 1 - labels), (images, labels), **options)
    assert good.accuracy > 0.95 and swapped.accuracy < 0.05


def test_bad_input_is_refused():
    small, large = shades([0, 250], [0, 1]), (np.zeros((2, 3, 3, 1), np.uint8), np.array([0, 1]))
    with pytest.raises(EvaluationError, match=r"one size .* generated \(2, 2, 1\), test \(3, 3, 1\); resize"):
        classification_accuracy_score(small, large, num_classes=2)
    with pytest.raises(EvaluationError, match="must lie in 0 ... 0"):
        classification_accuracy_score(small, small, num_classes=1)
    with pytest.raises(EvaluationError, match="there must be images"):
        classification_accuracy_score((small[0][:0], small[1][:0]), small, num_classes=2)
    with pytest.raises(EvaluationError, match="there must be images"):
        classification_accuracy_score(small, (small[0][:0], small[1][:0]), num_classes=2, num_steps=1)
