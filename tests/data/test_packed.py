"""`packed:PATH`: what was prepared comes back to the last bit, from any thread; or a sentence says why it does not."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxgan.config import DataConfig
from jaxgan.data import prepared
from jaxgan.data.errors import DataError
from jaxgan.data.packing import Packer
from jaxgan.data.pipeline import Dataset, open_dataset
from jaxgan.data.shards import Recipe
from jaxgan.data.source import ArraySource
from jaxgan.data.sources import open_source

NAMES = ("a", "b", "c")


def memory(count=23, shape=(6, 5, 3), *, labelled=True, seed=0) -> ArraySource:
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)
    return ArraySource("memory", images, np.arange(count) * 7 % 3 if labelled else None, NAMES if labelled else ())


def pack(source: ArraySource, out, **changes) -> None:
    _, height, width, channels = source.images.shape
    recipe = Recipe(
        **{
            "source": source.name, "source_fingerprint": source.fingerprint, "num_source_images": len(source),
            "height": height, "width": width, "channels": channels, "crop": "none", "filter": "lanczos", "min_side": 0,
            "class_names": source.class_names, "label_of": tuple(range(len(source.class_names))), "shard_images": 10,
        }
        | changes
    )  # fmt: skip
    packer = Packer(source, recipe, out, num_threads=2)
    for _ in packer.write():
        pass
    packer.finish()


@pytest.fixture(scope="module")
def source():
    return memory()


@pytest.fixture
def folder(source, tmp_path):
    pack(source, tmp_path / "set")
    return tmp_path / "set"


def edit(path, **changes):
    tree = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(tree))


@pytest.mark.parametrize("direct", [True, False])
def test_images_and_labels_come_back_across_shards(source, folder, direct):
    assert len(list(folder.glob("*.array_record"))) == 3
    metadata = json.loads((folder / "metadata.json").read_text())
    assert all(shard["direct"] for shard in metadata["shards"])  # the fast way is taken
    if not direct:
        edit(folder / "metadata.json", shards=[shard | {"direct": False} for shard in metadata["shards"]])
    packed = open_source(f"packed:{folder}")
    assert len(packed) == 23 and packed.class_names == NAMES and packed.image_shape == (6, 5, 3)
    np.testing.assert_array_equal(packed.labels, source.labels)
    order = np.array([22, 0, 9, 10, 10, 20, 3])
    np.testing.assert_array_equal(packed.read_many(order), source.images[order])
    image, label = packed.example(19)
    np.testing.assert_array_equal(image, source.images[19])
    assert label == source.label(19) and packed.labels.dtype == np.int32
    assert packed.smallest() == (f"image 0 of packed:{folder}", 6, 5) and packed.skipped == []


def test_unlabelled(tmp_path):
    pack(memory(labelled=False), tmp_path)
    packed = open_source(f"packed:{tmp_path}")
    assert packed.labels is None and packed.class_names == () and packed.example(3)[1] == 0
    assert not (tmp_path / "labels.npy").exists()


def test_the_fingerprint_is_of_pixels_and_labels(source, folder, tmp_path):
    first = open_source(f"packed:{folder}").fingerprint
    pack(source, tmp_path / "other", shard_images=4)
    assert open_source(f"packed:{tmp_path / 'other'}").fingerprint == first
    changed = source.images.copy()
    changed[20, 0, 0, 0] ^= 1
    pack(ArraySource("memory", changed, source.labels, NAMES), tmp_path / "pixel")
    pack(ArraySource("memory", source.images, np.roll(source.labels, 1), NAMES), tmp_path / "label")
    others = {open_source(f"packed:{tmp_path / name}").fingerprint for name in ("pixel", "label")}
    assert len(others | {first}) == 3


def test_many_threads_read_at_once(source, folder):
    packed = open_source(f"packed:{folder}")
    orders = [np.random.default_rng(i).integers(0, 23, 40) for i in range(32)]
    with ThreadPoolExecutor(8) as pool:
        for order, images in zip(orders, pool.map(packed.read_many, orders), strict=True):
            np.testing.assert_array_equal(images, source.images[order])


@pytest.mark.parametrize("limit", [prepared._IN_MEMORY_BYTES, 0])
@pytest.mark.parametrize("size", [(6, 5), (4, 4)])
def test_batches_equal_those_of_the_arrays(source, folder, monkeypatch, limit, size):
    data = DataConfig(source=f"packed:{folder}", resolution=size[0], width=size[1], flip=True)
    expected = Dataset(source, data)
    monkeypatch.setattr(prepared, "_IN_MEMORY_BYTES", limit)
    packed = open_dataset(data)
    held = packed._loaded._images is not None
    assert held == (limit > 0 and size == (6, 5))  # a resize is done when an image is read
    options = {"seed": 1, "batch_size": 8, "num_d_steps": 2, "stop_step": 3}
    pairs = list(itertools.zip_longest(packed.batches(**options), expected.batches(**options)))
    assert len(pairs) == 3
    for batch, wanted in pairs:
        np.testing.assert_array_equal(batch["images"], wanted["images"])
        np.testing.assert_array_equal(batch["labels"], wanted["labels"])


def test_a_crop_that_changes_nothing_is_seen_as_such(tmp_path):
    pack(memory(shape=(8, 8, 3)), tmp_path)
    for crop, is_ready in (("center", True), ("none", True), ("center:8", True), ("center:6", False)):
        dataset = open_dataset(DataConfig(source=f"packed:{tmp_path}", resolution=8, crop=crop))
        assert dataset._loaded._is_ready == is_ready
    assert not open_dataset(DataConfig(source=f"packed:{tmp_path}", resolution=8, channels=1))._loaded._is_ready


def test_batches_do_not_change_what_is_held_in_memory(source, folder):
    dataset = open_dataset(DataConfig(source=f"packed:{folder}", resolution=6, width=5, flip=True))
    before = dataset._loaded._images.copy()
    for batch in dataset.batches(seed=0, batch_size=8, num_d_steps=1, stop_step=4):
        batch["images"][:] = 0
    np.testing.assert_array_equal(dataset._loaded._images, before)


def test_folders_without_a_data_set(tmp_path):
    with pytest.raises(
        DataError, match=r"data\.source='packed:.*nowhere': the folder .* does not exist.*jaxgan prepare"
    ):
        open_source(f"packed:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match=r"holds no packed data set \(no metadata\.json\); make one with"):
        open_source(f"packed:{tmp_path}")
    (tmp_path / "unfinished.json").write_text("{}")
    with pytest.raises(DataError, match=r"is not complete; type the prepare command that began it again\."):
        open_source(f"packed:{tmp_path}")


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: edit(f / "metadata.json", version=2), r"format version 2, but this jaxgan reads version 1; update"),
        (lambda f: (f / "metadata.json").write_text("[]"), "is not the metadata of a packed data set"),
        (lambda f: (f / "metadata.json").write_text("{"), "is not the metadata of a packed data set"),
        (lambda f: edit(f / "metadata.json", shards=[{}]), r"metadata\.json is damaged \(KeyError: 'file'\); prepare"),
        (lambda f: (f / "images-00001-of-00003.array_record").unlink(), r"00001-of.*absent or damaged \(No such file"),
        (lambda f: (f / "images-00002-of-00003.array_record").write_bytes(b"x"), r"it has 1 bytes instead of \d+"),
        (lambda f: (f / "labels.npy").unlink(), r"labels\.npy is absent or damaged"),
        (lambda f: (f / "labels.npy").write_bytes(b"x"), r"labels\.npy is absent or damaged"),
        (lambda f: np.save(f / "labels.npy", np.zeros(5, np.int32)), r"int32 \(5,\) instead of int32 \(23,\)"),
        (lambda f: np.save(f / "labels.npy", np.full(23, 3, np.int32)), r"labels of 3\.\.3 do not lie in 0\.\.2"),
    ],
)
def test_damaged_data_sets_are_refused_at_opening(folder, damage, message):
    damage(folder)
    with pytest.raises(DataError, match=message):
        open_source(f"packed:{folder}")


def test_damage_after_opening_is_named(folder):
    packed = open_source(f"packed:{folder}")
    shard = folder / "images-00001-of-00003.array_record"
    with open(shard, "r+b") as file:
        file.truncate(300)
    packed.read_many(np.array([0]))
    with pytest.raises(DataError, match=rf"{shard} is absent or damaged \(record 9 ends after"):
        packed.read_many(np.array([0, 19]))
