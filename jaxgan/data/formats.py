"""Parsers of binary data sets: bytes in, arrays out, nothing read from disk here.

idx: Y. LeCun's MNIST format (http://yann.lecun.com/exdb/mnist, "The IDX file format"): two zero bytes, a type code, the
number of axes, one big-endian uint32 per axis, then the values. Fashion-MNIST, KMNIST and EMNIST use it too.
CIFAR-10: A. Krizhevsky's binary and Python versions (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

import gzip
import io
import math
import pickle
import struct
import zlib
from typing import Any

import numpy as np

from jaxgan.data.errors import DataError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_GZIP = b"\x1f\x8b"
_UBYTE = 0x08
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
    data = _decompress(data, name)
    magic = 256 * _UBYTE + num_axes
    found = int.from_bytes(data[:4], "big")
    if len(data) < 4 or found != magic:
        raise DataError(
            f"{name} starts with {data[:4].hex() or 'nothing'}, but an idx file of {_KINDS[num_axes]} starts with "
            f"{magic:08x}; check that it is the right file of the data set and download it again."
        )
    start = 4 + 4 * num_axes
    if len(data) < start:
        raise DataError(f"{name} ends within its header ({len(data)} of {start} bytes); download it again.")
    shape = struct.unpack(f">{num_axes}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise DataError(
            f"{name} holds {len(data) - start} values, but its header says {' x '.join(map(str, shape))} = "
            f"{math.prod(shape)}; the file is cut off or damaged: download it again."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


_KINDS = {1: "labels", 3: "images"}


def _decompress(data: bytes, name: str) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
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
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list):
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
        return _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # damaged pickles raise almost anything
        raise DataError(f"{name} is not a pickle of plain arrays ({error}); download it again.") from error


class _Unpickler(pickle.Unpickler):
    """Knows the three names that an array's pickle uses, under NumPy's old and new module paths."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if (module, name) == ("_codecs", "encode"):  # Python 3's way to write bytes at protocol 2
            return _encode_latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _encode_latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
    return text.encode("latin1")
