"""Reads `.npy` and `.npz` files of numbers and text: no pickles, and no array larger than what the file holds."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

_KINDS = "biufUS"  # truth values, numbers and text; never objects, which are pickled
_LARGEST_HEADER = 10_000  # bytes
_MOST_UNPACKED = 2**28  # bytes that compressed arrays may have whatever the file's size is
_MOST_COMPRESSION = 32
_CHUNK = 2**24  # bytes


class ArrayFileError(ValueError):
    """The file cannot be read; the message is the reason, without a final full stop."""


def read_npz(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of an `.npz` file by name: those of `names` that it has, or all.

    Raises:
      ArrayFileError: it is damaged, or holds something else than arrays of numbers or text.
      OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        limit = max(_MOST_UNPACKED, _MOST_COMPRESSION * os.fstat(file.fileno()).st_size)
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                wanted = [name for name in members if names is None or name in names]
                if sum(members[name].file_size for name in wanted) > limit:
                    raise ArrayFileError(f"its arrays say that they have more than {limit:,} bytes")
                return {name: _read_member(archive, members[name], name) for name in wanted}
        except ArrayFileError:
            raise
        except Exception as error:  # a parser fed with arbitrary bytes raises almost anything
            raise ArrayFileError(_reason(error)) from error


def read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """Returns the array of an `.npy` file; raises as `read_npz`."""
    with open(path, "rb") as file:
        try:
            return _read_array(file, os.fstat(file.fileno()).st_size)
        except ArrayFileError:
            raise
        except Exception as error:
            raise ArrayFileError(_reason(error)) from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    try:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArrayFileError("it is compressed in a way that np.savez does not use")
        with archive.open(info) as file:
            return _read_array(file, info.file_size)  # pyright: ignore[reportArgumentType]
    except Exception as error:
        raise ArrayFileError(f"{name} in it is damaged or cut off: {_reason(error)}") from error


def _read_array(file: BinaryIO | io.BufferedIOBase, size: int) -> np.ndarray:
    """Reads an array that, with its header, has `size` bytes."""
    version = np.lib.format.read_magic(file)  # pyright: ignore[reportArgumentType]
    if version not in ((1, 0), (2, 0)):
        raise ArrayFileError(f"its version {version} is not one of arrays of numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file, max_header_size=_LARGEST_HEADER)  # pyright: ignore
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise ArrayFileError(f"it holds {'objects' if dtype.hasobject else dtype} instead of numbers")
    wanted, left = math.prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or wanted != left or (not wanted and math.prod(shape) > _CHUNK):
        raise ArrayFileError(f"its header says {wanted:,} bytes, and it has {left:,}")
    raw = np.empty(wanted, np.uint8)
    for start in range(0, wanted, _CHUNK):
        part = file.read(min(_CHUNK, wanted - start))
        raw[start : start + len(part)] = np.frombuffer(part, np.uint8)
        if len(part) < min(_CHUNK, wanted - start):
            raise ArrayFileError(f"it ends after {start + len(part):,} of {wanted:,} bytes")
    if file.read(1):  # which also compares the checksum of a member
        raise ArrayFileError(f"it has more than its {wanted:,} bytes")
    array = raw.view(dtype) if wanted else np.empty(math.prod(shape), dtype)
    return array.reshape(shape, order="F" if is_fortran else "C")


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].strip("'.")[:300] or type(error).__name__
