"""Reads the tensors of a file written by `torch.save`, without torch and without running what the file says.

Both forms: the zip archive of PyTorch 1.6 and later (a pickle, and a member per storage), and the older sequence of
pickles with the storages behind them. Only a dictionary of plain tensors is accepted, which a `state_dict()` is.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jaxgan.data.plain_pickle import Name, PickleError, PlainUnpickler, pairs_to_dict

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # first two pickles of the older form
_LARGEST_TREE = 2**26  # bytes of a pickle without its arrays
_SMALLEST_LIMIT, _MOST_SHARING = 2**26, 8  # bytes; arrays may share storages, but not without bound
_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class TorchFileError(ValueError):
    """The file cannot be read; the message is the reason, without a final full stop."""


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    size: int  # elements


class _Tensor(NamedTuple):
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
        limit = max(_SMALLEST_LIMIT, _MOST_SHARING * os.fstat(file.fileno()).st_size)
        return _read_zip(file, limit) if is_zip else _read_sequence(file, limit)


def _read_zip(file: BinaryIO, limit: int) -> dict[str, np.ndarray]:
    try:
        archive = zipfile.ZipFile(file)
    except Exception as error:  # a parser fed with arbitrary bytes raises almost anything
        raise TorchFileError("it is a zip archive without its end, so it was cut off") from error
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise TorchFileError("it is a zip archive that torch.save did not write")
    folder = pickles[0].removesuffix("data.pkl")

    def member(name: str, most: int) -> bytes:
        try:
            info = archive.getinfo(folder + name)
            if info.file_size > most or info.compress_type != zipfile.ZIP_STORED:
                raise TorchFileError(f"{info.file_size:,} bytes instead of {most:,}, or compressed")
            return archive.read(info)
        except TorchFileError:
            raise
        except Exception as error:  # wrong checksum, absent, cut off: a damaged archive raises almost anything
            reason = " ".join(str(error).split()).strip("'.")  # names inside the archive may hold anything
            raise TorchFileError(reason[:200] or "it is cut off") from error

    if f"{folder}byteorder" in archive.namelist() and member("byteorder", 6) != b"little":
        raise TorchFileError("it was written on a big-endian machine")
    tree = _Unpickler(io.BytesIO(member("data.pkl", _LARGEST_TREE))).tree()
    return _arrays(tree, lambda storage: member(f"data/{storage.key}", _bytes(storage)), limit)


def _read_sequence(file: BinaryIO, limit: int) -> dict[str, np.ndarray]:
    if _Unpickler(file).tree() != _MAGIC or _Unpickler(file).tree() != _PROTOCOL:
        raise TorchFileError("torch.save did not write it")
    system = _Unpickler(file).tree()
    if not isinstance(system, dict) or not system.get("little_endian"):
        raise TorchFileError("it was written on a big-endian machine")
    unpickler = _Unpickler(file)
    tree, keys = unpickler.tree(), _Unpickler(file).tree()
    contents: dict[str, bytes] = {}
    for key in keys if isinstance(keys, list) else ():
        storage = unpickler.storages.get(key) if isinstance(key, str) else None
        if storage is None or file.read(8) != struct.pack("<q", storage.size) or _bytes(storage) > limit:
            break
        contents[key] = file.read(_bytes(storage))
    return _arrays(tree, lambda storage: contents.get(storage.key, b""), limit)


def _bytes(storage: _Storage) -> int:
    return storage.size * storage.dtype.itemsize


def _arrays(tree: Any, data_of: Callable[[_Storage], bytes], limit: int) -> dict[str, np.ndarray]:
    if not isinstance(tree, dict) or not all(isinstance(value, _Tensor) for value in tree.values()):
        raise TorchFileError("it does not hold a plain dictionary of tensors, as a state_dict is")
    if sum(math.prod(tensor.shape) * tensor.storage.dtype.itemsize for tensor in tree.values()) > limit:
        raise TorchFileError(f"its tensors say that they have more than {limit:,} bytes")
    arrays = {}
    for name, tensor in tree.items():
        try:
            arrays[str(name)] = _array(tensor, data_of(tensor.storage))
        except TorchFileError as error:
            raise TorchFileError(f"{name} in it is damaged or cut off: {error}") from error
    return arrays


def _array(tensor: _Tensor, data: bytes) -> np.ndarray:
    dtype = tensor.storage.dtype
    if len(data) != _bytes(tensor.storage):
        raise TorchFileError(f"{len(data):,} bytes instead of {_bytes(tensor.storage):,}")
    flat = np.frombuffer(data, dtype)
    if math.prod(tensor.shape) == 0:
        return np.zeros(tensor.shape, dtype)
    last = tensor.offset + sum((side - 1) * step for side, step in zip(tensor.shape, tensor.strides, strict=True))
    if min(tensor.offset, *tensor.shape, *tensor.strides, 0) < 0 or last >= flat.size:
        raise TorchFileError("it reaches beyond its storage")  # as_strided would read foreign memory
    strides = [step * dtype.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides).copy()


class _Unpickler(PlainUnpickler):
    """Knows the names that a dictionary of tensors needs, and gives them stand-ins; any other is refused, not run."""

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def tree(self) -> Any:
        """Returns the next object of the file."""
        try:
            return self.load()
        except PickleError as error:
            raise TorchFileError(f"it is not a pickle of plain tensors ({error})") from error

    def find(self, name: Name) -> Any:
        is_storage = name.module == "torch" and name.name in _DTYPES
        return name if is_storage or name in (_ORDERED, _REBUILD) else super().find(name)

    def call(self, function: Any, args: tuple) -> Any:
        if function == _ORDERED:
            return pairs_to_dict(*args) if args else {}
        return _rebuild_tensor(*args) if function == _REBUILD else super().call(function, args)

    def build(self, target: Any, state: Any) -> None:
        if not isinstance(target, dict):  # the attributes of an OrderedDict (`_metadata`) mean nothing here
            super().build(target, state)

    def refer(self, reference: Any) -> _Storage:
        kind, dtype, key, _, size, *views = reference
        whole = kind == "storage" and isinstance(dtype, Name) and not any(view is not None for view in views)
        if not whole or type(key) is not str or type(size) is not int or size < 0:
            raise PickleError(f"it refers to {kind if isinstance(kind, str) else 'something'!r:.40}")
        self.storages[key] = _Storage(key, _DTYPES[dtype.name], size)
        return self.storages[key]

    def text(self, data: bytes) -> str:
        return data.decode()


_ORDERED, _REBUILD = Name("collections", "OrderedDict"), Name("torch._utils", "_rebuild_tensor_v2")


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    # The rest of the arguments, whether it needs a gradient and hooks, mean nothing here.
    if not isinstance(storage, _Storage) or type(shape) is not tuple or type(strides) is not tuple:
        raise PickleError("a tensor without a storage or a shape")
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(number) is int and abs(number) < 2**62 for number in numbers):
        raise PickleError("a tensor whose sizes are no numbers")
    return _Tensor(storage, offset, shape, strides)
