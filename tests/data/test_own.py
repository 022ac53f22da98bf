"""Data from Python: what is accepted, that nothing changes on the way, and the sentences for what is not."""

import dataclasses
import itertools
import threading

import grain
import numpy as np
import pytest
from PIL import Image

from jaxgan.config import DataConfig
from jaxgan.data.arrays import to_uint8
from jaxgan.data.dataset import Dataset
from jaxgan.data.domains import DomainsDataset
from jaxgan.data.errors import DataError
from jaxgan.data.own import as_dataset, natural_config
from jaxgan.data.random_access import RandomAccessSource
from jaxgan.data.source import ArraySource
from jaxgan.data.sources import open_source

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 6, 3), dtype=np.uint8)
LABELS = np.arange(12) % 4
CONFIG = DataConfig(resolution=8, width=6, crop="none")


def contents(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    return dataset.gather(np.arange(dataset.spec.num_images))


def floats(dtype=np.float32) -> np.ndarray:
    return (2 * IMAGES.astype(np.float64) / 255 - 1).astype(dtype)


class Items:
    """A torch Dataset in all but name; counts what is read."""

    def __init__(self, make, count: int = 12):
        self._make, self._count = make, count
        self.read: list[int] = []

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        if not 0 <= index < self._count:
            raise IndexError("out of range")
        self.read.append(index)
        return self._make(index)


def picture(index: int) -> Image.Image:
    return Image.fromarray(IMAGES[index])


@pytest.mark.parametrize(
    "data, labelled",
    [
        (IMAGES, False),
        (floats(), False),
        (floats(np.float64), False),
        ((IMAGES, LABELS), True),
        ((IMAGES, list(LABELS)), True),
        ((floats(), LABELS.astype(np.uint8)), True),
        ((IMAGES, None), False),
        (ArraySource("x", IMAGES, LABELS, "0123"), True),
        (list(IMAGES), False),
        (Items(lambda i: IMAGES[i]), False),
        (Items(lambda i: (floats()[i], LABELS[i])), True),
        (Items(lambda i: (picture(i), int(LABELS[i]))), True),
        (Items(lambda i: [IMAGES[i], np.array([LABELS[i]])]), True),
        (Items(lambda i: {"image": IMAGES[i], "label": LABELS[i], "id": i}), True),
        (Items(lambda i: {"image": picture(i)}), False),
        (Items(lambda i: (IMAGES[i], None)), False),
        (grain.MapDataset.source(IMAGES), False),
        (grain.MapDataset.source(range(12)).map(lambda i: {"image": IMAGES[i], "label": LABELS[i]}), True),
        (grain.MapDataset.source(range(12)).map(lambda i: (IMAGES[i], LABELS[i])), True),
    ],
)
def test_every_form_gives_the_same_images_and_labels(data, labelled):
    dataset = as_dataset(data, CONFIG)
    assert dataset.spec.num_images == 12 and dataset.spec.class_names == (("0", "1", "2", "3") if labelled else ())
    images, labels = contents(dataset)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS if labelled else np.zeros(12))
    assert natural_config(data) == dataclasses.replace(CONFIG, source="own")


def test_torch_data():
    torch = pytest.importorskip("torch")
    images, labels = torch.from_numpy(IMAGES), torch.from_numpy(LABELS)
    for data in ((images, labels), torch.utils.data.TensorDataset(images, labels)):
        dataset = as_dataset(data, CONFIG)
        assert dataset.spec.num_classes == 4
        np.testing.assert_array_equal(contents(dataset)[0], IMAGES)
        np.testing.assert_array_equal(contents(dataset)[1], LABELS)
    with pytest.raises(DataError, match=r"\(12, 3, 8, 6\).*np\.moveaxis\(images, -3, -1\)"):
        as_dataset(images.permute(0, 3, 1, 2), CONFIG)


def test_data_sets_and_strings():
    dataset = as_dataset(IMAGES, CONFIG)
    assert as_dataset(dataset, DataConfig()) is dataset and natural_config(dataset) == CONFIG
    digits = as_dataset("digits:test", DataConfig(source="folder:/nowhere", resolution=8, channels=1))
    assert digits.spec.num_classes == 10
    np.testing.assert_array_equal(digits.gather([3])[0][0], open_source("digits:test").read(3))


def test_grey_images_and_other_channels():
    grey = IMAGES[..., 0]
    for data in (grey, grey[..., None], list(grey), Items(lambda i: Image.fromarray(grey[i]))):
        config = natural_config(data)
        assert (config.resolution, config.width, config.channels) == (8, 6, 1)
        np.testing.assert_array_equal(contents(as_dataset(data, config))[0], grey[..., None])
    np.testing.assert_array_equal(contents(as_dataset(grey, CONFIG))[0], np.stack([grey] * 3, axis=-1))
    assert natural_config(np.zeros((2, 5, 5, 4), np.uint8)).channels == 4
    assert natural_config(np.zeros((2, 5, 5, 4), np.uint8)).width == 0
    palette = Image.fromarray(IMAGES[0]).convert("P")
    np.testing.assert_array_equal(contents(as_dataset([palette], CONFIG))[0][0], np.asarray(palette.convert("RGB")))


def test_the_settings_transform_images_of_any_size():
    data = [np.full((10 + i, 20 - i, 3), i, np.uint8) for i in range(5)]
    images, _ = contents(as_dataset(data, DataConfig(resolution=4, channels=1)))
    np.testing.assert_array_equal(images, np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1)))
    with pytest.raises(DataError, match=r"item 0 of `data`: An image of 10 x 20 pixels is smaller than .*center:11"):
        contents(as_dataset(data, DataConfig(resolution=4, crop="center:11")))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_the_nearest_of_256_values(dtype):
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8((2 * values.astype(np.float64) / 255 - 1).astype(dtype), "x"), values)
    fine = np.random.default_rng(0).uniform(-1, 1, 999).astype(dtype)
    expected = [round((float(x) + 1) / 2 * 255) for x in fine]
    np.testing.assert_array_equal(to_uint8(fine, "x"), expected)
    assert to_uint8(fine, "x").dtype == np.uint8


def test_two_domains():
    data = {"a": IMAGES, "b": (floats()[:5], LABELS[:5])}
    dataset = as_dataset(data, CONFIG)
    assert isinstance(dataset, DomainsDataset)
    assert (dataset.spec.num_images, dataset.spec.num_images_b, dataset.spec.num_classes) == (12, 5, 0)
    np.testing.assert_array_equal(contents(dataset.a)[0], IMAGES)
    np.testing.assert_array_equal(contents(dataset.b)[0], IMAGES[:5])
    assert natural_config(data) == dataclasses.replace(CONFIG, source="own") and natural_config(dataset).labels is False
    assert natural_config({"a": IMAGES, "b": IMAGES[:, :4]}) is None

    paired = as_dataset({"a": list(IMAGES), "b": IMAGES}, dataclasses.replace(CONFIG, paired=True, flip=True))
    batches = paired.batches(seed=0, batch_size=6, num_d_steps=1)
    for batch in itertools.islice(batches, 3):
        np.testing.assert_array_equal(batch["a"], batch["b"])
    batches.close()
    with pytest.raises(DataError, match=r"images of A \(=12\) as of B \(=5\)"):
        as_dataset(data, dataclasses.replace(CONFIG, paired=True))
    with pytest.raises(DataError, match=r"`data\['b'\]` has shape \(5,\)"):
        as_dataset({"a": IMAGES, "b": np.zeros(5)}, CONFIG)


def test_natural_config_of_what_has_no_size_of_its_own(tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "x.png")
    assert natural_config("digits") is None
    assert natural_config(open_source(f"folder:{tmp_path}")) is None
    assert natural_config(open_source("digits")).channels == 1


def test_labels_are_scanned_once_unless_the_number_of_classes_is_given():
    items = Items(lambda i: (IMAGES[i], int(LABELS[i])))
    dataset = as_dataset(items, CONFIG)
    assert dataset.spec.num_classes == 4 and set(items.read) == set(range(12))
    items.read.clear()
    assert [dataset.source.label(i) for i in range(12)] == list(LABELS) and dataset.source.labels is not None
    assert items.read == []

    items = Items(lambda i: (IMAGES[i], int(LABELS[i])), 12)
    dataset = as_dataset(items, CONFIG, num_classes=7)
    assert dataset.spec.num_classes == 7 and not {3, 4, 5, 6, 7, 8} & set(items.read)
    np.testing.assert_array_equal(dataset.examples_of(3, 1)[0][0], IMAGES[3])
    assert 11 not in items.read[-4:]
    np.testing.assert_array_equal(dataset.source.labels, LABELS)
    assert dataset.source.labels.dtype == np.int32

    items.read.clear()
    assert as_dataset(items, dataclasses.replace(CONFIG, labels=False)).spec.num_classes == 0
    assert not {3, 4, 5, 6, 7, 8} & set(items.read)


def test_number_of_classes_of_arrays():
    assert as_dataset((IMAGES, LABELS), CONFIG, num_classes=9).spec.num_classes == 9
    with pytest.raises(DataError, match=r"run from 0 to 3, but must lie in 0\.\.2 \(num_classes=3\)"):
        as_dataset((IMAGES, LABELS), CONFIG, num_classes=3)
    for data in (IMAGES, list(IMAGES)):
        with pytest.raises(DataError, match=r"num_classes \(=3\) needs labels, but `data` has none"):
            as_dataset(data, CONFIG, num_classes=3)
    for data, count in ((IMAGES, 0), ("digits", 10), (as_dataset(IMAGES, CONFIG), 3)):
        with pytest.raises(DataError, match=rf"num_classes \(={count}\) must be positive, and be left out where"):
            as_dataset(data, CONFIG, num_classes=count)


def test_fingerprint_follows_length_images_and_labels():
    def fingerprint(images, labels=None):
        pairs = list(images) if labels is None else list(zip(images, labels, strict=True))
        return RandomAccessSource("x", pairs).fingerprint

    changed = IMAGES.copy()
    changed[-1, 0, 0, 0] ^= 1
    several = [
        fingerprint(IMAGES), fingerprint(IMAGES[:11]), fingerprint(changed), fingerprint(IMAGES.reshape(12, 6, 8, 3)),
        fingerprint(IMAGES, LABELS), fingerprint(IMAGES, LABELS[::-1]),
    ]  # fmt: skip
    assert len(set(several)) == len(several) and fingerprint(IMAGES) == several[0]
    assert fingerprint(IMAGES[:1]) != fingerprint(IMAGES[:2])
    assert fingerprint(floats()) == several[0]
    assert as_dataset(IMAGES, CONFIG).spec.fingerprint == as_dataset(floats(), CONFIG).spec.fingerprint


def test_items_are_read_by_several_threads_to_the_same_batches():
    names = set()

    def make(index):
        names.add(threading.current_thread().name)
        return IMAGES[index], LABELS[index]

    def take(num_threads):
        config = dataclasses.replace(CONFIG, flip=True, crop="random:9", num_threads=num_threads)
        batches = as_dataset(Items(make), config).batches(seed=0, batch_size=8, num_d_steps=1)
        taken = list(itertools.islice(batches, 6))
        batches.close()
        return taken

    for one, many in zip(take(1), take(4), strict=True):
        np.testing.assert_array_equal(one["images"], many["images"])
        np.testing.assert_array_equal(one["labels"], many["labels"])
    assert len(names) > 2


@pytest.mark.parametrize(
    "data, message",
    [
        (IMAGES.astype(np.int64), r"`data` is of type int64, but must be uint8 in 0\.\.255 or floats in \[-1, 1\]"),
        (IMAGES > 99, "is of type bool"),
        (IMAGES.astype(np.float32), r"values from 0 to 255, but floats must lie in \[-1, 1\]; scale them"),
        (floats() * np.where(np.arange(12) == 9, np.nan, 1)[:, None, None, None], "values from nan to nan"),
        (floats() * np.float32(1.01), r"values from -1\.01 to 1\.01"),
        (IMAGES.transpose(0, 3, 1, 2), r"shape \(12, 3, 8, 6\), but must have \(N, H, W\).*move the channels"),
        (IMAGES[..., :2], r"shape \(12, 8, 6, 2\).*C = 1 \(grey\), 3 \(RGB\) or 4 \(RGBA\) channels; arrange"),
        (IMAGES[None], r"shape \(1, 12, 8, 6, 3\)"),
        (IMAGES[:0], r"shape \(0, 8, 6, 3\).*empty images or sets"),
        ((IMAGES, LABELS[:5]), r"labels of `data` have shape \(5,\), .* each of the 12 images"),
        ((IMAGES, np.eye(12)), r"shape \(12, 12\).*of one-hot labels take labels\.argmax\(axis=1\)"),
        ((IMAGES, LABELS - 1), r"labels of `data` run from -1 to 2, but must not be negative"),
        ((IMAGES, LABELS / 1), "labels of `data` are of type float64, but must be integers"),
        ((IMAGES, LABELS, LABELS), "`data` is of type tuple, but must be an array of images, "),
        (3, "`data` is of type int, but must be .* a grain.MapDataset or a torch Dataset"),
        (iter(IMAGES), "is of type"),
        ({"a": IMAGES}, r"`data` has the keys \['a'\], but must be"),
        ([], "`data` must have 1 to 2,147,483,647 items, not 0; give at least one"),
        (grain.MapDataset.source(IMAGES).repeat(), r"not 9,2.*; give one epoch, without \.repeat\(\)"),
        (grain.MapDataset.source(IMAGES).filter(lambda x: False), "item 0 of `data` is None, .*filters out"),
        (grain.MapDataset.source(IMAGES).batch(4), r"image of item 0 of `data` has shape \(4, 8, 6, 3\)"),
        ([{"img": 1}], r"item 0 of `data` has the keys \['img'\], but must have 'image'"),
        ([(IMAGES[0], 1, 2)], r"item 0 of `data` has 3 parts, but must be an image or \(image, label\)"),
        ([object()], "image of item 0 of `data` is of type object"),
        (["x.png"], r"image of item 0 of `data` has shape \(\)"),
        ([IMAGES[0].astype(int)], "image of item 0 of `data` is of type int64"),
        ([(IMAGES[0], 0.5)], "labels of item 0 of `data` are of type float64"),
        ([(IMAGES[0], 1), (IMAGES[0], -2)], "labels of item 1 of `data` run from -2 to -2"),
        ([(IMAGES[0], 1), (IMAGES[0], None)], "item 1 of `data` has no label, but item 0 has one"),
        ([(IMAGES[0], [0, 1])], r"label of item 0 of `data` has shape \(2,\), but must be one integer"),
        (Items(lambda i: 1 // 0), r"item 0 of `data` cannot be read \(ZeroDivisionError: .*\); every item must be"),
    ],
)
def test_what_is_refused(data, message):
    with pytest.raises(DataError, match=message) as error:
        as_dataset(data, CONFIG)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


@pytest.mark.parametrize("data", [3, IMAGES[..., :2], {"a": IMAGES}, [], ["x.png"]])
def test_natural_config_refuses_likewise(data):
    with pytest.raises(DataError, match="data"):
        natural_config(data)


def test_a_bad_item_is_named_when_it_is_read():
    dataset = as_dataset([(image, i) for i, image in enumerate(IMAGES)], CONFIG, num_classes=12)
    assert contents(dataset)[1].tolist() == list(range(12))
    items = Items(lambda i: (IMAGES[i], 9 if i == 5 else 1))
    with pytest.raises(DataError, match=r"labels of item 5 of `data` run from 9 to 9, but must lie in 0\.\.1"):
        contents(as_dataset(items, CONFIG, num_classes=2))
