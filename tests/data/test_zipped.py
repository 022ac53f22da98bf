"""Archives read as if they were unpacked: the same images, classes and labels as `folder:`."""

import io
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from jaxgan.data.errors import DataError, UnreadableImage
from jaxgan.data.sources import open_source


def png(value: int, size=(6, 8)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def write(path, members: dict[str, bytes]):
    """Writes a zip or tar file, in the order given, folders included."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return path
    mode = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[path.suffix]
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def unpack(path, out):
    with zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path) as archive:
        archive.extractall(out, **({"filter": "data"} if isinstance(archive, tarfile.TarFile) else {}))


CLASSES = {
    "set/": b"",
    "set/b/2.png": png(20),
    "set/b/sub/1.PNG": png(10),
    "set/a/x.png": png(30),
    "set/a/.hidden.png": png(0),
    "set/README.md": b"not an image",
    "__MACOSX/set/a/x.png": b"resource fork",
}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz", "no.extension.zip"])
def test_images_classes_and_labels_are_those_of_the_unpacked_folder(tmp_path, name):
    path = write(tmp_path / name, CLASSES)
    if name.startswith("no"):
        path = path.rename(tmp_path / "no_extension")  # the content decides, not the name
    source = open_source(f"archive:{path}")
    unpack(path, tmp_path / "out")
    folder = open_source(f"folder:{tmp_path / 'out' / 'set'}")
    assert len(source) == len(folder) == 3 and source.class_names == folder.class_names == ("a", "b")
    np.testing.assert_array_equal(source.labels, folder.labels)
    for i in range(3):
        np.testing.assert_array_equal(source.read(i), folder.read(i))
    assert source.where(2) == f"{path}:set/b/sub/1.PNG" and source.smallest()[1:] == (6, 8)


def test_flat_archives_have_no_labels(tmp_path):
    for i, prefix in enumerate(("", "./", "faces/", "a/b/", "/abs/")):
        source = open_source(f"archive:{write(tmp_path / f'{i}.tar', {f'{prefix}{j}.png': png(j) for j in (2, 0, 1)})}")
        assert source.class_names == () and source.labels is None
        assert [int(source.read(k)[0, 0, 0]) for k in range(3)] == [0, 1, 2]


def test_a_folder_in_the_archive(tmp_path):
    members = {f"set/{part}/{name}/{i}.png": png(i) for part in ("train", "val") for name in "ab" for i in range(2)}
    path = write(tmp_path / "x.zip", members)
    assert open_source(f"archive:{path}").class_names == ("train", "val")
    source = open_source(f"archive:{path}:set/train/")
    assert source.class_names == ("a", "b") and len(source) == 4
    assert open_source(f"archive:{path}:set/val/b").labels is None
    with pytest.raises(DataError, match=r"x\.zip has no folder 'set/tra' with images"):
        open_source(f"archive:{path}:set/tra")
    colon = path.rename(tmp_path / "a:b.zip")
    assert len(open_source(f"archive:{colon}")) == 8 and len(open_source(f"archive:{colon}:set/val/a")) == 2


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_many_threads_read_at_once(tmp_path, name):
    source = open_source(f"archive:{write(tmp_path / name, {f'{i:02d}.png': png(i) for i in range(40)})}")
    order = np.random.default_rng(0).integers(0, 40, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert [int(image[0, 0, 0]) for image in pool.map(source.read, order)] == order


def test_broken_images(tmp_path, monkeypatch):
    members = {"a/0.png": png(0), "a/1.png": png(1)[:50], "b/2.png": png(2), "b/3.png": b""}
    path = write(tmp_path / "x.tar", members)
    with pytest.raises(DataError, match=r"2 of 4 images are not readable, such as .*x\.tar:a/1\.png .*skip_corrupt"):
        open_source(f"archive:{path}")
    source = open_source(f"archive:{path}", skip_corrupt=True)
    assert [int(source.read(i)[0, 0, 0]) for i in range(2)] == [0, 2] and source.labels.tolist() == [0, 1]
    assert [where for where, _ in source.skipped] == [f"{path}:a/1.png", f"{path}:b/3.png"]
    monkeypatch.setattr("jaxgan.data.zipped.CHECKED_AT_OPENING", 0)
    late = open_source(f"archive:{path}", skip_corrupt=True)
    assert len(late) == 4 and int(late.example(1)[0][0, 0, 0]) == 2 and late.example(3)[1] == 0
    with pytest.raises(UnreadableImage, match=r"x\.tar:a/1\.png"):
        late.exact_example(1)


def test_a_zip_entry_with_a_wrong_checksum_is_a_broken_image(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored, so that a byte can be changed
        archive.writestr("0.png", png(0))
        archive.writestr("1.png", png(1))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 8] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableImage, match=r"x\.zip:0\.png is not a readable image \(Bad CRC-32"):
        open_source(f"archive:{path}")


def test_archives_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.zip does not exist; give the path of a \.zip or \.tar file"):
        open_source(f"archive:{tmp_path / 'nothing.zip'}")
    (tmp_path / "x.zip").write_bytes(b"PK no archive" * 99)
    with pytest.raises(DataError, match=r"x\.zip is not a complete \.zip or \.tar archive \(.+\); download it again"):
        open_source(f"archive:{tmp_path / 'x.zip'}")
    with pytest.raises(DataError, match=r"holds no image; looked for names ending in \.jpg"):
        open_source(f"archive:{write(tmp_path / 'e.zip', {'a.txt': b'x'})}")
    with pytest.raises(DataError, match=r"images \(first: s/0\.png\) beside class folders \(first: s/a\).*:FOLDER"):
        open_source(f"archive:{write(tmp_path / 'm.tar', {'s/0.png': png(0), 's/a/1.png': png(1)})}")


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_archives_that_end_early(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    path = write(tmp_path / name, {f"{i}.png": file.getvalue() for i in range(5)})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"is not a complete \.zip or \.tar archive"):
        open_source(f"archive:{path}")


def test_fingerprint(tmp_path):
    members = {"a/0.png": png(0), "b/1.png": png(1)}
    first = open_source(f"archive:{write(tmp_path / 'x.zip', members)}").fingerprint
    assert open_source(f"archive:{write(tmp_path / 'x.tar', members)}").fingerprint == first
    members["b/1.png"] = png(1, (60, 80))
    assert open_source(f"archive:{write(tmp_path / 'y.tar', members)}").fingerprint != first
