"""idx and CIFAR-10 files, right and wrong ones, written here byte by byte from their published descriptions."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from jaxgan.data.errors import DataError
from jaxgan.data.formats import CIFAR10_CLASSES, parse_idx, safe_unpickle
from jaxgan.data.sources import open_source

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)
LABELS = np.array([2, 0, 1, 2, 2], np.uint8)
CIFAR = [
    (RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8), [i, 9 - i]) for i in range(6)
]  # the last one is the test


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_mnist(folder: Path, *, prefix: str = "train", suffix: str = ".gz", labels: bytes = idx_bytes(LABELS)) -> Path:
    compress = gzip.compress if suffix == ".gz" else bytes
    (folder / f"{prefix}-images-idx3-ubyte{suffix}").write_bytes(compress(idx_bytes(IMAGES)))
    (folder / f"{prefix}-labels-idx1-ubyte{suffix}").write_bytes(compress(labels))
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folder(tmp_path, suffix):
    source = open_source(f"idx:{write_mnist(tmp_path, suffix=suffix)}")
    assert len(source) == 5 and source.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(np.stack([source.read(i) for i in range(5)]), IMAGES[..., None])
    np.testing.assert_array_equal(source.labels, LABELS)
    assert source.labels.dtype == np.int32
    with pytest.raises(DataError, match=r"holds no t10k-images-idx3-ubyte\[\.gz\].*downloaded from https"):
        open_source(f"idx:{tmp_path}:test")
    write_mnist(tmp_path, prefix="t10k", suffix=suffix, labels=idx_bytes(LABELS[::-1]))
    np.testing.assert_array_equal(open_source(f"idx:{tmp_path}:test").labels, LABELS[::-1])


def test_idx_single_file_takes_its_own_labels_or_none(tmp_path):
    write_mnist(tmp_path)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    np.testing.assert_array_equal(open_source(f"idx:{file}").labels, LABELS)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    source = open_source(f"idx:{file}")
    assert source.labels is None and source.class_names == () and source.label(3) == 0


@pytest.mark.parametrize(
    "data, message",
    [
        (idx_bytes(IMAGES)[:-7], "holds 53 values, but its header says 5 x 4 x 3 = 60"),
        (idx_bytes(IMAGES) + b"!", "holds 61 values"),
        (gzip.compress(idx_bytes(IMAGES))[:-12], "cut off or damaged"),
        (b"\x1f\x8b not gzip at all", "cut off or damaged"),
        (idx_bytes(LABELS), "starts with 00000801, but an idx file of images starts with 00000803"),
        (b"<html>404</html>", "starts with 3c68746d"),
        (b"", "starts with nothing"),
        (idx_bytes(IMAGES)[:9], r"ends within its header \(9 of 16 bytes\)"),
    ],
)
def test_idx_damaged_images(tmp_path, data, message):
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(data)
    with pytest.raises(DataError, match=f"{file.name}.*{message}.*download"):
        open_source(f"idx:{tmp_path}")


def test_idx_counts_must_agree(tmp_path):
    with pytest.raises(DataError, match="4 labels.*5 images"):
        open_source(f"idx:{write_mnist(tmp_path, labels=idx_bytes(LABELS[:4]))}")


def test_idx_absent_and_empty(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist.*downloaded from https"):
        open_source(f"idx:{tmp_path / 'nowhere'}")
    (tmp_path / "images-idx3").write_bytes(idx_bytes(IMAGES[:0]))
    with pytest.raises(DataError, match="holds no image"):
        open_source(f"idx:{tmp_path / 'images-idx3'}")


def test_idx_axes_are_big_endian():
    data = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 1, 4, 0, 0, 0, 1]) + bytes(260)
    assert parse_idx(data, num_axes=3, name="x").shape == (1, 260, 1)


def binary_batch(images: np.ndarray, labels: list[int]) -> bytes:
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return b"".join(bytes([label]) + plane.tobytes() for label, plane in zip(labels, planes, strict=True))


def python_batch(images: np.ndarray, labels: list[int]) -> bytes:
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return pickle.dumps({b"data": planes, b"labels": labels, b"batch_label": b"training batch"}, protocol=2)


def write_cifar(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write, suffix = {"bin": (binary_batch, ".bin"), "py": (python_batch, "")}[version]
    for (images, labels), name in zip(CIFAR, [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], strict=True):
        (folder / (name + suffix)).write_bytes(write(images, labels))
    names = [f"class {i}" if version == "py" else f"class{i}" for i in range(10)]
    if version == "bin":
        (folder / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    else:
        (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [n.encode() for n in names]}, protocol=2))
    return folder


@pytest.mark.parametrize("version", ["bin", "py"])
@pytest.mark.parametrize("form", ["folder", "parent", "tar", "parent of tar"])
def test_cifar10_forms(tmp_path, version, form):
    folder = write_cifar(tmp_path / "set" / f"cifar-10-batches-{version}", version)
    archive = tmp_path / f"cifar-10-{'binary' if version == 'bin' else 'python'}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    path = {"folder": folder, "parent": folder.parent, "tar": archive, "parent of tar": tmp_path}[form]
    source = open_source(f"cifar10:{path}")
    assert len(source) == 10
    np.testing.assert_array_equal([source.read(i) for i in range(10)], np.concatenate([b[0] for b in CIFAR[:5]]))
    np.testing.assert_array_equal(source.labels, sum((b[1] for b in CIFAR[:5]), []))
    assert source.class_names[3] == ("class3" if version == "bin" else "class 3")
    test = open_source(f"cifar10:{path}:test")
    np.testing.assert_array_equal([test.read(i) for i in range(2)], CIFAR[5][0])


def test_cifar10_without_names_has_the_published_ones(tmp_path):
    (write_cifar(tmp_path, "bin") / "batches.meta.txt").unlink()
    assert open_source(f"cifar10:{tmp_path}").class_names == CIFAR10_CLASSES


@pytest.mark.parametrize(
    "version, data, message",
    [
        ("bin", bytes(3073 + 3072), "6145 bytes.*3073-byte records"),
        ("bin", b"", "0 bytes"),
        ("bin", bytes([10]) + bytes(3072), r"labels from 10 to 10.*0\.\.9"),
        ("py", python_batch(*CIFAR[0])[:-500], "is not a pickle of plain arrays"),
        ("py", pickle.dumps([1, 2]), "is not a CIFAR-10 batch"),
        (
            "py",
            pickle.dumps({b"data": np.zeros((2, 3071), np.uint8), b"labels": [1, 2]}, 2),
            r"\(2, 3071\).*\(2, 3072\)",
        ),
        ("py", pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [-1]}, 2), "labels from -1"),
    ],
)
def test_cifar10_damaged(tmp_path, version, data, message):
    write_cifar(tmp_path, version)
    name = "data_batch_2" + (".bin" if version == "bin" else "")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name}.*{message}"):
        open_source(f"cifar10:{tmp_path}")


def test_cifar10_absent_and_incomplete(tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist.*https://www\.cs\.toronto\.edu"):
        open_source(f"cifar10:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match=r"holds no CIFAR-10 batch.*https"):
        open_source(f"cifar10:{tmp_path}")
    (write_cifar(tmp_path, "bin") / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_4\.bin of CIFAR-10's train split"):
        open_source(f"cifar10:{tmp_path}")


def test_cifar10_truncated_archive(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(write_cifar(tmp_path / "b", "bin"), arcname="b")
    file = tmp_path / "cifar.tar.gz"
    file.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(DataError, match="not a complete .tar.gz"):
        open_source(f"cifar10:{file}")


class Harmful:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_unpickling_runs_no_foreign_code(tmp_path):
    for value in (Harmful(Path.touch, tmp_path / "touched"), Harmful(eval, "1"), Harmful(print, "x")):
        with pytest.raises(DataError, match="it asks for"):
            safe_unpickle(pickle.dumps(value), name="file")
    assert not (tmp_path / "touched").exists()


def test_python_2_pickles_are_read():
    # {'data': array([[7, 8]], dtype=uint8)} as Python 2 wrote it at protocol 2: text is a byte string
    data = (
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x01K\x02\x86"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x07\x08tbs."
    )
    value = safe_unpickle(data, name="x")
    assert list(value) == [b"data"]
    np.testing.assert_array_equal(value[b"data"], np.array([[7, 8]], np.uint8))


def test_fingerprint_follows_pixels_labels_and_shape(tmp_path):
    first = open_source(f"idx:{write_mnist(tmp_path)}").fingerprint
    assert open_source(f"idx:{write_mnist(tmp_path)}").fingerprint == first
    changed = open_source(f"idx:{write_mnist(tmp_path, labels=idx_bytes(LABELS[::-1]))}").fingerprint
    assert changed != first
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(idx_bytes(IMAGES.reshape(5, 3, 4)))
    assert open_source(f"idx:{tmp_path}").fingerprint not in (first, changed)
