"""Files of weights of any content: arrays or one sentence."""

import argparse
import io
import pickle
import struct
import zipfile

import h5py
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import strategies as st

from jaxgan.commands import convert, convert_arrays, convert_biggan, convert_nnabla
from jaxgan.commands.errors import CommandError
from jaxgan.data.npz import ArrayFileError, read_npy, read_npz
from jaxgan.data.plain_pickle import PickleError
from jaxgan.evaluation import torch_file
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.extraction import read_features
from jaxgan.evaluation.reference import Reference, ReferenceCache
from jaxgan.evaluation.statistics import Moments
from tests.fuzz.damage import COUNTS, damaged, examine, is_sentence, memory_below

ARRAYS = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.arange(3)}


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@COUNTS
def test_npz_files(tmp_path, count):
    @examine(count * 2, damaged(npz(**ARRAYS)))
    def check(data):
        (tmp_path / "x.npz").write_bytes(data)
        try:
            found = read_npz(tmp_path / "x.npz")
            assert all(array.dtype.kind in "biufUS" for array in found.values())
        except ArrayFileError as error:
            assert 0 < len(str(error)) < 500 and "\n" not in str(error)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_arrays_are_those_of_numpy(tmp_path, order):
    arrays = {
        "floats": np.asarray(np.random.default_rng(0).standard_normal((3, 5, 2)), order=order),
        "text": np.array(["ä", "bc"]), "empty": np.zeros((0, 3), np.int32), "one": np.float16(3),
        "yes": np.array([True]),
    }  # fmt: skip
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        found = read_npz(tmp_path / "x.npz")
        assert list(found) == list(arrays) and list(read_npz(tmp_path / "x.npz", ("text", "no"))) == ["text"]
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
    found["floats"][:] = 0  # it can be written to
    np.save(tmp_path / "x.npy", arrays["floats"])
    np.testing.assert_array_equal(read_npy(tmp_path / "x.npy"), arrays["floats"], strict=True)


def npy(shape: str, dtype: str = "<f4", content: bytes = bytes(16)) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [("(10000000000,)", "<f4"), ("(5,)", "<f4"), ("(3,)", "<f4"), ("(-4,)", "<f4"), ("(4,)", "|O"), ("(2,)", "<M8[s]"),
     ("(2**40,)", "<f4"), ("(1000000000000, 0)", "<f4"), ("(99999999,)", "|V0")],
)  # fmt: skip
def test_arrays_have_the_size_that_their_file_has(tmp_path, shape, dtype):
    (tmp_path / "x.npy").write_bytes(npy(shape, dtype))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", npy(shape, dtype))
    with memory_below(2**22):
        for read in (lambda: read_npy(tmp_path / "x.npy"), lambda: read_npz(tmp_path / "x.npz")):
            try:
                assert read().size == 0
            except ArrayFileError as error:
                assert "\n" not in str(error)


def test_an_npz_that_unpacks_to_gigabytes(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", npy("(4,)"))
    data = (tmp_path / "x.npz").read_bytes()
    size = len(npy("(4,)"))
    (tmp_path / "x.npz").write_bytes(data.replace(struct.pack("<I", size), struct.pack("<I", 2**32 - 2)))
    with memory_below(2**22), pytest.raises(EvaluationError, match="cannot be read as .npz .*more than"):
        read_features(tmp_path / "x.npz")


@COUNTS
def test_feature_files_and_cached_references(tmp_path, count):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((6, 2)).astype(np.float32)
    cache, moments = ReferenceCache(tmp_path), Moments()
    moments.update(features)
    cache.save("images", "protocol", Reference(moments, features, np.arange(6, dtype=np.int32)))
    path = cache.path("images", "protocol")

    @examine(count, damaged(path.read_bytes()), damaged(npz(features=features, labels=np.arange(6))))
    def check(entry, given):
        path.write_bytes(entry)
        found = cache.load("images", "protocol")
        assert found is None or (found.moments.count >= 0 and found.moments.dim == 2)
        (tmp_path / "x.npz").write_bytes(given)
        try:
            extracted, _ = read_features(tmp_path / "x.npz")
            assert extracted.features is not None and np.isfinite(extracted.features).all()
        except EvaluationError as error:
            assert is_sentence(str(error)), str(error)


STORAGES = {"0": np.arange(4, dtype="<f4").tobytes(), "1": np.arange(3, dtype="<i8").tobytes()}


def torch_pickle(tensors: dict[str, tuple]) -> bytes:
    """The pickle of {name: (kind, key, size, offset, shape, strides)} in protocol 2."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def number(value: int) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    def numbers(values: tuple) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    data = b"\x80\x02ccollections\nOrderedDict\n)R("
    for name, (kind, key, size, offset, shape, strides) in tensors.items():
        storage = (
            b"(" + text("storage") + b"ctorch\n%s\n" % kind.encode() + text(key) + text("cpu") + number(size) + b"tQ"
        )
        rest = number(offset) + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
        data += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR"
    return data + b"u."


GOOD = {"w": ("FloatStorage", "0", 4, 0, (2, 2), (2, 1)), "n": ("LongStorage", "1", 3, 1, (2,), (1,))}


def torch_zip(tensors: dict[str, tuple], storages=None, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("x/data.pkl", torch_pickle(tensors))
        for key, content in (storages or STORAGES).items():
            archive.writestr(f"x/data/{key}", content)
    return file.getvalue()


def torch_sequence(tensors: dict[str, tuple]) -> bytes:
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    sizes = {key: size for _, key, size, *_ in tensors.values()}
    contents = b"".join(struct.pack("<q", sizes[key]) + STORAGES[key] for key in sizes)
    return head + torch_pickle(tensors) + pickle.dumps(list(sizes), 2) + contents


@pytest.mark.parametrize("write", [torch_zip, torch_sequence])
def test_torch_files_written_by_hand(tmp_path, write):
    (tmp_path / "x.pth").write_bytes(write(GOOD))
    found = torch_file.read(tmp_path / "x.pth")
    assert found["w"].tolist() == [[0, 1], [2, 3]] and found["n"].tolist() == [1, 2] and list(found) == ["w", "n"]


@COUNTS
@pytest.mark.parametrize("write", [torch_zip, torch_sequence])
def test_torch_files(tmp_path, write, count):
    @examine(count * 2, damaged(write(GOOD)))
    def check(data):
        (tmp_path / "x.pth").write_bytes(data)
        try:
            found = torch_file.read(tmp_path / "x.pth")
            assert all(array.dtype.kind in "fi" for array in found.values())
        except torch_file.TorchFileError as error:
            assert 0 < len(str(error)) < 500 and "\n" not in str(error)


@pytest.mark.parametrize("write", [torch_zip, torch_sequence])
@pytest.mark.parametrize(
    "tensor",
    [
        ("FloatStorage", "0", 4, 0, (10**6, 10**6), (0, 0)),  # one value, said to be 4 TB
        ("FloatStorage", "0", 2**50, 0, (2, 2), (2, 1)),
        ("FloatStorage", "0", -1, 0, (2, 2), (2, 1)),
        ("FloatStorage", "0", 4, 0, (2, 2), (2,)),
        ("FloatStorage", "0", 4, 0, (2**63, 2), (2, 1)),
        ("FloatStorage", "0", 4, -2, (2, 2), (2, 1)),
        ("CharStorage", "0", 4, 0, (2, 2), (2, 1)),
    ],
)
def test_torch_tensors_that_say_too_much(tmp_path, write, tensor):
    (tmp_path / "x.pth").write_bytes(write({"w": tensor}))
    with memory_below(2**22), pytest.raises(torch_file.TorchFileError):
        torch_file.read(tmp_path / "x.pth")


def test_torch_storages_are_not_unpacked(tmp_path):
    """torch.save compresses nothing; a member that is compressed may be of any size."""
    (tmp_path / "x.pth").write_bytes(torch_zip(GOOD, STORAGES, zipfile.ZIP_DEFLATED))
    with memory_below(2**22), pytest.raises(torch_file.TorchFileError, match="compressed"):
        torch_file.read(tmp_path / "x.pth")


def test_expanded_torch_views_are_refused_by_convert(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "x.pth")
    with pytest.raises(CommandError, match="larger than its values"):
        convert_biggan.read(tmp_path / "x.pth")


@COUNTS
def test_safetensors_files(tmp_path, count):
    @examine(count * 2, damaged(safetensors.numpy.save(ARRAYS)))
    def check(data):
        (tmp_path / "x.safetensors").write_bytes(data)
        try:
            found = convert_biggan.read(tmp_path / "x.safetensors")
            assert all(array.dtype.kind in "biuf" for array in found.values())
            convert_biggan.generator_layout(found, file=tmp_path / "x.safetensors")
        except CommandError as error:
            assert is_sentence(str(error)), str(error)


@COUNTS
def test_hdf5_files(tmp_path, count):
    with h5py.File(tmp_path / "good.h5", "w") as file:
        for name, array in ARRAYS.items():
            file[f"generator/{name}"] = array
    path = tmp_path / "x.h5"

    @examine(count, damaged((tmp_path / "good.h5").read_bytes()))
    def check(data):
        path.write_bytes(data)
        arguments = argparse.Namespace(format="nnabla", file=path, step=None, workdir=tmp_path / "run", overwrite=False)
        with pytest.raises(CommandError) as error:  # what is undamaged is no network either
            convert.run(arguments)
        assert is_sentence(str(error.value)), str(error.value)


def test_hdf5_files_read_nothing_but_themselves(tmp_path):
    (tmp_path / "secret").write_bytes(np.arange(4, dtype="<f4").tobytes())
    outside = str(tmp_path / "secret")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["w"] = np.zeros(4)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("generator/w", (4,), "<f4", external=[(outside, 0, 16)])
    layout = h5py.VirtualLayout((4,), "<f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "w", (4,))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("generator/w", layout)
    for name in ("external.h5", "virtual.h5"):
        with pytest.raises(CommandError, match="lies in another file"):
            convert_nnabla.read(tmp_path / name)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["generator/w"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "w")
    assert convert_nnabla.read(tmp_path / "link.h5") == {}


def test_hdf5_values_of_other_types_and_sizes(tmp_path):
    with h5py.File(tmp_path / "text.h5", "w") as file:
        file["generator/w"] = "text"
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("generator/w", (10**12,), "<f4", chunks=(2**10,))  # none of it is stored
    for name, reason in (("text.h5", "does not hold numbers"), ("huge.h5", "says to have 4,000,000,000,000 bytes")):
        with memory_below(2**22), pytest.raises(CommandError, match=reason):
            convert_nnabla.read(tmp_path / name)


@pytest.mark.parametrize("number", ["99999999999", "9" * 5_000, "100"])
def test_numbers_of_blocks_are_bounded(tmp_path, number):
    for names, layout in (
        (["generator/block-1/W", f"generator/block-{number}/W"], convert_nnabla.generator_layout),
        (["blocks.0.0.bn1.gain.weight", f"blocks.{number}.0.w"], convert_biggan.generator_layout),
    ):
        with memory_below(2**22), pytest.raises(CommandError, match="unknown: block|BigGAN|missing"):
            layout(dict.fromkeys(names, np.zeros((1, 1))), file=tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_float32_does_not_have(tmp_path, value):
    slot = convert_arrays.Slot("w", (1,), "params/w")
    with pytest.raises(CommandError, match="not finite: w"):
        convert_arrays.place({"w": np.array([value])}, [slot], file=tmp_path, kind="weights")


def test_pickle_errors_are_value_errors():
    assert issubclass(PickleError, ValueError) and issubclass(ArrayFileError, ValueError)


def test_any_text_names_arrays(tmp_path):
    @examine(60, st.lists(st.text("a0.-/gblocks", max_size=12), max_size=4))
    def check(names):
        for layout in (convert_biggan.generator_layout, convert_nnabla.generator_layout):
            with pytest.raises(CommandError):
                layout(dict.fromkeys(names, np.zeros((2, 2))), file=tmp_path)
