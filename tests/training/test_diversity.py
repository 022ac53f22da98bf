"""Diversity: copies have none, whatever the classes; real images have that of real images."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import DataConfig
from jaxgan.data.pipeline import Dataset, open_dataset
from jaxgan.data.source import ArraySource
from jaxgan.training.diversity import make_meter

DIGITS = DataConfig(source="digits", resolution=16, channels=1)


@pytest.fixture(scope="module")
def digits():
    return open_dataset(DIGITS)


def inputs(labels):
    return {"z": jnp.zeros((len(labels), 2)), "labels": jnp.asarray(labels, jnp.int32)}


def per_class(dataset, columns=6, skip=0):
    """Real images, one class per row, other ones than the meter takes if `skip`; float32 in [-1, 1]."""
    rows = [dataset.examples_of(label, columns + skip)[0][skip:] for label in range(10)]
    return np.concatenate(rows).astype(np.float32) / 127.5 - 1


LABELS = np.repeat(np.arange(10), 6)


def test_real_images_are_as_diverse_as_real_images(digits):
    meter = make_meter(digits, inputs(LABELS), 6)
    assert meter.measure(per_class(digits)) == pytest.approx(1.0, rel=1e-6)
    assert 0.8 < meter.measure(per_class(digits, skip=6)) < 1.25


def test_one_image_for_all_z_and_one_per_class(digits):
    meter = make_meter(digits, inputs(LABELS), 6)
    assert meter.measure(np.repeat(per_class(digits)[:1], 60, axis=0)) < 1e-6
    assert meter.measure(np.repeat(per_class(digits, columns=1), 6, axis=0)) < 1e-6, "classes differ, z does not"


def test_faint_noise_on_one_image_is_hardly_diverse(digits):
    noise = np.random.default_rng(0).normal(0, 0.02, (60, 16, 16, 1)).astype(np.float32)
    meter = make_meter(digits, inputs(LABELS), 6)
    assert meter.measure(np.repeat(per_class(digits, columns=1), 6, axis=0) + noise) < 0.1


def test_diversity_is_a_ratio_of_distances(digits):
    meter = make_meter(digits, inputs(LABELS), 6)
    real = per_class(digits)
    centre = real.reshape(10, 6, 16, 16, 1).mean(axis=1, keepdims=True)
    halved = (centre + 0.5 * (real.reshape(10, 6, 16, 16, 1) - centre)).reshape(real.shape)
    assert meter.measure(halved) == pytest.approx(0.5, abs=0.1)  # exact for the pixels; the filters are rectified


def test_without_classes_the_whole_grid_is_one_group(digits):
    meter = make_meter(digits, inputs(np.zeros(60)), 6)
    two = np.repeat(per_class(digits)[[0, 30]], 30, axis=0)
    assert meter.measure(np.repeat(two[:1], 60, axis=0)) < 1e-6
    assert 0.2 < meter.measure(two) < 0.8


def test_large_images_small_images_and_a_class_of_one_image():
    rng = np.random.default_rng(0)
    for height, width, channels in ((70, 45, 3), (4, 4, 1), (9, 8, 4)):
        images = rng.integers(0, 256, (7, height, width, channels), np.uint8)
        config = DataConfig(resolution=height, width=width, channels=channels, crop="none")
        dataset = Dataset(ArraySource("noise", images, np.arange(7) % 6, "012345"), config)
        meter = make_meter(dataset, inputs([0, 0, 1, 1]), 2)
        assert meter.measure(rng.uniform(-1, 1, (4, height, width, channels)).astype(np.float32)) > 0.5
        assert meter.measure(np.zeros((4, height, width, channels), np.float32)) == 0.0


def test_samples_that_are_not_finite_are_not_diverse(digits):
    assert not make_meter(digits, inputs(LABELS), 6).measure(np.full((60, 16, 16, 1), np.nan, np.float32)) >= 0.1


def test_what_cannot_be_measured_has_no_meter(digits):
    assert make_meter(digits, {"a": jnp.zeros((2, 16, 16, 1))}, 2) is None, "a translator's inputs"
    assert make_meter(digits, inputs(np.arange(10)), 1) is None, "no two images of one class"


def test_real_images_that_are_all_alike_say_nothing():
    dataset = Dataset(
        ArraySource("grey", np.full((5, 8, 8, 1), 9, np.uint8), None), DataConfig(resolution=8, channels=1)
    )
    assert make_meter(dataset, inputs(np.zeros(4)), 2).measure(np.zeros((4, 8, 8, 1), np.float32)) == 1.0
