"""Files of torch.save, read without torch: against torch, and against files that mean harm or are broken."""

import collections
import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from jaxgan.evaluation import torch_file
from jaxgan.evaluation.torch_file import TorchFileError

torch = pytest.importorskip("torch")
FORMS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "sequence"])


def save(path, tree, is_zip):
    torch.save(tree, path, _use_new_zipfile_serialization=is_zip)
    return path


def tensors():
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    return {
        "plain": base,
        "half": (base / 7).half(),
        "double": base[0, 0].double(),
        "count": torch.tensor(5),
        "int": torch.arange(3, dtype=torch.int32),
        "transposed": base.permute(2, 0, 1),  # the same storage, other strides
        "part": base[1, 1:, 2],  # an offset into it
        "expanded": torch.tensor([2.0]).expand(3),
        "empty": torch.zeros(0, 3),
    }


@FORMS
def test_reads_what_torch_wrote(tmp_path, is_zip):
    expected = tensors()
    found = torch_file.read(save(tmp_path / "a.pth", expected, is_zip))
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.numpy().dtype, name
        np.testing.assert_array_equal(found[name], tensor.numpy())
    found["plain"][0] = 0  # arrays of their own
    assert found["transposed"][3, 1, 2] == 23 and found["transposed"][0, 0, 1] == 4


@FORMS
def test_reads_the_state_of_a_module(tmp_path, is_zip):
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))  # state_dict() has `_metadata`
    found = torch_file.read(save(tmp_path / "a.pth", module.state_dict(), is_zip))
    assert set(found) == set(module.state_dict()) and found["1.num_batches_tracked"] == 0
    np.testing.assert_array_equal(found["0.weight"], module[0].weight.detach().numpy())


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@FORMS
@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({"w": Harmful()}, "mkdir"),
        (collections.Counter("a"), "Counter"),
        ({"w": torch.zeros(2, dtype=torch.bfloat16)}, "BFloat16Storage"),
        ({"state": {"w": torch.zeros(2)}}, "plain dictionary of tensors"),
        ([torch.zeros(2)], "plain dictionary of tensors"),
    ],
    ids=["code", "class", "bfloat16", "nested", "list"],
)
def test_refuses_all_but_dictionaries_of_tensors(tmp_path, monkeypatch, is_zip, tree, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TorchFileError, match=reason):
        torch_file.read(save(tmp_path / "a.pth", tree, is_zip))
    assert not (tmp_path / "harm").exists()


def repack(path, change):
    """Rewrites a zip with {member: bytes} changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in change(members).items():
            archive.writestr(name, data)


def test_short_storage_names_the_tensor(tmp_path):
    path = save(tmp_path / "a.pth", {"first": torch.zeros(3), "second": torch.ones(4)}, True)
    repack(path, lambda members: {n: d[:-4] if n.endswith("data/1") else d for n, d in members.items()})
    with pytest.raises(TorchFileError, match="second in it .* 12 bytes instead of 16"):
        torch_file.read(path)
    repack(path, lambda members: {n: d for n, d in members.items() if not n.endswith("data/0")})
    with pytest.raises(TorchFileError, match="first in it .* no item named"):
        torch_file.read(path)


def test_flipped_bit_names_the_tensor(tmp_path):
    path = save(tmp_path / "a.pth", {"first": torch.zeros(3), "second": torch.full((4,), 1.5)}, True)
    data = path.read_bytes()
    where = data.index(np.full(4, 1.5, np.float32).tobytes())
    path.write_bytes(data[:where] + b"\x01" + data[where + 1 :])
    with pytest.raises(TorchFileError, match="second in it .* CRC"):
        torch_file.read(path)


def test_sequence_cut_off_names_the_tensor(tmp_path):
    path = save(tmp_path / "a.pth", {"first": torch.zeros(3), "second": torch.ones(4)}, False)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(TorchFileError, match="(first|second) in it is damaged or cut off"):
        torch_file.read(path)


@FORMS
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_truncated_file_is_refused(tmp_path, is_zip, kept):
    path = save(tmp_path / "a.pth", {"w": torch.zeros(300)}, is_zip)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(TorchFileError):
        torch_file.read(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(TorchFileError, match="not a pickle"):
        torch_file.read(path)
    path.write_bytes(pickle.dumps(7))
    with pytest.raises(TorchFileError, match="torch.save did not write it"):
        torch_file.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "text")
    with pytest.raises(TorchFileError, match="torch.save did not write"):
        torch_file.read(path)


def test_big_endian_files_are_refused(tmp_path):
    path = save(tmp_path / "a.pth", {"w": torch.zeros(3)}, True)
    repack(path, lambda members: {n: b"big" if n.endswith("byteorder") else d for n, d in members.items()})
    with pytest.raises(TorchFileError, match="big-endian"):
        torch_file.read(path)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 2), (1, 3)), (-1, (2,), (1,)), (3, (2,), (-1,))],
)
def test_tensor_beyond_its_storage_is_refused(offset, shape, strides):
    storage = torch_file._Storage("0", np.dtype("<f4"), 4)
    tensor = torch_file._Tensor(storage, offset, shape, strides)
    with pytest.raises(TorchFileError, match="beyond its storage"):
        torch_file._array(tensor, bytes(16))


FLOATS = torch.FloatStorage


@pytest.mark.parametrize(
    ("reference", "is_fine"),
    [
        (("storage", FLOATS, "0", "cpu", 3), True),
        (("storage", FLOATS, "0", "cpu", 3, None), True),  # as the older form writes it
        (("module", FLOATS, "0", "cpu", 3), False),
        (("storage", "float", "0", "cpu", 3), False),
        (("storage", FLOATS, "0", "cpu", 3, ("1", 0, 2)), False),  # a view of another storage, from before 0.4
    ],
)
def test_only_whole_storages_are_referred_to(reference, is_fine):
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return reference if isinstance(obj, set) else None

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(set())
    unpickler = torch_file._Unpickler(io.BytesIO(buffer.getvalue()))
    if is_fine:
        assert unpickler.tree() == torch_file._Storage("0", np.dtype("<f4"), 3)
    else:
        with pytest.raises(TorchFileError, match="it refers to"):
            unpickler.tree()
