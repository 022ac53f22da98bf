"""Files of records of one size: ArrayRecord on disk, readable by its own library, read here at the speed of a copy.

An ArrayRecord file is a Riegeli file (github.com/google/riegeli, doc/riegeli_records_file_format.md): chunks, the first
one a signature, in a stream that a header of 24 bytes interrupts at every multiple of 64 KiB. With one record per chunk
and no compression every chunk of records has the same length: 40 bytes of header, one for the compression, the size of
the size and the size as varints, the record. So the place of a record is a multiplication, and reading it one `preadv`
into the array that it is wanted in, where the library allocates, copies and checks. The place is never trusted unseen:
who writes a file reads every record back, and a file of another layout is read by the library.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK, _BLOCK_HEADER = 1 << 16, 24  # bytes
_BLOCK_CONTENT = _BLOCK - _BLOCK_HEADER
_CHUNK_HEADER = 40
_WRITER_OPTIONS = "group_size:1,uncompressed"


class RecordError(OSError):
    """A file of records is damaged; the message is the reason, without a final full stop."""


class RecordWriter:
    """Writes records to a new file; a context manager, after which the file is complete and on the disk."""

    def __init__(self, path: Path):
        from array_record.python.array_record_module import ArrayRecordWriter  # a tenth of a second

        self._path = path
        self._writer = ArrayRecordWriter(str(path), _WRITER_OPTIONS)

    def write(self, record: np.ndarray) -> None:
        """Appends a uint8 array of any shape."""
        self._writer.write(record.tobytes())

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()
        with open(self._path, "rb") as file:
            os.fsync(file.fileno())


class RecordFile:
    """Random access to the records of one file, from any number of threads.

    Args:
      path: of an ArrayRecord file.
      count: its number of records.
      size: bytes of each record.
      direct: whether its layout was found to be the one above; False = read by the library.

    Raises:
      OSError: if it cannot be opened.
    """

    def __init__(self, path: Path, count: int, size: int, *, direct: bool):
        self.path = path
        self._count = count
        self._size = size
        self._file = os.open(path, os.O_RDONLY) if direct else -1
        self._reader: Any = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def __del__(self):
        if getattr(self, "_file", -1) >= 0:
            os.close(self._file)

    def read_into(self, out: np.ndarray, places: Iterable[int], indices: Iterable[int]) -> None:
        """Fills the rows `places` of `out`, a contiguous uint8 (n, size), with the records `indices`.

        Raises:
          RecordError: if the file is cut off or damaged.
        """
        if self._file >= 0:
            self._read_direct(out.data.cast("B"), places, indices)
        else:
            self._read_by_library(out, places, indices)

    def _read_direct(self, out: memoryview, places: Iterable[int], indices: Iterable[int]) -> None:
        size = self._size
        stride = _CHUNK_HEADER + 2 + _varint_length(size) + size
        first = _CHUNK_HEADER + stride - size  # the signature is a chunk without content
        waste = memoryview(bytearray(_BLOCK_HEADER))
        for place, index in zip(places, indices, strict=True):
            block, offset = divmod(first + index * stride, _BLOCK_CONTENT)
            start = end = place * size
            parts: list[memoryview] = []
            while end - start < size:
                if parts:
                    parts.append(waste)
                begin, end = end, min(start + size, end + _BLOCK_CONTENT - (offset if not parts else 0))
                parts.append(out[begin:end])
            wanted = size + _BLOCK_HEADER * (len(parts) // 2)
            found = os.preadv(self._file, parts, block * _BLOCK + _BLOCK_HEADER + offset)
            if found != wanted:
                raise RecordError(f"record {index} ends after {found} of {wanted} bytes")

    def _read_by_library(self, out: np.ndarray, places: Iterable[int], indices: Iterable[int]) -> None:
        from array_record.python.array_record_module import ArrayRecordReader

        numbers = [int(index) for index in indices]
        try:
            with self._lock:
                if self._reader is None:
                    self._reader = ArrayRecordReader(str(self.path), "readahead_buffer_size:0")
            records = self._reader.read(numbers)
        except (RuntimeError, ValueError, IndexError) as error:
            raise RecordError((str(error).splitlines() or [type(error).__name__])[0].rstrip(".")) from error
        for place, record, number in zip(places, records, numbers, strict=True):
            if len(record) != self._size:
                raise RecordError(f"record {number} has {len(record)} bytes instead of {self._size}")
            out[place] = np.frombuffer(record, np.uint8)


def _varint_length(value: int) -> int:
    """Bytes of a whole number in groups of seven bits."""
    return max(1, -(-value.bit_length() // 7))
