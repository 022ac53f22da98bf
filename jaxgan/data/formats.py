"""Parsers of binary data sets: bytes in, arrays out, nothing read from disk here.

idx: Y. LeCun's MNIST format (http://yann.lecun.com/exdb/mnist, "The IDX file format"): two zero bytes, a type code, the
number of axes, one big-endian uint32 per axis, then the values. Fashion-MNIST, KMNIST and EMNIST use it too.
CIFAR-10: A. Krizhevsky's binary and Python versions (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from typing import Any, BinaryIO

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.plain_pickle import Name, PickleError, PlainUnpickler

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_GZIP = b"\x1f\x8b"
_UBYTE = 0x08
_KINDS = {1: "labels", 3: "images"}
_MOST_VALUES = 2**31  # of an idx file; EMNIST, the largest known, has 638 million
_CIFAR_PIXELS = 3 * 32 * 32


def parse_idx(data: bytes, *, num_axes: int, name: str) -> np.ndarray:
    """Parses an idx file, gzipped or not.

    Args:
      data: the whole file.
      num_axes: 3 for images (N, H, W), 1 for labels (N,).
      name: the file, for messages.

    Returns:
      uint8 array with num_axes axes.

    Raises:
      DataError: if the compression is damaged, the magic number is another one, or the size differs from the header's.
    """
    start = 4 + 4 * num_axes
    with _opened(data) as file:
        head = _read(file, start, name)
        magic = 256 * _UBYTE + num_axes
        found = int.from_bytes(head[:4], "big")
        if len(head) < 4 or found != magic:
            raise DataError(
                f"{name} starts with {head[:4].hex() or 'nothing'}, but an idx file of {_KINDS[num_axes]} starts with "
                f"{magic:08x}; check that it is the right file of the data set and download it again."
            )
        if len(head) < start:
            raise DataError(f"{name} ends within its header ({len(head)} of {start} bytes); download it again.")
        shape = struct.unpack(f">{num_axes}I", head[4:])
        size = math.prod(shape)
        says = f"its header says {' x '.join(map(str, shape))} = {size}"
        if size > _MOST_VALUES:
            raise DataError(
                f"{name} is too large: {says} values, and at most {_MOST_VALUES} are read into memory; check that it "
                "is the right file, and prepare a larger set from image files."
            )
        values = _read(file, size + 1, name)
    if len(values) != size:
        held = f"more than {size}" if data.startswith(_GZIP) and len(values) > size else len(data) - start
        held = len(values) if len(values) < size else held
        raise DataError(f"{name} holds {held} values, but {says}; the file is cut off or damaged: download it again.")
    return np.frombuffer(values, np.uint8).reshape(shape) if size else np.zeros([min(n, 1) for n in shape], np.uint8)


def _opened(data: bytes) -> BinaryIO:
    file = io.BytesIO(data)
    return gzip.GzipFile(fileobj=file) if data.startswith(_GZIP) else file  # pyright: ignore[reportReturnType]


def _read(file: BinaryIO, count: int, name: str) -> bytes:
    """Returns so many bytes, fewer at the end; of a compressed file no more are ever unpacked."""
    try:
        return file.read(count)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name} is cut off or damaged ({error}); download it again.") from error


def parse_cifar10_binary(data: bytes, *, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Parses one file of CIFAR-10's binary version: records of a label byte and 3 x 32 x 32 bytes.

    Returns:
      uint8 images (N, 32, 32, 3) and uint8 labels (N,).

    Raises:
      DataError: if the size is not a multiple of 3073 bytes, or a label is not in 0..9.
    """
    record = 1 + _CIFAR_PIXELS
    if not data or len(data) % record:
        raise DataError(
            f"{name} has {len(data)} bytes, but a CIFAR-10 binary file is a whole number of {record}-byte records; "
            "it is cut off or another file: download it again."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return _cifar_images(records[:, 1:]), _cifar_labels(records[:, 0], name)


def parse_cifar10_pickle(data: bytes, *, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Parses one batch file of CIFAR-10's Python version, without running any code that it may contain.

    Returns:
      uint8 images (N, 32, 32, 3) and uint8 labels (N,).

    Raises:
      DataError: if it is not a pickle of plain values and NumPy arrays, or not a CIFAR-10 batch.
    """
    batch = safe_unpickle(data, name=name)
    pixels = batch.get(b"data") if isinstance(batch, dict) else None
    labels = batch.get(b"labels") if isinstance(batch, dict) else None
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list) or {*map(type, labels)} - {int}:
        raise DataError(f"{name} is not a CIFAR-10 batch (a dictionary with `data` and `labels`); download it again.")
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _CIFAR_PIXELS):
        raise DataError(
            f"{name} holds {pixels.dtype} data of shape {pixels.shape} for {len(labels)} labels, but CIFAR-10 is uint8 "
            f"of shape ({len(labels)}, {_CIFAR_PIXELS}); download it again."
        )
    return _cifar_images(pixels), _cifar_labels(np.asarray(labels), name)


def _cifar_images(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))  # planes R, G, B to (N, H, W, C)


def _cifar_labels(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.size and not 0 <= labels.min() <= labels.max() < len(CIFAR10_CLASSES):
        raise DataError(
            f"{name} has labels from {labels.min()} to {labels.max()}, but CIFAR-10's lie in 0..9; "
            "check that it is not another data set or damaged."
        )
    return labels.astype(np.uint8)


def safe_unpickle(data: bytes, *, name: str) -> Any:
    """Unpickles builtin containers, numbers, strings and NumPy arrays; anything else is refused, not run.

    Byte strings written by Python 2 stay bytes.

    Raises:
      DataError: if the data are damaged or name any other class or function.
    """
    try:
        tree = _Unpickler(io.BytesIO(data)).load()
        if isinstance(tree, dict):
            return {key: _value(value) for key, value in tree.items()}
        return _value(tree)
    except PickleError as error:
        raise DataError(f"{name} is not a pickle of plain arrays ({error}); download it again.") from error


_RECONSTRUCT = {Name("numpy.core.multiarray", "_reconstruct"), Name("numpy._core.multiarray", "_reconstruct")}
_DTYPE, _ENCODE = Name("numpy", "dtype"), Name("_codecs", "encode")
_KNOWN = {*_RECONSTRUCT, _DTYPE, _ENCODE, Name("numpy", "ndarray")}
_NUMBERS = ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")


class _Described:
    """What a pickle says of an array or of a type of numbers."""

    def __init__(self, kind: Name, args: tuple):
        self.kind, self.args = kind, args
        self.state: Any = ()


class _Unpickler(PlainUnpickler):
    """Knows the names that an array's pickle uses, under NumPy's old and new module paths."""

    def find(self, name: Name) -> Any:
        return name if name in _KNOWN else super().find(name)

    def call(self, function: Any, args: tuple) -> Any:
        if function == _ENCODE:  # Python 3's way to write bytes at protocol 2
            text, encoding = args
            if encoding != "latin1":
                raise PickleError("it asks for another encoding than latin1")
            return text.encode("latin1")
        if isinstance(function, Name) and (function in _RECONSTRUCT or function == _DTYPE):
            return _Described(function, args)
        return super().call(function, args)

    def build(self, target: Any, state: Any) -> None:
        if not isinstance(target, _Described) or not isinstance(state, tuple):
            super().build(target, state)
        target.state = state


def _value(value: Any) -> Any:
    """Returns the array that is described, or the plain value itself."""
    if not isinstance(value, _Described):
        return value
    try:
        _, shape, dtype, is_fortran, data = value.state
        kind = dtype.args[0]
        kind = kind.decode() if isinstance(kind, bytes) else kind
        if kind not in _NUMBERS or dtype.state[1] not in ("<", ">", "|", b"<", b">", b"|"):
            raise PickleError("an array in it is not one of numbers")
        order = dtype.state[1].decode() if isinstance(dtype.state[1], bytes) else dtype.state[1]
        return np.frombuffer(data, np.dtype(order + kind)).reshape(shape, order="F" if is_fortran else "C")
    except PickleError:
        raise
    except Exception as error:  # whatever the parts are, which the file chooses
        raise PickleError("an array in it is damaged") from error
