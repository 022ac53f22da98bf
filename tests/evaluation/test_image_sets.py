"""What is evaluated: every image once and in order, generated ones exactly as their PNG files would hold them."""

import threading
import types

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.config import DataConfig
from jaxgan.data.pipeline import Dataset
from jaxgan.data.source import ArraySource
from jaxgan.evaluation import image_sets
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.image_sets import GeneratedImages, RealImages
from jaxgan.generation.images import encode_png, to_uint8
from jaxgan.generation.latents import draw

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (11, 6, 4, 1), np.uint8)
LABELS = np.sort(RNG.integers(0, 3, 11))
DATA = DataConfig(source="mine", resolution=6, width=4, channels=1, flip=True)


def real(num=0):
    return image_sets.from_dataset(Dataset(ArraySource("mine", IMAGES, LABELS, "abc"), DATA), DATA, num)


def joined(images, batch_size):
    return [np.concatenate(parts) for parts in zip(*images.batches(batch_size), strict=True)]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_real_images_come_once_in_order_unflipped(batch_size):
    images, labels = joined(real(), batch_size)
    assert np.array_equal(images, IMAGES) and np.array_equal(labels, LABELS)
    assert {len(batch) for batch, _ in real().batches(4)} == {4, 3}


def test_fewer_images_are_spread_over_the_source():
    images, labels = joined(real(4), 3)
    rows = [0, 2, 5, 8]  # floor(i 11 / 4): a source sorted by class keeps all of its classes
    assert np.array_equal(images, IMAGES[rows]) and np.array_equal(labels, LABELS[rows])
    assert np.array_equal(real(4).examples(2)[0], IMAGES[[0, 5]])
    assert np.array_equal(real().examples(99)[1], LABELS)
    for num in (12, -1):
        with pytest.raises(EvaluationError, match=rf"num_reference \(={num}\) must be at most 11, the images of mine"):
            real(num)


def test_real_images_know_what_they_are():
    found = real(4)
    assert (found.name, found.num, found.num_classes, found.class_names) == ("mine", 4, 3, ("a", "b", "c"))
    assert found.preprocessing == "crop=center, size=6x4, channels=1" and len(found.fingerprint) == 16


def test_reading_stops_when_its_reader_does():
    """A failed evaluation must not read a million images to the end."""
    read = []

    def gather(rows):
        read.extend(rows)
        return np.zeros((len(rows), 1, 1, 1), np.uint8), np.zeros(len(rows), np.int32)

    batches = RealImages("slow", 10_000, 10_000, "", "", (), gather).batches(1)
    next(batches)
    batches.close()
    assert len(read) < 20 and threading.active_count() < 50


def test_an_error_of_a_reading_thread_arrives():
    def gather(rows):
        raise EvaluationError("row 0 is broken")

    with pytest.raises(EvaluationError, match="row 0 is broken"):
        list(RealImages("broken", 3, 3, "", "", (), gather).batches(2))


class Mixed(ArraySource):
    """Images of any shapes."""

    def __init__(self, images, labels=None):
        super().__init__(
            "mixed", np.zeros((len(images), 1, 1, 1), np.uint8), labels, "ab" if labels is not None else ()
        )
        self.mixed = images

    def example(self, index):
        return self.mixed[index], self.label(index)


def test_grey_and_transparent_images_become_rgb():
    grey = np.full((2, 2, 1), 7, np.uint8)
    clear = np.array([1, 2, 3, 0], np.uint8) * np.ones((2, 2, 1), np.uint8)
    images, labels = joined(image_sets.from_source(Mixed([grey, clear], np.array([1, 0]))), 2)
    assert images.shape == (2, 2, 2, 3) and np.all(images[0] == 7) and np.all(images[1] == 255)
    assert labels.tolist() == [1, 0]
    assert joined(image_sets.from_source(Mixed([grey])), 2)[1].tolist() == [0]


def test_mixed_sizes_are_refused():
    mixed = image_sets.from_source(Mixed([np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)]))
    with pytest.raises(EvaluationError, match="one size, but image 0 of mixed is 2 x 2 and image 1 of mixed is 2 x 3"):
        list(mixed.batches(2))


def source(num_classes=3):
    """Draws z itself as an image of four pixels, shifted by the label and by the weights."""
    mesh = Mesh(np.asarray(jax.devices()), ("data",))

    @jax.jit
    def sampler(shift, inputs):
        return (inputs["z"] + shift + inputs["labels"][:, None]).reshape(-1, 2, 2, 1)

    sampler = jax.jit(sampler, out_shardings=NamedSharding(mesh, PartitionSpec()))
    return types.SimpleNamespace(mesh=mesh, sampler=sampler, latent_dim=4, num_classes=num_classes)


def test_generated_images_are_those_of_the_png_files():
    generated = GeneratedImages("mine", 21, source(), 0.25, seed=7, truncation=0.5)  # type: ignore[arg-type]
    images, labels = joined(generated, 8)
    inputs = draw(4, 3, 7, 0, 21, truncation=0.5)
    wanted = to_uint8((inputs["z"] + 0.25 + inputs["labels"][:, None]).reshape(-1, 2, 2, 1))
    assert np.array_equal(labels, inputs["labels"]) and generated.num_classes == 3
    assert np.array_equal(images, wanted) and images.dtype == np.uint8
    assert encode_png(images[0]) == encode_png(wanted[0])
    assert np.array_equal(joined(generated, 64)[0], images)
