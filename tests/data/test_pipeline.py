"""Batches: a pure function of (seed, step), whatever the number of processes, threads, and where a run resumes."""

import dataclasses
import itertools
import threading
from pathlib import Path

import grain
import numpy as np
import pytest
from PIL import Image

from jaxgan.config import DataConfig
from jaxgan.data import prepared
from jaxgan.data.dataset import Dataset
from jaxgan.data.errors import DataError, UnreadableImage
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.randomness import crop_offsets, domain_seed, flip_mask
from jaxgan.data.source import ArraySource
from jaxgan.data.transforms import prepare

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
    monkeypatch.setattr(prepared, "_IN_MEMORY_BYTES", 0)
    per_batch = open_dataset(data)
    assert at_opening._whole._images is not None and per_batch._whole._images is None
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


CUT = DataConfig(resolution=6, width=4, channels=3, crop="random:9", flip=True)


def cut_by_hand(source, indices, number: int) -> np.ndarray:
    """What one global batch must be: the whole image squashed to 9 x 6, a part of it, perhaps mirrored."""
    size = len(indices)
    offsets = crop_offsets(0, number, size, image_size=(9, 6), size=(6, 4))
    images = []
    for row, index in enumerate(indices):
        whole = source.read(index)
        squashed = np.asarray(Image.fromarray(whole).resize((6, 9), Image.Resampling.BILINEAR))
        top, left = offsets[row]
        part = squashed[top : top + 6, left : left + 4]
        images.append(part[:, ::-1] if flip_mask(0, number, size)[row] else part)
    return np.stack(images)


@pytest.mark.parametrize("in_memory", [True, False])
def test_random_crops_of_the_squashed_image(folder, in_memory):
    data = dataclasses.replace(CUT, source=f"folder:{folder}")
    dataset = open_dataset(data)
    if in_memory:
        images = np.stack([dataset.source.read(i) for i in range(12)])
        dataset = Dataset(ArraySource("test", images, dataset.source.labels, "abc"), data)
    assert (dataset._loaded._images is not None) == in_memory and dataset._whole._images is None  # held once
    order = documented_order(12)
    for step, batch in enumerate(take(dataset, 3)):
        for i in range(2):
            number = 2 * step + i
            indices = [order[8 * number + row] for row in range(8)]
            np.testing.assert_array_equal(batch["images"][i], cut_by_hand(dataset.source, indices, number))
            np.testing.assert_array_equal(batch["labels"][i], dataset.source.labels[indices])


def documented_order(num_images: int, seed: int = 0) -> list[int]:
    """The order that is documented: Grain's shuffled range, repeated."""
    rows = grain.MapDataset.range(num_images).seed(seed).shuffle().repeat()
    return [int(rows[i]) for i in range(100)]


def test_elsewhere_a_random_crop_is_none(folder, monkeypatch):
    for limit in (prepared._IN_MEMORY_BYTES, 0):
        monkeypatch.setattr(prepared, "_IN_MEMORY_BYTES", limit)
        for source in (f"folder:{folder}", "digits:test"):
            data = dataclasses.replace(CUT, source=source)
            dataset, plain = (open_dataset(dataclasses.replace(data, crop=crop)) for crop in ("random:9", "none"))
            assert dataset.spec == plain.spec
            expected = np.stack(
                [prepare(dataset.source.read(i), height=6, width=4, channels=3, crop="none") for i in (0, 4, 8)]
            )
            np.testing.assert_array_equal(dataset.gather([0, 4, 8])[0], expected)
            for left, right in (
                (dataset.first(3), plain.first(3)),
                (dataset.examples_of(1, 2), plain.examples_of(1, 2)),
            ):
                np.testing.assert_array_equal(left[0], right[0])
                np.testing.assert_array_equal(left[1], right[1])
            examples = dataset.examples(3)
            np.testing.assert_array_equal(examples["images"], plain.first(3)[0])
            np.testing.assert_array_equal(examples["labels"], plain.first(3)[1])


def test_random_crop_of_the_whole_image_is_none():
    data = DataConfig(source="digits:test", resolution=12, crop="random:12", flip=True)
    assert_same(take(open_dataset(data), 2), take(open_dataset(dataclasses.replace(data, crop="none")), 2))


def test_random_crops_do_not_depend_on_threads_processes_or_where_a_run_resumes(folder):
    data = dataclasses.replace(CUT, source=f"folder:{folder}", num_threads=1, prefetch=1)
    straight = take(open_dataset(data), 4)
    assert_same(take(open_dataset(dataclasses.replace(data, num_threads=5)), 4), straight)
    assert_same(take(open_dataset(data), 2, start_step=2), straight[2:])
    parts = [take(open_dataset(data), 4, process_index=i, process_count=4) for i in range(4)]
    joined = [
        {name: np.concatenate([batch[name] for batch in step], axis=1) for name in ("images", "labels")}
        for step in zip(*parts, strict=True)
    ]
    assert_same(joined, straight)


def test_crop_offsets_are_uniform_and_independent_of_each_other_and_of_the_flips():
    sizes = {"image_size": (8, 9), "size": (5, 7)}  # 4 x 3 places; 4 is even, so the lowest bit counts
    for batch_size in (1, 32):
        numbers = range(3840 // batch_size)
        offsets = np.concatenate([crop_offsets(0, number, batch_size, **sizes) for number in numbers])
        flips = np.concatenate([flip_mask(0, number, batch_size) for number in numbers])
        assert offsets.shape == (3840, 2)
        counts = np.zeros((4, 3, 2))
        np.add.at(counts, (offsets[:, 0], offsets[:, 1], flips.astype(int)), 1)
        expected = 3840 / counts.size
        assert ((counts - expected) ** 2 / expected).sum() < 52  # chi-squared, 23 degrees of freedom: p = 0.0005

    first = crop_offsets(0, 7, 64, **sizes)
    np.testing.assert_array_equal(first, crop_offsets(0, 7, 64, **sizes))
    np.testing.assert_array_equal(first[:16], crop_offsets(0, 7, 16, **sizes))
    assert not np.array_equal(first, crop_offsets(1, 7, 64, **sizes))
    assert not np.array_equal(first, crop_offsets(0, 8, 64, **sizes))


def test_flips_are_the_bits_that_they_were():
    """Runs that were started before there were random crops must go on with the same flips."""
    bits = np.random.Philox(key=np.array([3, 5], np.uint64)).random_raw(8)
    np.testing.assert_array_equal(flip_mask(3, 5, 8), bits % 2 == 1)


def test_domain_seeds():
    seeds = [domain_seed(seed, domain) for seed in range(200) for domain in range(2)]
    assert len(set(seeds)) == 400 and min(seeds) >= 0 and max(seeds) < 2**32
    assert domain_seed(0, 1) == int(np.random.SeedSequence(0).spawn(2)[1].generate_state(1)[0])
