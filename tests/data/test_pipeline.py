"""Batches: a pure function of (seed, step), whatever the number of processes, threads, and where a run resumes."""

import dataclasses
import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.config import DataConfig
from jaxgan.data import pipeline
from jaxgan.data.errors import DataError, UnreadableImage
from jaxgan.data.pipeline import Dataset, flip_mask, open_dataset
from jaxgan.data.source import ArraySource

TINY = DataConfig(resolution=4, channels=1, flip=True)


def numbered(count: int, num_classes: int = 3) -> ArraySource:
    """Image i has value i, except for column 0, which is 255 so that a flip shows; its label is i % num_classes."""
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    images[:, :, 0] = 255
    return ArraySource("test", images, np.arange(count) % num_classes, [f"c{i}" for i in range(num_classes)])


def take(dataset: Dataset, count: int, **options) -> list[dict[str, np.ndarray]]:
    options = {"seed": 0, "batch_size": 8, "num_d_steps": 2} | options
    batches = dataset.batches(**options)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def assert_same(actual, expected):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a["images"], b["images"])
        np.testing.assert_array_equal(a["labels"], b["labels"])


def identities(batches) -> np.ndarray:
    """Image numbers in order of the stream."""
    return np.concatenate([batch["images"][..., 1, 1, 0].ravel() for batch in batches])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve photographs in three classes, decoded per batch."""
    rng = np.random.default_rng(0)
    for i in range(12):
        path = tmp_path / f"class{i % 3}" / f"{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).save(path)
    return tmp_path


def test_shapes_types_and_labels_that_belong_to_their_images():
    batch = take(Dataset(numbered(50), TINY), 1)[0]
    assert batch["images"].shape == (2, 8, 4, 4, 1) and batch["images"].dtype == np.uint8
    assert batch["labels"].shape == (2, 8) and batch["labels"].dtype == np.int32
    np.testing.assert_array_equal(batch["labels"], batch["images"][:, :, 1, 1, 0] % 3)


def test_every_epoch_visits_every_image_once_in_another_order():
    stream = identities(take(Dataset(numbered(48), TINY), 9))  # 144 rows = 3 epochs
    epochs = stream.reshape(3, 48)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(48))
    assert not np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[0], np.arange(48))


def test_batches_run_across_the_end_of_an_epoch():
    stream = identities(take(Dataset(numbered(10), TINY), 5))  # 80 rows of a set of 10
    for epoch in stream.reshape(8, 10):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(10))


def test_seed_decides_the_order():
    dataset = Dataset(numbered(50), TINY)
    assert_same(take(dataset, 2), take(dataset, 2))
    assert not np.array_equal(identities(take(dataset, 2)), identities(take(dataset, 2, seed=1)))


@pytest.mark.parametrize("in_memory", [True, False])
def test_resuming_equals_the_straight_run(folder, in_memory):
    data = TINY if in_memory else DataConfig(source=f"folder:{folder}", resolution=4, flip=True)
    dataset = Dataset(numbered(13), data) if in_memory else open_dataset(data)
    straight = take(dataset, 6)
    for start in (1, 5):
        assert_same(take(dataset, 6 - start, start_step=start), straight[start:])
    assert_same(take(dataset, 9, start_step=2, stop_step=4), straight[2:4])
    assert take(dataset, 9, start_step=4, stop_step=4) == []


@pytest.mark.parametrize("process_count", [2, 4])
@pytest.mark.parametrize("in_memory", [True, False])
def test_processes_interleave_to_the_single_process_batches(folder, process_count, in_memory):
    data = TINY if in_memory else DataConfig(source=f"folder:{folder}", resolution=4, flip=True)
    dataset = Dataset(numbered(13), data) if in_memory else open_dataset(data)
    parts = [take(dataset, 3, process_index=i, process_count=process_count) for i in range(process_count)]
    joined = [
        {name: np.concatenate([batch[name] for batch in step], axis=1) for name in ("images", "labels")}
        for step in zip(*parts, strict=True)
    ]
    assert parts[0][0]["labels"].shape == (2, 8 // process_count)
    assert_same(joined, take(dataset, 3))


def test_number_of_d_steps_only_groups_the_stream():
    dataset = Dataset(numbered(50), TINY)
    one = np.concatenate([batch["images"] for batch in take(dataset, 6, num_d_steps=1)])
    three = np.concatenate([batch["images"] for batch in take(dataset, 2, num_d_steps=3)])
    np.testing.assert_array_equal(one, three)


def test_threads_and_prefetch_change_nothing(folder):
    data = DataConfig(source=f"folder:{folder}", resolution=4, flip=True, num_threads=1, prefetch=1)
    expected = take(open_dataset(data), 5)
    for num_threads, prefetch in ((2, 4), (5, 1)):
        changed = dataclasses.replace(data, num_threads=num_threads, prefetch=prefetch)
        assert_same(take(open_dataset(changed), 5), expected)


def test_closing_stops_the_threads():
    before = threading.enumerate()
    batches = Dataset(numbered(50), TINY).batches(seed=0, batch_size=8, num_d_steps=1)
    next(batches)
    started = [thread for thread in threading.enumerate() if thread not in before]
    assert started
    held = batches.gi_frame.f_locals["iterator"]  # so that closing does it, not the garbage collector
    batches.close()
    for thread in started:
        thread.join(timeout=30)
    assert held is not None and not any(thread.is_alive() for thread in started)


def test_flips_are_fair_independent_of_the_order_and_reproducible():
    masks = np.stack([flip_mask(0, number, 64) for number in range(50)])
    assert abs(masks.mean() - 0.5) < 4 * 0.5 / np.sqrt(masks.size)
    np.testing.assert_array_equal(masks[7], flip_mask(0, 7, 64))
    np.testing.assert_array_equal(masks[7][:16], flip_mask(0, 7, 16))
    assert not np.array_equal(masks[7], flip_mask(1, 7, 64)) and not np.array_equal(masks[7], masks[8])

    dataset, plain = (Dataset(numbered(50), dataclasses.replace(TINY, flip=flip)) for flip in (True, False))
    for step, (flipped, unflipped) in enumerate(zip(take(dataset, 3), take(plain, 3), strict=True)):
        np.testing.assert_array_equal(identities([flipped]), identities([unflipped]))
        assert (unflipped["images"][:, :, :, 0] == 255).all()
        for i in range(2):
            is_flipped = flipped["images"][i, :, 0, -1, 0] == 255
            np.testing.assert_array_equal(is_flipped, flip_mask(0, 2 * step + i, 8))


def test_transform_at_opening_equals_transform_per_batch(monkeypatch):
    data = DataConfig(source="digits:test", resolution=12, width=10, channels=3)
    at_opening = open_dataset(data)
    monkeypatch.setattr(pipeline, "_IN_MEMORY_BYTES", 0)
    per_batch = open_dataset(data)
    assert at_opening._images is not None and per_batch._images is None
    assert_same(take(per_batch, 2), take(at_opening, 2))
    assert take(per_batch, 1)[0]["images"].shape == (2, 8, 12, 10, 3)


def test_spec(folder):
    spec = open_dataset(DataConfig(source=f"folder:{folder}", resolution=6, width=5, channels=1)).spec
    assert (spec.height, spec.width, spec.channels, spec.num_images) == (6, 5, 1, 12)
    assert spec.num_classes == 3 and spec.class_names == ("class0", "class1", "class2")
    assert spec.fingerprint == open_dataset(DataConfig(source=f"folder:{folder}")).spec.fingerprint


def test_labels_can_be_ignored_and_may_be_absent(folder):
    for data in (
        DataConfig(source=f"folder:{folder}", labels=False, resolution=4),
        DataConfig(source=f"folder:{folder / 'class1'}", resolution=4),
        DataConfig(source="digits:test", labels=False, resolution=4),
    ):
        dataset = open_dataset(data)
        assert dataset.spec.num_classes == 0 and dataset.spec.class_names == ()
        assert not take(dataset, 1)[0]["labels"].any()
        with pytest.raises(DataError, match=r"class id \(=0\).*no labels"):
            dataset.examples_of(0, 1)


def test_first_is_spread_evenly_and_unflipped():
    dataset = Dataset(numbered(50), TINY)
    images, labels = dataset.first(5)
    np.testing.assert_array_equal(images[:, 1, 1, 0], [0, 10, 20, 30, 40])
    np.testing.assert_array_equal(labels, np.array([0, 10, 20, 30, 40]) % 3)
    assert (images[:, :, 0] == 255).all()
    np.testing.assert_array_equal(Dataset(numbered(2), TINY).first(4)[0][:, 1, 1, 0], [0, 0, 1, 1])


def test_examples_of_a_class(folder):
    images, labels = Dataset(numbered(10), TINY).examples_of(1, 2)
    np.testing.assert_array_equal(images[:, 1, 1, 0], [1, 4])
    np.testing.assert_array_equal(labels, [1, 1])
    dataset = open_dataset(DataConfig(source=f"folder:{folder}", resolution=4))
    images, labels = dataset.examples_of(2, 100)
    np.testing.assert_array_equal(labels, [2, 2, 2, 2])
    np.testing.assert_array_equal(images, dataset.gather([8, 9, 10, 11])[0])
    for label in (-1, 3):
        with pytest.raises(DataError, match=rf"class id \(={label}\) must lie in 0\.\.2"):
            dataset.examples_of(label, 1)


def test_batch_must_divide_among_the_processes():
    with pytest.raises(DataError, match=r"batch_size \(=8\) must be a multiple .* \(=3\); try 9"):
        Dataset(numbered(5), TINY).batches(seed=0, batch_size=8, num_d_steps=1, process_count=3)


def test_crop_larger_than_an_image_shows_at_opening(folder):
    Image.new("RGB", (6, 40)).save(folder / "class1" / "small.png")
    with pytest.raises(DataError, match=r"small\.png: An image of 40 x 6 pixels is smaller than .*center:7"):
        open_dataset(DataConfig(source=f"folder:{folder}", resolution=4, crop="center:7"))
    with pytest.raises(DataError, match=r"image 0 of digits: An image of 8 x 8"):
        open_dataset(DataConfig(source="digits", resolution=4, crop="center:9"))


def test_late_errors_keep_their_type_and_name_the_image(folder, monkeypatch):
    monkeypatch.setattr("jaxgan.data.folder.CHECKED_AT_OPENING", 0)
    Image.new("RGB", (6, 40)).save(folder / "class1" / "small.png")
    dataset = open_dataset(DataConfig(source=f"folder:{folder}", resolution=4, crop="center:7"))
    with pytest.raises(DataError, match=r"small\.png: An image of 40 x 6"):
        take(dataset, 1, batch_size=13)
    (folder / "class1" / "small.png").write_bytes(b"broken")
    with pytest.raises(UnreadableImage, match=r"small\.png is not a readable image.*skip_corrupt"):
        take(dataset, 1, batch_size=13)


def test_skipped_images_are_reported_and_the_order_stays_a_function_of_the_step(folder, monkeypatch, caplog):
    (folder / "class1" / "bad.png").write_bytes(b"broken")
    data = DataConfig(source=f"folder:{folder}", resolution=4, skip_corrupt=True)
    with caplog.at_level("WARNING", logger="absl"):
        dataset = open_dataset(data)
    assert dataset.spec.num_images == 12
    assert [Path(path).name for path, _ in dataset.skipped] == ["bad.png"]
    assert "Left out 1 unreadable of 13 images" in caplog.text and "bad.png" in caplog.text

    monkeypatch.setattr("jaxgan.data.folder.CHECKED_AT_OPENING", 0)  # now it is found while reading
    late = open_dataset(data)
    straight = take(late, 6)
    assert late.spec.num_images == 13 and len(late.skipped) == 1
    assert_same(take(open_dataset(data), 2, start_step=4), straight[4:])
