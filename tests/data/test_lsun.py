"""LSUN's lmdb files: all values in the order of the keys, several sources on one file, and sentences for mistakes."""

import io
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from jaxgan.data.errors import DataError, UnreadableImage
from jaxgan.data.sources import open_source


def encoded(value: int, kind: str = "WEBP") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), value, np.uint8)).save(file, kind, lossless=True)
    return file.getvalue()


@pytest.fixture
def write(tmp_path):
    lmdb = pytest.importorskip("lmdb")

    def write(values: dict[bytes, bytes], name: str = "church_train_lmdb"):
        with (
            lmdb.open(str(tmp_path / name), map_size=2**22) as environment,
            environment.begin(write=True) as transaction,
        ):
            for key, value in values.items():
                transaction.put(key, value)
        return tmp_path / name

    return write


def test_images_in_the_order_of_their_keys(write):
    path = write({b"k%02d" % (7 - i): encoded(10 * i, "WEBP" if i % 2 else "PNG") for i in range(8)})
    source = open_source(f"lsun:{path}")
    assert len(source) == 8 and source.labels is None and source.class_names == ()
    assert [int(source.read(i)[0, 0, 0]) for i in range(8)] == [70, 60, 50, 40, 30, 20, 10, 0]
    assert source.read(0).shape == (6, 8, 3) and source.where(1) == f"{path}:k01"
    assert open_source(f"lsun:{path / 'data.mdb'}").fingerprint == source.fingerprint  # the file itself


def test_two_sources_and_many_threads_share_a_file(write):
    path = write({b"%03d" % i: encoded(i) for i in range(30)})
    sources = [open_source(f"lsun:{path}"), open_source(f"lsun:{path}")]
    order = np.random.default_rng(0).integers(0, 30, 200).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda i: int(sources[i % 2].read(i)[0, 0, 0]), order)
        assert list(found) == order
    sources.clear()
    assert len(open_source(f"lsun:{path}")) == 30


def test_broken_images(write):
    path = write({b"0": encoded(0), b"1": b"broken", b"2": encoded(2)})
    with pytest.raises(UnreadableImage, match=r"church_train_lmdb:1 is not a readable image"):
        open_source(f"lsun:{path}").read(1)
    source = open_source(f"lsun:{path}", skip_corrupt=True)
    assert int(source.read(1)[0, 0, 0]) == 2 and len(source.skipped) == 1


def test_fingerprint(write):
    first, same, other = (
        open_source(f"lsun:{write({key: encoded(0)}, name)}") for key, name in ((b"a", "x"), (b"a", "y"), (b"b", "z"))
    )
    assert first.fingerprint == same.fingerprint != other.fingerprint


def test_mistakes(write, tmp_path):
    empty = write({}, "empty_lmdb")
    with pytest.raises(DataError, match="empty_lmdb holds no image"):
        open_source(f"lsun:{empty}")
    with pytest.raises(DataError, match=r"holds no data\.mdb; did you mean .*empty_lmdb\?"):
        open_source(f"lsun:{tmp_path}")
    with pytest.raises(DataError, match=r"nowhere does not exist; LSUN's categories can be downloaded"):
        open_source(f"lsun:{tmp_path / 'nowhere'}")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(DataError, match=r"bad is not a complete lmdb file \(.+\); download it again"):
        open_source(f"lsun:{tmp_path / 'bad'}")


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(
        DataError, match="needs the package lmdb, which is not installed; install it with `pip install lmdb`"
    ):
        open_source(f"lsun:{tmp_path}")
