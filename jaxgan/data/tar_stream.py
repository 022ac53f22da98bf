"""Tar files, compressed or not, from which no header can ask for more memory than a header may have."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from typing import BinaryIO

_UNPACK = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open, b"]\0\0": lzma.open}  # by magic
_LARGEST_READ = 2**26  # bytes; tarfile reads a long name, or a table of attributes, as large as its header says


def open_tar(raw: BinaryIO) -> tuple[tarfile.TarFile, bool]:
    """Opens a .tar, .tar.gz, .tar.bz2 or .tar.xz file.

    Args:
      raw: the opened file, at its beginning; it must stay open.

    Returns:
      The archive, and whether it is compressed.

    Raises:
      Exception: almost any, here and while its members are listed: the parser was not made for arbitrary bytes.
    """
    head = raw.read(6)
    raw.seek(0)
    unpack = next((kind for magic, kind in _UNPACK.items() if head.startswith(magic)), None)
    stream = raw if unpack is None else unpack(raw, "rb")
    return tarfile.open(fileobj=_Bounded(stream), mode="r:"), unpack is not None  # pyright: ignore


class _Bounded(io.RawIOBase):
    """A stream that refuses reads of absurd sizes."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_READ:
            raise tarfile.ReadError(f"a header in it has {size:,} bytes")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()
