"""No file runs code: pickles that would write a file when they are loaded, wherever a reader might meet one."""

import io
import os
import pickle
import pickletools
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from jaxgan.commands import convert_biggan
from jaxgan.commands.errors import CommandError
from jaxgan.data import plain_pickle
from jaxgan.data.errors import DataError
from jaxgan.data.formats import parse_cifar10_pickle, safe_unpickle
from jaxgan.data.npz import ArrayFileError, read_npy, read_npz
from jaxgan.data.plain_pickle import PickleError, PlainUnpickler
from jaxgan.data.sources import open_source
from jaxgan.evaluation import inception_weights, torch_file
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.extraction import read_features
from jaxgan.evaluation.reference import ReferenceCache
from tests.fuzz.damage import COUNTS, damaged, examine, is_sentence, memory_below


class Harmful:
    """Creates a file when it is unpickled by Python."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def harmful(tmp_path):
    """An object that would leave a trace, which must not be there at the end."""
    trace = tmp_path / "trace"
    pickle.loads(pickle.dumps(Harmful(trace)))
    assert trace.is_dir()  # so the object does what it is meant to
    trace.rmdir()
    yield Harmful(trace)
    assert not trace.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_pickles(harmful, protocol):
    for value in (harmful, {b"data": harmful}, [harmful]):
        with pytest.raises(DataError) as error:
            safe_unpickle(pickle.dumps(value, protocol), name="file")
        assert is_sentence(str(error.value))


def test_cifar_batches(harmful, tmp_path):
    batch = pickle.dumps({b"data": harmful, b"labels": [1]}, 2)
    folder = tmp_path / "cifar"
    folder.mkdir()
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "batches.meta"):
        (folder / name).write_bytes(batch)
    with pytest.raises(DataError, match="it asks for (posix|nt).mkdir"):
        open_source(f"cifar10:{folder}")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, "../../cifar")  # a path that points out of the archive
    with pytest.raises(DataError, match="it asks for (posix|nt).mkdir"):
        open_source(f"cifar10:{tmp_path / 'cifar-10-python.tar.gz'}")


def test_classes_named_in_the_meta_file(harmful, tmp_path):
    rows = np.zeros((1, 3072), np.uint8)
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}").write_bytes(pickle.dumps({b"data": rows, b"labels": [1]}, 2))
    for names in (harmful, [harmful] * 10, 7, None, [7] * 10, ["a"] * 9, [[]] * 10, [b"\xff"] * 9):
        (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, 2))
        with pytest.raises(DataError) as error:
            open_source(f"cifar10:{tmp_path}")
        assert is_sentence(str(error.value))


def object_array(harmful) -> np.ndarray:
    array = np.empty((2, 2), object)
    array[:] = harmful
    return array


def test_npy_and_npz(harmful, tmp_path):
    np.save(tmp_path / "a.npy", object_array(harmful), allow_pickle=True)
    with pytest.raises(ArrayFileError, match="objects"):
        read_npy(tmp_path / "a.npy")
    names = ("features", "labels", "z", "header", "mean", "scatter", "count", "Conv2d_1a_3x3.conv.weight")
    np.savez(tmp_path / "a.npz", **dict.fromkeys(names, object_array(harmful)))
    with pytest.raises(ArrayFileError, match="objects"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(EvaluationError, match="cannot be read as .npz .*objects"):
        read_features(tmp_path / "a.npz")
    with pytest.raises(EvaluationError, match="cannot be used as Inception weights .*objects"):
        inception_weights.load(tmp_path / "a.npz")
    cache = ReferenceCache(tmp_path)
    os.replace(tmp_path / "a.npz", cache.path("images", "protocol"))
    assert cache.load("images", "protocol") is None


def test_torch_files_of_both_forms(harmful, tmp_path):
    tree = pickle.dumps({"weight": harmful}, 2)
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", tree)
    older = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    (tmp_path / "b.pth").write_bytes(older + tree + pickle.dumps([], 2))
    (tmp_path / "c.pth").write_bytes(tree)
    for name in ("a.pth", "b.pth", "c.pth"):
        with pytest.raises(torch_file.TorchFileError, match="it asks for (posix|nt).mkdir"):
            torch_file.read(tmp_path / name)
        with pytest.raises(EvaluationError, match="cannot be used as Inception weights"):
            inception_weights.load(tmp_path / name)


def test_torch_files_that_torch_reads(harmful, tmp_path):
    torch = pytest.importorskip("torch")
    for is_zip in (True, False):
        torch.save({"weight": harmful}, tmp_path / "a.pth", _use_new_zipfile_serialization=is_zip)
        with pytest.raises(CommandError, match="not a readable file of PyTorch"):
            convert_biggan.read(tmp_path / "a.pth")


BATCH = pickle.dumps({b"data": np.arange(6144, dtype=np.uint8).reshape(2, 3072), b"labels": [3, 9]}, 2)


@COUNTS
def test_any_batch_gives_images_or_one_sentence(count):
    @examine(count, st.one_of(damaged(BATCH), damaged(BATCH[:60] + BATCH[-60:])))
    def check(data):
        try:
            images, labels = parse_cifar10_pickle(data, name="file")
        except DataError as error:
            assert is_sentence(str(error))
        else:
            assert images.dtype == labels.dtype == np.uint8 and images.shape == (len(labels), 32, 32, 3)


@COUNTS
def test_any_instructions_end_in_plain_values_or_an_error(count):
    codes = st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes])

    @examine(count * 4, st.lists(st.one_of(codes, st.binary(max_size=5), st.just(b"cos\nmkdir\n")), max_size=30))
    def check(parts):
        try:
            value = PlainUnpickler(io.BytesIO(b"".join([*parts, b"."]))).load()
        except PickleError as error:
            assert 0 < len(str(error)) < 500
        else:
            assert type(value) in (dict, list, tuple, str, bytes, int, float, bool, type(None))


def hash_bomb() -> bytes:
    """A dictionary with a key whose hash takes 2^60 steps, in 200 bytes."""
    return b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s."


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x02Nr\xff\xff\xff\x7f.", None),  # Python's unpickler makes room for 2^31 values that it remembers
        (hash_bomb(), "DUP"),
        (b"\x80\x02}" + b")h\x00\x86q\x00" + b"K\x01s.", ""),
        (
            b"\x80\x04})" + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(100)) + b"K\x01s.",
            "neither text nor",
        ),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", ""),  # 2^63 bytes of text
        (b"\x80\x02" + b"]" * 2_000 + b".", "more than 1,000 instructions"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", ""),  # a number of 2^31 bytes
    ],
)
def test_small_files_that_ask_for_much(monkeypatch, data, reason):
    monkeypatch.setattr(plain_pickle, "_MOST_INSTRUCTIONS", 1_000)
    with memory_below(2**28):
        try:
            assert PlainUnpickler(io.BytesIO(data)).load() is None and reason is None
        except PickleError as error:
            assert reason is not None and reason in str(error)


@pytest.mark.parametrize("shape", [(10**6, 10**6), (-1,), ("a",), (2**70,), None])
@pytest.mark.parametrize("dtype", ["u1", "O8", "V8", "M8", "|b1", None])
def test_described_arrays_have_the_size_of_their_bytes(shape, dtype):
    class Described:
        def __reduce__(self):
            call = np.empty(0).__reduce__()[0]
            return call, (np.ndarray, (0,), b"b"), (1, shape, Type(), False, b"12345678")

    class Type:
        def __reduce__(self):
            return np.dtype, (dtype, False, True), (3, "<", None, None, None, -1, -1, 0)

    with memory_below(2**24), pytest.raises(DataError, match="an array in it is|CIFAR-10"):
        parse_cifar10_pickle(pickle.dumps({b"data": Described(), b"labels": [1]}, 2), name="file")
