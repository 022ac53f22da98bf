"""Two domains: where they lie, how their orders relate, and that pairs stay pairs through order, flip and crop."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.config import DataConfig
from jaxgan.data.dataset import Dataset
from jaxgan.data.domains import DomainsDataset, open_domains
from jaxgan.data.errors import DataError, UnreadableImage
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.source import ArraySource
from jaxgan.data.sources import open_source
from jaxgan.data.transforms import prepare

TINY = DataConfig(resolution=4, channels=1, crop="none")


def numbered(count: int, first: int = 0) -> ArraySource:
    """Image i has value first + i, except for column 0, which is 255 so that a flip shows."""
    images = np.arange(first, first + count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    images[:, :, 0] = 255
    return ArraySource("test", images, None)


def coordinates(count: int) -> ArraySource:
    """Pixels hold their own row and column, and the number of the image."""
    images = np.empty((count, 12, 12, 3), np.uint8)
    images[..., 0] = np.arange(12)[:, None]
    images[..., 1] = np.arange(12)[None, :]
    images[..., 2] = np.arange(count)[:, None, None]
    return ArraySource("test", images, None)


def domains(a: ArraySource, b: ArraySource, data: DataConfig) -> DomainsDataset:
    return DomainsDataset(Dataset(a, data), Dataset(b, data), data)


def take(dataset, count: int, **options) -> list[dict[str, np.ndarray]]:
    options = {"seed": 0, "batch_size": 4, "num_d_steps": 1} | options
    batches = dataset.batches(**options)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def assert_same(actual, expected):
    assert len(actual) == len(expected) > 0
    for x, y in zip(actual, expected, strict=True):
        assert x.keys() == y.keys() == {"a", "b"}
        for name in x:
            np.testing.assert_array_equal(x[name], y[name])


def stream(batches, name: str) -> np.ndarray:
    return np.concatenate([batch[name][..., 1, 1, 0].ravel() for batch in batches])


def write(folder: Path, count: int, first: int = 0, size=(8, 10)) -> None:
    """PNG files of one value each, in the order of their names."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((*size, 3), first + i, np.uint8)).save(folder / f"{i:02d}.png")


@pytest.fixture
def unpaired(tmp_path) -> Path:
    """The layout of CycleGAN's data sets."""
    for name, count, first in (("trainA", 5, 0), ("trainB", 3, 100), ("testA", 2, 50), ("testB", 1, 150)):
        write(tmp_path / name, count, first)
    return tmp_path


@pytest.fixture
def aligned(tmp_path) -> Path:
    """The layout of pix2pix's data sets; left halves are noise, right ones their negatives."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        (tmp_path / split).mkdir()
        for i in range(count):
            left = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(np.concatenate([left, 255 - left], axis=1)).save(tmp_path / split / f"{i}.png")
    return tmp_path


def test_unpaired_folders(unpaired):
    for suffix, counts in (("", (5, 3)), (":train", (5, 3)), (":test", (2, 1))):
        a, b = open_domains(f"unpaired:{unpaired}{suffix}")
        assert (len(a), len(b)) == counts
        assert a.labels is None and a.class_names == () and a.fingerprint != b.fingerprint
    assert [int(a.read(i)[0, 0, 0]) for i in range(2)] == [50, 51] and int(b.read(0)[0, 0, 0]) == 150


def test_folders_inside_a_domain_are_no_classes(unpaired):
    write(unpaired / "trainA" / "more" / "yet", 2, 70)
    write(unpaired / "trainA" / ".hidden", 2, 70)
    a, _ = open_domains(f"unpaired:{unpaired}")
    assert a.class_names == () and [int(a.read(i)[0, 0, 0]) for i in range(7)] == [0, 1, 2, 3, 4, 70, 71]


@pytest.mark.parametrize(
    "folders, message",
    [
        ({"trainA": 1}, r"trainA is there, trainB is missing in \S+ \(which holds trainA\)"),
        ({"trainB": 1, "testA": 1}, r"trainA is missing, trainB is there in \S+ \(which holds testA, trainB\)"),
        ({"trainA": 1, "trainB": 0}, r"trainA is there, trainB holds no image in"),
        ({"trainA": 0, "trainB": 0}, r"trainA holds no image, trainB holds no image in"),
        ({}, r"trainA is missing, trainB is missing in \S+ \(which is empty\)"),
        ({f"x{i}": 0 for i in range(8)}, r"\(which holds x0, x1, x2, x3, x4, x5 and 2 more\)"),
    ],
)
def test_a_domain_that_is_missing_or_empty(tmp_path, folders, message):
    for name, count in folders.items():
        write(tmp_path / name, count)
    with pytest.raises(
        DataError, match=message + r".*must lie in PATH/trainA and PATH/trainB, as files ending in \.jpg"
    ):
        open_domains(f"unpaired:{tmp_path}")


def test_sources_that_are_not_two_domains(tmp_path, unpaired):
    with pytest.raises(DataError, match=r"nowhere does not exist; give the path of one with folders testA and testB"):
        open_domains(f"unpaired:{tmp_path}/nowhere:test")
    with pytest.raises(DataError, match=r"nowhere does not exist; .* A\|B side by side"):
        open_domains(f"aligned:{tmp_path}/nowhere")
    for source in ("folder:/x", "unpaired:", "aligned", ""):
        with pytest.raises(
            DataError, match=rf"\(='{source}'\) must name images of two domains: unpaired:.* or aligned:"
        ):
            open_domains(source)
    for source in (f"unpaired:{unpaired}", "aligned:/x"):
        with pytest.raises(DataError, match=r"has two domains, which .*cyclegan or pix2pix .* give it as folder:PATH"):
            open_source(source)
    with pytest.raises(DataError, match=r"known: digits.*, unpaired:PATH.*, aligned:PATH\[:train\|:test\|:val\]"):
        open_source("unknown")


def test_home_folder(unpaired, monkeypatch):
    monkeypatch.setenv("HOME", str(unpaired.parent))
    assert len(open_domains(f"unpaired:~/{unpaired.name}:test")[0]) == 2


def test_aligned_images_are_cut_in_two(aligned):
    whole = open_source(f"folder:{aligned / 'train'}")
    for suffix, count in (("", 6), (":train", 6), (":val", 2)):
        a, b = open_domains(f"aligned:{aligned}{suffix}")
        assert len(a) == len(b) == count and a.fingerprint != b.fingerprint and a.labels is None
    a, b = open_domains(f"aligned:{aligned}")
    for i in range(6):
        np.testing.assert_array_equal(np.concatenate([a.read(i), b.read(i)], axis=1), whole.read(i))
        np.testing.assert_array_equal(a.exact_example(i)[0], 255 - b.exact_example(i)[0])
    assert a.smallest()[1:] == b.smallest()[1:] == (6, 8)
    assert a.where(2).endswith("2.png (left half)") and b.where(2).endswith("2.png (right half)")


def test_aligned_images_may_lie_in_the_folder_itself(aligned):
    a, _ = open_domains(f"aligned:{aligned / 'val'}")
    assert len(a) == 2
    with pytest.raises(
        DataError, match=r"test is missing in \S+ \(which holds train, val\).* must lie in PATH/train \("
    ):
        open_domains(f"aligned:{aligned}:test")
    with pytest.raises(DataError, match=r"test is missing in \S+ \(which holds 0\.png, 1\.png\)"):
        open_domains(f"aligned:{aligned / 'val'}:test")
    (aligned / "empty" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"train holds no image in \S+empty \(which holds train\)"):
        open_domains(f"aligned:{aligned / 'empty'}")


def test_pairs_of_odd_width(aligned):
    Image.new("RGB", (15, 6)).save(aligned / "train" / "9.png")
    dataset = open_dataset(DataConfig(source=f"aligned:{aligned}", resolution=4, crop="none"))
    message = r"9\.png has 6 x 15 pixels, but .* A\|B side by side must have an even width"
    with pytest.raises(DataError, match=message):
        take(dataset, 2)
    Image.new("RGB", (15, 6)).save(aligned / "train" / "0.png")
    with pytest.raises(DataError, match=message.replace("9", "0", 1)):
        open_domains(f"aligned:{aligned}")


def test_shapes_and_spec(unpaired):
    data = DataConfig(source=f"unpaired:{unpaired}", resolution=6, width=4, crop="none", flip=True)
    dataset = open_dataset(data)
    assert isinstance(dataset, DomainsDataset)
    batch = take(dataset, 1, num_d_steps=2)[0]
    assert batch.keys() == {"a", "b"}
    assert all(images.shape == (2, 4, 6, 4, 3) and images.dtype == np.uint8 for images in batch.values())
    spec = dataset.spec
    assert (spec.height, spec.width, spec.channels, spec.num_images, spec.num_images_b) == (6, 4, 3, 5, 3)
    assert spec.num_classes == 0 and spec.class_names == () and spec.has_domains
    assert not dataset.a.spec.has_domains and dataset.a.spec.num_images == 5 and dataset.b.spec.num_images == 3
    fingerprint = spec.fingerprint
    assert open_dataset(dataclasses.replace(data, resolution=8)).spec.fingerprint == fingerprint
    write(unpaired / "trainB" / "more", 1)
    assert open_dataset(data).spec.fingerprint != fingerprint


def test_each_domain_visits_its_images_once_per_epoch_of_its_own():
    batches = take(domains(numbered(12), numbered(5, 100), TINY), 15)  # 60 rows: 5 epochs of A, 12 of B
    a, b = stream(batches, "a").reshape(5, 12), stream(batches, "b").reshape(12, 5)
    for epoch in a:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(12))
    for epoch in b:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(100, 105))
    assert len({tuple(epoch) for epoch in a}) == 5 and len({tuple(epoch) for epoch in b}) > 6


def test_unpaired_orders_are_unrelated():
    data = dataclasses.replace(TINY, flip=True)
    batches = take(domains(numbered(40), numbered(40), data), 100)  # 10 epochs of either
    a, b = stream(batches, "a").astype(int), stream(batches, "b").astype(int)
    partners = {(i, j) for i, j in zip(a, b, strict=True)}
    assert len(partners) > 300  # 400 rows, 1,600 possible pairs; a fixed partner would leave 40
    assert abs((a == b).mean() - 1 / 40) < 5 * np.sqrt(1 / 40 / 400)
    both = domains(numbered(40), numbered(40), TINY)
    by_seed = [take(both, 10, seed=seed) for seed in range(3)]
    for first, second in itertools.product(by_seed, repeat=2):  # nor is it the other's order under another seed
        assert not np.array_equal(stream(first, "a"), stream(second, "b"))
    flips = {name: np.concatenate([batch[name][0, :, 0, -1, 0] == 255 for batch in batches]) for name in "ab"}
    assert abs((flips["a"] == flips["b"]).mean() - 0.5) < 5 * 0.5 / np.sqrt(400)


@pytest.mark.parametrize("crop", ["random:10", "random:4"])
def test_pairs_share_order_flip_and_crop(crop):
    data = DataConfig(resolution=4, width=6, crop=crop, flip=True, paired=True)
    both = domains(coordinates(7), coordinates(7), data)
    batches = take(both, 6, num_d_steps=2)
    for batch in batches:
        np.testing.assert_array_equal(batch["a"], batch["b"])
    corners = {tuple(image[0, 0]) for batch in batches for image in batch["a"].reshape(-1, 4, 6, 3)}
    assert len(corners) > (7 if crop == "random:4" else 20)  # at 4 pixels only flips differ

    unpaired = take(domains(coordinates(7), coordinates(7), dataclasses.replace(data, paired=False)), 6)
    assert not any(np.array_equal(batch["a"], batch["b"]) for batch in unpaired)


def test_unpaired_crops_differ_between_the_domains():
    same = ArraySource("test", np.repeat(coordinates(1).images, 8, axis=0), None)  # so that orders play no part
    batches = take(domains(same, same, DataConfig(resolution=4, crop="random:12")), 10)
    corners = [np.concatenate([batch[name][0, :, 0, 0, :2] for batch in batches]) for name in "ab"]
    equal = (corners[0] == corners[1]).mean()
    assert equal < 0.35  # 1/9 of the rows or columns by chance


def test_pairs_of_folders_go_by_the_order_of_names(tmp_path):
    for domain, first in (("A", 0), ("B", 100)):
        (tmp_path / f"train{domain}").mkdir()
        for i in (10, 1, 2, 21):
            Image.fromarray(np.full((4, 4, 3), first + i, np.uint8)).save(tmp_path / f"train{domain}/{i}_{domain}.png")
    dataset = open_dataset(DataConfig(source=f"unpaired:{tmp_path}", resolution=4, paired=True))
    batches = take(dataset, 4)
    np.testing.assert_array_equal(stream(batches, "a") + 100, stream(batches, "b"))
    assert set(stream(batches, "a")) == {1, 2, 10, 21}
    first = dataset.first(4)
    np.testing.assert_array_equal(first["a"] + 100, first["b"])


@pytest.mark.parametrize("paired", [True, False])
def test_aligned_data_may_be_taken_as_pairs_or_apart(aligned, paired):
    data = DataConfig(source=f"aligned:{aligned}", resolution=6, width=8, crop="none", flip=True, paired=paired)
    batches = take(open_dataset(data), 6)
    matches = [
        np.array_equal(a, 255 - b) for batch in batches for a, b in zip(batch["a"][0], batch["b"][0], strict=True)
    ]
    assert all(matches) if paired else sum(matches) < 8
    for name in "ab":
        seen = {
            image.tobytes()
            for batch in batches[:3]
            for image in np.concatenate([*batch[name], *batch[name][:, :, :, ::-1]])
        }
        assert len(seen) == 12  # two epochs: six images, either way round


def test_pairs_need_equal_numbers(unpaired):
    with pytest.raises(DataError, match=r"as many images of A \(=5\) as of B \(=3\).*data\.paired=False"):
        open_dataset(DataConfig(source=f"unpaired:{unpaired}", resolution=4, paired=True))


def test_images_of_two_sizes():
    a, b = (Dataset(numbered(3), dataclasses.replace(TINY, resolution=size)) for size in (4, 8))
    with pytest.raises(DataError, match=r"of A \(4, 4, 1\) and of B \(8, 8, 1\) must have one height"):
        DomainsDataset(a, b, TINY)


@pytest.mark.parametrize("paired", [True, False])
def test_threads_resumption_and_processes_change_nothing(aligned, paired):
    data = DataConfig(
        source=f"aligned:{aligned}", resolution=4, crop="random:6", flip=True, paired=paired, num_threads=1, prefetch=1
    )
    straight = take(open_dataset(data), 4, num_d_steps=2)
    assert_same(take(open_dataset(dataclasses.replace(data, num_threads=4, prefetch=3)), 4, num_d_steps=2), straight)
    assert_same(take(open_dataset(data), 9, num_d_steps=2, start_step=2, stop_step=4), straight[2:])
    parts = [take(open_dataset(data), 4, num_d_steps=2, process_index=i, process_count=2) for i in range(2)]
    joined = [{k: np.concatenate([x[k], y[k]], axis=1) for k in "ab"} for x, y in zip(*parts, strict=True)]
    assert_same(joined, straight)


def test_batch_must_divide_among_the_processes():
    with pytest.raises(DataError, match=r"batch_size \(=4\) must be a multiple .* \(=3\); try 6"):
        take(domains(numbered(5), numbered(4), TINY), 1, process_count=3)


def test_examples_are_whole_images_spread_evenly():
    data = DataConfig(resolution=4, width=6, crop="random:8", flip=True)
    a, b = coordinates(8), coordinates(3)
    examples = domains(a, b, data).examples(4)
    assert examples.keys() == {"a", "b"}
    for source, rows, images in ((a, (0, 2, 4, 6), examples["a"]), (b, (0, 0, 1, 2), examples["b"])):
        expected = [prepare(source.read(i), height=4, width=6, channels=3, crop="none") for i in rows]
        np.testing.assert_array_equal(images, np.stack(expected))


def test_broken_images(unpaired, aligned, caplog):
    (unpaired / "trainA" / "01.png").write_bytes(b"broken")
    data = DataConfig(source=f"unpaired:{unpaired}", resolution=4)
    with pytest.raises(UnreadableImage, match=r"trainA/01\.png is not a readable image"):
        open_dataset(data)
    with caplog.at_level("WARNING", logger="absl"):
        dataset = open_dataset(dataclasses.replace(data, skip_corrupt=True))
    assert dataset.spec.num_images == 4 and len(dataset.skipped) == 1
    assert "Left out 1 unreadable of 8 images" in caplog.text
    paired = dataclasses.replace(data, paired=True)
    message = r"skip_corrupt \(=True\) must be False with data\.paired=True"
    with pytest.raises(DataError, match=message):
        open_dataset(dataclasses.replace(paired, skip_corrupt=True))
    with pytest.raises(DataError, match=message):  # left out already
        DomainsDataset(dataset.a, dataset.b, paired)
    (unpaired / "trainA" / "01.png").unlink()
    with pytest.raises(DataError, match=message):  # nothing is broken, as far as opening can tell
        open_dataset(dataclasses.replace(paired, skip_corrupt=True))


def test_a_broken_pair_is_left_out_as_a_whole(aligned, monkeypatch):
    (aligned / "train" / "2.png").write_bytes(b"broken")
    data = DataConfig(source=f"aligned:{aligned}", resolution=6, width=8, crop="none", paired=True, skip_corrupt=True)
    dataset = open_dataset(data)
    assert dataset.spec.num_images == 5
    assert [Path(path).name for path, _ in dataset.skipped] == ["2.png (left half)", "2.png (right half)"]
    monkeypatch.setattr("jaxgan.data.folder.CHECKED_AT_OPENING", 0)  # now it is found while reading
    late = open_dataset(data)
    for batch in take(late, 3):
        np.testing.assert_array_equal(batch["a"], 255 - batch["b"])
    assert late.spec.num_images == 6 and len(late.skipped) == 2


def test_images_smaller_than_the_crop(aligned):
    with pytest.raises(DataError, match=r"\.png \(left half\): An image of 6 x 8 pixels is smaller than .*center:7"):
        open_dataset(DataConfig(source=f"aligned:{aligned}", resolution=4, crop="center:7"))
