"""The classifier trained on the fly: it learns, it repeats itself, and it is a feature extractor."""

import numpy as np
import pytest

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.small_classifier import NUM_FEATURES, train_classifier


def bars(count, *, seed=0, side=8, channels=1):
    """Images of three classes: a bright row, a bright column, neither; noise on all."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 90, (count, side, side, channels), dtype=np.uint8)
    labels = generator.integers(3, size=count)
    for image, label, place in zip(images, labels, generator.integers(side, size=count), strict=True):
        if label < 2:
            image[(place,) if label == 0 else (slice(None), place)] = 250
    return images, labels


@pytest.fixture(scope="module")
def classifier():
    return train_classifier(*bars(200), num_classes=3, num_steps=60, batch_size=32)


def test_it_learns_and_generalises(classifier):
    assert classifier.accuracy(*bars(200, seed=1)) > 0.95


def test_features_have_unit_mean_square_on_the_training_images(classifier):
    assert np.mean(classifier.features(bars(200)[0]) ** 2) == pytest.approx(1, abs=1e-4)


def test_accuracy_counts_right_answers(classifier):
    images, labels = bars(100, seed=1)
    predicted = np.argmax(classifier.logits(images), axis=1)
    assert classifier.accuracy(images, labels) == np.mean(predicted == labels)
    assert classifier.accuracy(images, predicted) == 1.0 and classifier.accuracy(images, (predicted + 1) % 3) == 0.0


def test_features_do_not_depend_on_the_batch(classifier):
    images, _ = bars(300, seed=2)
    features, logits = classifier(images)
    assert features.shape == (300, NUM_FEATURES) and logits.shape == (300, 3) and features.dtype == np.float32
    np.testing.assert_allclose(classifier.features(images[250:]), features[250:], rtol=1e-5, atol=1e-5)
    head = classifier._params["head"]
    np.testing.assert_allclose(features @ head["kernel"] + head["bias"][None, :], logits, rtol=1e-4, atol=1e-4)
    assert classifier(images[:0]).features.shape == (0, NUM_FEATURES)


def test_it_repeats_itself_and_the_name_tells_classifiers_apart():
    images, labels = bars(40)
    options = {"num_classes": 3, "num_steps": 3, "batch_size": 16}
    seen = []
    first = train_classifier(images, labels, **options, progress=seen.append)
    again = train_classifier(images, labels, **options)
    assert first.name == again.name and first.name.startswith("small-classifier-8x8x1-3-") and seen == [16, 16, 16]
    assert np.array_equal(first.features(images), again.features(images))
    assert train_classifier(images, labels, **options, seed=1).name != first.name
    assert train_classifier(images, (labels + 1) % 3, **options).name != first.name


def test_each_pass_sees_every_image_once():
    from jaxgan.evaluation.small_classifier import _Order

    order = _Order(10, seed=0)
    rows = np.concatenate([order.take(4) for _ in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10)) and list(rows[:10]) != list(rows[10:])


@pytest.mark.parametrize(("side", "channels"), [(2, 1), (9, 3)])
def test_any_size_and_number_of_channels(side, channels):
    images, labels = bars(8, side=side, channels=channels)
    found = train_classifier(images, labels, num_classes=3, num_steps=1, batch_size=8)(images)
    assert found.features.shape == (8, NUM_FEATURES)


def test_bad_input_is_refused(classifier):
    images, labels = bars(10)
    for bad, message in (
        ((images[:0], labels[:0]), "there must be images"),
        ((images, labels[:9]), r"shape \(9,\)\) must be one integer for each of 10 images"),
        ((images, labels + 0.5), "float64"),
        ((images, labels + 1), r"labels \(\d ... 3\) must lie in 0 ... 2"),
        ((images, labels - 1), r"labels \(-1 ... \d\) must lie in 0 ... 2"),
        ((images / 255, labels), "must be uint8"),
        ((images[0], labels), "must be uint8"),
    ):
        with pytest.raises(EvaluationError, match=message):
            train_classifier(*bad, num_classes=3)
    with pytest.raises(
        EvaluationError, match=r"\(9, 9, 1\) do not fit the classifier, which was trained on \(8, 8, 1\)"
    ):
        classifier(bars(2, side=9)[0])
