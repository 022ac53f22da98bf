"""Reads the tensors of a file written by `torch.save`, without torch and without running what the file says.

Both forms: the zip archive of PyTorch 1.6 and later (a pickle, and a member per storage), and the older sequence of
pickles with the storages behind them. Only a dictionary of plain tensors is accepted, which a `state_dict()` is.
"""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # first two pickles of the older form
_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class TorchFileError(ValueError):
    """The file cannot be read; the message is the reason, without a final full stop."""


@dataclasses.dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    size: int  # elements


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """What the pickle says of a tensor; `offset` and `strides` in elements of the storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns {name: array} in the dtypes of the file.

    Raises:
      TorchFileError: the file is truncated or damaged (with the array's name where one is), was not written by
        `torch.save`, or holds anything else than a dictionary of tensors.
      OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        return _read_zip(file) if is_zip else _read_sequence(file)


def _read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise TorchFileError("it is a zip archive without its end, so it was cut off") from error
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise TorchFileError("it is a zip archive that torch.save did not write")
    folder = pickles[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
        try:
            return archive.read(folder + name)
        except Exception as error:  # wrong checksum, absent, cut off: a damaged archive raises almost anything
            raise TorchFileError(str(error).strip("'.")) from error

    if f"{folder}byteorder" in archive.namelist() and member("byteorder") != b"little":
        raise TorchFileError("it was written on a big-endian machine")
    tree = _Unpickler(io.BytesIO(member("data.pkl"))).tree()
    return _arrays(tree, lambda storage: member(f"data/{storage.key}"))


def _read_sequence(file: BinaryIO) -> dict[str, np.ndarray]:
    if _Unpickler(file).tree() != _MAGIC or _Unpickler(file).tree() != _PROTOCOL:
        raise TorchFileError("torch.save did not write it")
    system = _Unpickler(file).tree()
    if not isinstance(system, dict) or not system.get("little_endian"):
        raise TorchFileError("it was written on a big-endian machine")
    unpickler = _Unpickler(file)
    tree, keys = unpickler.tree(), _Unpickler(file).tree()
    contents: dict[str, bytes] = {}
    for key in keys if isinstance(keys, list) else ():
        storage = unpickler.storages.get(key)
        if storage is None or file.read(8) != struct.pack("<q", storage.size):
            break
        contents[key] = file.read(storage.size * storage.dtype.itemsize)
    return _arrays(tree, lambda storage: contents.get(storage.key, b""))


def _arrays(tree: Any, data_of: Callable[[_Storage], bytes]) -> dict[str, np.ndarray]:
    if not isinstance(tree, dict) or not all(isinstance(value, _Tensor) for value in tree.values()):
        raise TorchFileError("it does not hold a plain dictionary of tensors, as a state_dict is")
    arrays = {}
    for name, tensor in tree.items():
        try:
            arrays[str(name)] = _array(tensor, data_of(tensor.storage))
        except TorchFileError as error:
            raise TorchFileError(f"{name} in it is damaged or cut off: {error}") from error
    return arrays


def _array(tensor: _Tensor, data: bytes) -> np.ndarray:
    dtype = tensor.storage.dtype
    if len(data) != tensor.storage.size * dtype.itemsize:
        raise TorchFileError(f"{len(data):,} bytes instead of {tensor.storage.size * dtype.itemsize:,}")
    flat = np.frombuffer(data, dtype)
    if math.prod(tensor.shape) == 0:
        return np.zeros(tensor.shape, dtype)
    last = tensor.offset + sum((side - 1) * step for side, step in zip(tensor.shape, tensor.strides, strict=True))
    if min(tensor.offset, *tensor.shape, *tensor.strides, 0) < 0 or last >= flat.size:
        raise TorchFileError("it reaches beyond its storage")  # as_strided would read foreign memory
    strides = [step * dtype.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides).copy()


class _Unpickler(pickle.Unpickler):
    """Knows the names that a dictionary of tensors needs, and gives them stand-ins; any other is refused, not run."""

    def __init__(self, file: Any):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def tree(self) -> Any:
        """Returns the next object of the file."""
        try:
            return self.load()
        except Exception as error:  # damaged pickles raise almost anything
            raise TorchFileError(f"it is not a pickle of plain tensors ({error})") from error

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, size, *views = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or any(view is not None for view in views):
            raise pickle.UnpicklingError(f"it refers to {kind!r}")
        self.storages[key] = _Storage(key, dtype, int(size))
        return self.storages[key]


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> _Tensor:
    # The rest of the arguments, whether it needs a gradient and hooks, mean nothing here.
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))
