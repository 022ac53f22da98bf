"""Preparing: Pillow's pixels, complete books of what was left out, and shards that survive being interrupted."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import packing
from jaxgan.data import shards as shards_module
from jaxgan.data.errors import DataError, UnreadableImage
from jaxgan.data.packing import Packer, default_shard_images
from jaxgan.data.packing_report import summary
from jaxgan.data.shards import Recipe
from jaxgan.data.source import Source
from jaxgan.data.sources import open_source


class Listed(Source):
    """Images of any sizes; None stands for one that does not decode."""

    name, fingerprint = "listed", "f"

    def __init__(self, images, labels=None, class_names=()):
        self.images, self.class_names, self.skipped, self.reads = images, class_names, [], []
        self._labels = None if labels is None else np.asarray(labels, np.int32)

    def __len__(self):
        return len(self.images)

    @property
    def labels(self):
        return self._labels

    def example(self, index):
        self.reads.append(index)
        if self.images[index] is None:
            raise UnreadableImage(self.where(index), "torn")
        return self.images[index], self.label(index)


def noise(height, width, channels=3, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def recipe(source: Source, **changes) -> Recipe:
    return Recipe(
        **{
            "source": source.name, "source_fingerprint": source.fingerprint, "num_source_images": len(source),
            "height": 8, "width": 8, "channels": 3, "crop": "center", "filter": "lanczos", "min_side": 0,
            "class_names": source.class_names, "label_of": tuple(range(len(source.class_names))), "shard_images": 4,
        }
        | changes
    )  # fmt: skip


def pack(source: Source, out: Path, *, skip_corrupt=False, overwrite=False, **changes) -> dict:
    packer = Packer(
        source, recipe(source, **changes), out, num_threads=3, skip_corrupt=skip_corrupt, overwrite=overwrite
    )
    left = len(source) - packer.num_done
    assert sum(packer.write()) == left
    return packer.finish()


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def images_of(folder: Path) -> np.ndarray:
    packed = open_source(f"packed:{folder}")
    return packed.read_many(np.arange(len(packed)))


@pytest.fixture
def ten():
    """Ten images of ten sizes in three classes, three shards."""
    return Listed([noise(9 + i, 20 - i, seed=i) for i in range(10)], [i % 3 for i in range(10)], ("a", "b", "c"))


@pytest.mark.parametrize("name", ["lanczos", "bicubic", "bilinear", "box"])
def test_pixels_are_pillows_in_the_order_of_the_source(ten, tmp_path, name):
    pack(ten, tmp_path, crop="none", filter=name)
    expected = [Image.fromarray(image).resize((8, 8), Image.Resampling[name.upper()]) for image in ten.images]
    np.testing.assert_array_equal(images_of(tmp_path), np.stack([np.asarray(image) for image in expected]))
    np.testing.assert_array_equal(open_source(f"packed:{tmp_path}").labels, ten.labels)


def test_threads_and_chunks_change_nothing(ten, tmp_path, monkeypatch):
    pack(ten, tmp_path / "a", shard_images=10)
    monkeypatch.setattr(shards_module, "_CHUNK", 1)
    monkeypatch.setattr(shards_module, "_AHEAD", 2)
    pack(ten, tmp_path / "b", shard_images=10)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_mean_and_standard_deviation_are_of_all_pixels(ten, tmp_path):
    report = pack(ten, tmp_path)
    pixels = images_of(tmp_path).reshape(-1, 3) / 255
    np.testing.assert_allclose(report["mean"], pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(report["std"], pixels.std(0), rtol=1e-12)
    flat = pack(Listed([np.full((300, 300, 3), 200, np.uint8)] * 3), tmp_path / "flat", height=256, width=256)
    assert flat["std"] == [0, 0, 0] and flat["mean"] == [200 / 255] * 3


def test_small_images_are_left_out_by_the_shorter_side(tmp_path):
    sizes = [(16, 40), (15, 40), (40, 15), (16, 16)]
    source = Listed([noise(*size) for size in sizes], [0, 1, 1, 1], ("a", "b"))
    report = pack(source, tmp_path, min_side=16, shard_images=2)
    assert report["num_images"] == 2 and [entry["images"] for entry in report["label_counts"]] == [1, 1]
    assert report["skipped"] == [
        {"image": "image 1 of listed", "reason": "15 x 40 pixels, a side below 16"},
        {"image": "image 2 of listed", "reason": "40 x 15 pixels, a side below 16"},
    ]
    assert report["skipped_by_reason"] == {"a side below --min_side": 2}
    np.testing.assert_array_equal(open_source(f"packed:{tmp_path}").labels, [0, 1])


def test_unreadable_images_are_left_out_and_never_replaced(tmp_path):
    source = Listed([noise(8, 8), None, noise(8, 8, seed=1), None], [0, 1, 1, 0], ("a", "b"))
    with pytest.raises(UnreadableImage, match="image 1 of listed"):
        pack(source, tmp_path / "strict")
    report = pack(source, tmp_path / "set", skip_corrupt=True)
    np.testing.assert_array_equal(images_of(tmp_path / "set"), np.stack([source.images[0], source.images[2]]))
    assert [entry["image"] for entry in report["skipped"]] == ["image 1 of listed", "image 3 of listed"]
    assert report["skipped_by_reason"] == {"unreadable": 2} and report["skipped"][0]["reason"] == "torn"


def test_a_folder_is_read_without_replacements(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxgan.data.folder.CHECKED_AT_OPENING", 0)  # broken files show when they are read
    for i in range(3):
        Image.fromarray(noise(8, 8, seed=i)).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"broken")
    source = open_source(f"folder:{tmp_path}", skip_corrupt=True)
    report = pack(source, tmp_path / "set", skip_corrupt=True)
    assert report["num_images"] == 2 and report["num_duplicates"] == 0
    assert [Path(entry["image"]).name for entry in report["skipped"]] == ["1.png"]


def test_duplicates_are_named_with_the_first_of_their_kind(tmp_path):
    images = [noise(8, 8, seed=seed) for seed in (0, 1, 0, 2, 1, 0)]
    report = pack(Listed([None, *images]), tmp_path, skip_corrupt=True)
    pairs = [(entry["image"].split()[1], entry["equals"].split()[1]) for entry in report["duplicates"]]
    assert pairs == [("3", "1"), ("5", "2"), ("6", "1")] and report["num_duplicates"] == 3
    assert pack(Listed(images[:2]), tmp_path / "none")["duplicates"] == []


def test_labels_are_renumbered_and_empty_classes_are_seen(ten, tmp_path):
    report = pack(ten, tmp_path, class_names=("z", "a", "y", "b", "c"), label_of=(1, 3, 4))
    packed = open_source(f"packed:{tmp_path}")
    np.testing.assert_array_equal(packed.labels, np.array([1, 3, 4])[ten.labels])
    assert packed.class_names[3] == "b"
    assert [entry["images"] for entry in report["label_counts"]] == [0, 4, 0, 3, 3]
    assert "5 classes of 0 to 4 images; 2 of them have none" in summary(report)


def test_summary_says_what_matters(tmp_path):
    same = noise(6, 8)
    report = pack(Listed([same, same, None, noise(9, 9)]), tmp_path, skip_corrupt=True)
    text = summary(report)
    assert "3 images of 8 x 8 x 3" in text and "no labels" in text and "left out: 1 unreadable" in text
    assert "first: image 2 of listed (torn)" in text and "duplicates: 1\n  first: image 1 of listed = image 0" in text
    assert text.endswith("enlarged, since smaller than the target: 2")


@pytest.mark.parametrize("interrupted_after", [1, 4, 5, 8])
def test_an_interrupted_preparation_goes_on_and_ends_the_same(ten, tmp_path, monkeypatch, interrupted_after):
    pack(ten, tmp_path / "straight")
    monkeypatch.setattr(shards_module, "_CHUNK", 1)
    first = Packer(ten, recipe(ten), tmp_path / "set", num_threads=1)
    progress = first.write()
    for _ in range(interrupted_after):
        next(progress)
    progress.close()
    with pytest.raises(DataError, match="is not complete; type the prepare command"):
        open_source(f"packed:{tmp_path / 'set'}")
    ten.reads.clear()
    second = Packer(ten, recipe(ten), tmp_path / "set", num_threads=1)
    done = (
        interrupted_after // 4 * 4 if interrupted_after % 4 else interrupted_after - 4
    )  # a shard ends after its yields
    assert second.num_done == done
    assert sum(second.write()) == 10 - done and sorted(ten.reads) == list(range(done, 10))
    second.finish()
    assert content(tmp_path / "set") == content(tmp_path / "straight")
    assert not list((tmp_path / "set").glob("*.part")) + list((tmp_path / "set").glob("images*.json"))


def test_a_shard_that_lost_its_end_is_written_again(ten, tmp_path):
    packer = Packer(ten, recipe(ten), tmp_path, num_threads=1)
    list(packer.write())
    shard = tmp_path / "images-00001-of-00003.array_record"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:100])
    (tmp_path / "images-00002-of-00003.json").write_text('{"count": 2')
    again = Packer(ten, recipe(ten), tmp_path, num_threads=1)
    assert again.num_done == 4
    assert sum(again.write()) == 6 and shard.read_bytes() == whole


def test_typing_a_finished_command_again_does_nothing(ten, tmp_path):
    report = pack(ten, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    ten.reads.clear()
    again = Packer(ten, recipe(ten), tmp_path, num_threads=1)
    assert again.is_complete and again.num_done == 10 and list(again.write()) == []
    assert again.finish() == report and ten.reads == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_other_settings_are_refused_by_name(ten, tmp_path):
    list(Packer(ten, recipe(ten), tmp_path, num_threads=1).write())
    with pytest.raises(DataError, match=r'an unfinished data set .*: height \(8 -> 4\), crop \("center" -> "none"\)'):
        Packer(ten, recipe(ten, crop="none", height=4), tmp_path, num_threads=1)
    pack(ten, tmp_path / "done")
    with pytest.raises(DataError, match=r'holds a data set .*source_fingerprint \("f" -> "g"\).*--overwrite'):
        Packer(ten, recipe(ten, source_fingerprint="g"), tmp_path / "done", num_threads=1)


def test_nothing_of_others_is_touched(ten, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match="holds other files; choose another folder, or pass --overwrite"):
        pack(ten, tmp_path)
    assert content(tmp_path) == {"thesis.tex": b"mine"}
    pack(ten, tmp_path, overwrite=True)
    pack(ten, tmp_path, overwrite=True, shard_images=10)
    assert sorted(content(tmp_path)) == [
        "images-00000-of-00001.array_record", "labels.npy", "metadata.json", "report.json", "thesis.tex",
    ]  # fmt: skip
    with pytest.raises(DataError, match="is a file and must be a folder"):
        pack(ten, tmp_path / "thesis.tex")


def test_overwriting_that_was_interrupted_goes_on(ten, tmp_path):
    pack(ten, tmp_path, crop="none")
    progress = Packer(ten, recipe(ten), tmp_path, num_threads=1, overwrite=True).write()
    assert sum(next(progress) for _ in range(2)) == 8
    progress.close()
    assert Packer(ten, recipe(ten), tmp_path, num_threads=1, overwrite=True).num_done == 4


def test_nothing_left(tmp_path):
    with pytest.raises(
        DataError, match=r"none of the 2 images of listed is left \(the first: 5 x 5 pixels, a side below"
    ):
        pack(Listed([noise(5, 5), noise(6, 7)]), tmp_path, min_side=9)
    report = pack(Listed([noise(5, 5), noise(9, 9)]), tmp_path / "set", min_side=9, shard_images=1)  # an empty shard
    assert report["num_images"] == 1 and len(images_of(tmp_path / "set")) == 1


def test_an_image_smaller_than_the_crop_is_named(tmp_path):
    with pytest.raises(DataError, match=r"image 1 of listed: An image of 9 x 12 pixels is smaller than data\.crop"):
        pack(Listed([noise(12, 12), noise(9, 12)]), tmp_path, crop="center:10")


def test_a_disk_that_returns_other_bytes_is_noticed(ten, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "digest", lambda row: b"other")
    with pytest.raises(DataError, match=r"\.part does not hold what was written to it; check the disk"):
        pack(ten, tmp_path)


def test_another_layout_is_left_to_the_library(ten, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxgan.data.records._WRITER_OPTIONS", "group_size:2,zstd:1")
    pack(ten, tmp_path)
    assert {shard["direct"] for shard in json.loads((tmp_path / "metadata.json").read_text())["shards"]} == {False}
    np.testing.assert_array_equal(images_of(tmp_path)[9], images_of(tmp_path)[[9]][0])
    pack(ten, tmp_path / "raw", shard_images=2)
    np.testing.assert_array_equal(images_of(tmp_path), images_of(tmp_path / "raw"))


def test_shard_sizes():
    assert default_shard_images(50_000, 32 * 32 * 3) == 256 * 1024**2 // 3072
    assert default_shard_images(10**9, 3072) == -(-(10**9) // 256)  # not more files than a process may open
    assert default_shard_images(3, 10**10) == 1


def test_names_that_are_not_utf8_are_no_obstacle(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    for i in range(2):
        Image.fromarray(noise(8, 8)).save(folder / f"{i}.png")
    source = open_source(f"folder:{tmp_path}")
    assert pack(source, tmp_path / "set")["num_duplicates"] == 1
    assert len(open_source(f"packed:{tmp_path / 'set'}")) == 2
