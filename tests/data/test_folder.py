"""Folders of images: classes, names, and what happens to broken files."""

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import folder as folder_module
from jaxgan.data.errors import DataError, UnreadableImage
from jaxgan.data.sources import open_source


def save(path: Path, value: int, size: tuple[int, int] = (6, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path, "PNG")
    return path


def truncate(path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    return path


def values(source) -> list[int]:
    return [int(source.read(i)[0, 0, 0]) for i in range(len(source))]


def test_class_folders_are_sorted_and_recursive(tmp_path):
    for i, name in enumerate(
        ["b/2.png", "b/sub/1.PNG", "a/x.Jpeg", "C/y.webp", "a/.hidden.png", ".git/z.png", "a/t.txt"]
    ):
        save(tmp_path / name, 10 * i)
    (tmp_path / "README.md").write_text("not an image")
    source = open_source(f"folder:{tmp_path}")
    assert source.class_names == ("C", "a", "b")
    np.testing.assert_array_equal(source.labels, [0, 1, 2, 2])
    assert values(source) == [30, 20, 0, 10]
    assert source.where(3) == str(tmp_path / "b/sub/1.PNG")
    assert source.read(0).shape == (6, 8, 3)


def test_flat_folder_is_unlabelled(tmp_path):
    for i in (2, 1, 0):
        save(tmp_path / f"{i}.png", i)
    (tmp_path / "notes").mkdir()
    source = open_source(f"folder:{tmp_path}")
    assert source.class_names == () and source.labels is None
    assert values(source) == [0, 1, 2]
    assert source.label(2) == 0


def test_linked_class_folder_and_link_circle(tmp_path):
    save(tmp_path / "elsewhere/1.png", 7)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "elsewhere")
    save(tmp_path / "further/2.png", 8)
    (tmp_path / "elsewhere" / "z").symlink_to(tmp_path / "further")
    source = open_source(f"folder:{tmp_path / 'set'}")
    assert source.class_names == ("linked",) and values(source) == [7, 8]


def test_folders_without_a_clear_meaning(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_source(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match=r"hold no image; looked for files ending in \.jpg, .*\.gif"):
        open_source(f"folder:{tmp_path}")
    save(tmp_path / "a/1.png", 1)
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=r"class folder .*b holds no image.*remove"):
        open_source(f"folder:{tmp_path}")
    save(tmp_path / "loose.png", 1)
    with pytest.raises(DataError, match=r"first: loose\.png.*first: a.*move"):
        open_source(f"folder:{tmp_path}")


def test_one_broken_file_is_named_with_the_rule(tmp_path):
    save(tmp_path / "a/1.png", 1)
    broken = truncate(tmp_path / "a/2.jpg")
    with pytest.raises(UnreadableImage, match=rf"{broken}.*truncated.*data\.skip_corrupt=True") as error:
        open_source(f"folder:{tmp_path}")
    assert error.value.path == str(broken)


def test_several_broken_files_are_counted(tmp_path):
    save(tmp_path / "1.png", 1)
    for i in range(2, 7):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"5 of 6 images are not readable.*2\.png \(the file is empty\).*skip_corrupt"):
        open_source(f"folder:{tmp_path}")


def test_skip_corrupt_leaves_out_and_reports(tmp_path):
    for name, value in (("a/1.png", 1), ("a/3.png", 3), ("b/2.png", 2)):
        save(tmp_path / name, value)
    broken = truncate(tmp_path / "a/2.jpg")
    source = open_source(f"folder:{tmp_path}", skip_corrupt=True)
    assert values(source) == [1, 3, 2]
    np.testing.assert_array_equal(source.labels, [0, 0, 1])
    assert [path for path, _ in source.skipped] == [str(broken)] and "truncated" in source.skipped[0][1]


def test_nothing_readable(tmp_path):
    (tmp_path / "1.png").write_bytes(b"x")
    with pytest.raises(DataError, match="none of the 1 images is readable"):
        open_source(f"folder:{tmp_path}", skip_corrupt=True)


@pytest.fixture
def late(tmp_path, monkeypatch):
    """A folder too large to be checked at opening, whose files 1 and 2 of 4 are broken."""
    monkeypatch.setattr(folder_module, "CHECKED_AT_OPENING", 3)
    save(tmp_path / "a/0.png", 10)
    truncate(tmp_path / "a/1.jpg")
    truncate(tmp_path / "b/2.jpg") if (tmp_path / "b").mkdir() is None else None
    save(tmp_path / "b/3.png", 40)
    return tmp_path


def test_late_failure_names_the_file(late):
    source = open_source(f"folder:{late}")
    assert source.read(0)[0, 0, 0] == 10
    with pytest.raises(UnreadableImage, match=r"1\.jpg.*truncated.*skip_corrupt"):
        source.read(1)
    assert source.skipped == []


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 2, 1]])
def test_late_replacement_is_a_function_of_the_index(late, order, caplog):
    source = open_source(f"folder:{late}", skip_corrupt=True)
    expected = {0: (10, 0), 1: (40, 1), 2: (40, 1), 3: (40, 1)}
    with caplog.at_level(logging.WARNING, logger="absl"):
        for index in order:
            image, label = source.example(index)
            assert (int(image[0, 0, 0]), label) == expected[index]
    assert sorted(Path(path).name for path, _ in source.skipped) == ["1.jpg", "2.jpg"]


def test_late_replacement_wraps_around(late):
    truncate(late / "b/3.png")
    source = open_source(f"folder:{late}", skip_corrupt=True)
    assert int(source.read(2)[0, 0, 0]) == 10
    truncate(late / "a/0.png")
    with pytest.raises(DataError, match="none of the 4 images is readable"):
        open_source(f"folder:{late}", skip_corrupt=True).read(0)


def test_smallest_and_fingerprint(tmp_path):
    save(tmp_path / "1.png", 1, (9, 5))
    save(tmp_path / "2.png", 1, (4, 50))
    source = open_source(f"folder:{tmp_path}")
    assert source.smallest() == (str(tmp_path / "2.png"), 4, 50)
    same = open_source(f"folder:{tmp_path}").fingerprint
    assert source.fingerprint == same
    save(tmp_path / "2.png", 1, (40, 50))
    assert open_source(f"folder:{tmp_path}").fingerprint != same
    (tmp_path / "2.png").rename(tmp_path / "3.png")
    save(tmp_path / "3.png", 1, (4, 50))
    assert open_source(f"folder:{tmp_path}").fingerprint != same
