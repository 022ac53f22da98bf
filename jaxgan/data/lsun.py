"""`lsun:PATH`: the images of one LSUN category, in the lmdb file that they are distributed as.

F. Yu et al., "LSUN" (https://www.yf.io/p/lsun): CATEGORY_train_lmdb maps keys to encoded images (WebP), one category
per file, hence no labels.
"""

from __future__ import annotations

import struct
import threading
import weakref
from pathlib import Path
from typing import Any

from jaxgan.data.decode import DecodeError
from jaxgan.data.encoded import EncodedSource
from jaxgan.data.errors import DataError
from jaxgan.data.source import fingerprint

_GET = "LSUN's categories can be downloaded as described on https://github.com/fyu/lsun and must be unpacked"

# lmdb must not open a file twice in one process, so the sources of one file share it.
_open_files: weakref.WeakValueDictionary[Path, _File] = weakref.WeakValueDictionary()
_lock = threading.Lock()


class LsunSource(EncodedSource):
    """Random access to an lmdb file whose values are encoded images, in the order of its keys; no labels.

    Nothing is checked at opening but that the first value exists: an image that does not decode shows when it is read.
    The fingerprint covers the keys.

    Args:
      name: the source string.
      path: the folder that holds data.mdb, such as church_outdoor_train_lmdb.
      skip_corrupt: leave out unreadable images instead of stopping.

    Raises:
      DataError: if the package lmdb is not installed, or the path is absent, damaged, or holds no image.
    """

    def __init__(self, name: str, path: Path, *, skip_corrupt: bool = False):
        self._file = _open(name, path)
        if not self._file.keys:
            raise DataError(f"data.source={name!r}: {path} holds no image; {_GET}.")
        self._path = path
        super().__init__(name, len(self._file.keys), None, skip_corrupt=skip_corrupt)
        self.fingerprint = fingerprint([b"\0".join(self._file.keys)])

    def where(self, index: int) -> str:
        return f"{self._path}:{self._file.keys[index].decode(errors='replace')}"

    def load(self, index: int) -> bytes:
        return self._file.read(self._file.keys[index])


def _check_length(place: Path) -> None:
    """Raises DecodeError for a file that ends before its last page: lmdb maps it, and a read behind its end is fatal.

    Two pages at the beginning say where the last one is (lmdb's mdb.c, MDB_meta): 16 bytes into each come a magic
    number, the format's version, an address, a size, and the tree of free pages, which begins with the pages' size.
    """
    size = place.stat().st_size
    with open(place, "rb") as file:
        head = file.read(_META.size)
        page = _META.unpack(head)[2] if len(head) == _META.size else 0
        file.seek(page)
        heads = [head, file.read(_META.size)]
    if not 256 <= page <= 65_536 or any(len(head) < _META.size for head in heads):
        raise DecodeError("it has no header")
    for head in heads:
        magic, version, _, last = _META.unpack(head)
        if magic != 0xBEEFC0DE or version not in (1, 999) or (last + 1) * page > size:
            raise DecodeError(f"it is cut off after {size:,} bytes, or its header is damaged")


_META = struct.Struct("<16xII16xI92xQ")  # magic number, version, size of a page; number of the last page


class _File:
    """An open lmdb file and its keys."""

    def __init__(self, lmdb: Any, path: Path):
        self._errors = lmdb.Error
        self._environment = lmdb.open(str(path), subdir=False, readonly=True, create=False, lock=False, readahead=False)
        with self._environment.begin() as transaction:
            self.keys: list[bytes] = list(transaction.cursor().iternext(keys=True, values=False))

    def read(self, key: bytes) -> bytes:
        try:
            with self._environment.begin() as transaction:
                return bytes(transaction.get(key) or b"")
        except self._errors as error:
            raise DecodeError(f"lmdb: {error}") from error


def _open(name: str, path: Path) -> _File:
    try:
        import lmdb
    except ModuleNotFoundError:
        raise DataError(
            f"data.source={name!r} needs the package lmdb, which is not installed; install it with `pip install lmdb`."
        ) from None
    if not (path / "data.mdb").is_file() and not path.is_file():
        inner = sorted(p.parent.name for p in path.glob("*/data.mdb")) if path.is_dir() else []
        hint = f"did you mean {path / inner[0]}?" if inner else f"{_GET}."
        what = "holds no data.mdb" if path.is_dir() else "does not exist"
        raise DataError(f"data.source={name!r}: {path} {what}; {hint}")
    with _lock:
        place = (path if path.is_file() else path / "data.mdb").resolve()
        file = _open_files.get(place)
        try:
            if file is None:
                _check_length(place)
                file = _File(lmdb, place)
        except (lmdb.Error, DecodeError, OSError) as error:
            raise DataError(
                f"data.source={name!r}: {path} is not a complete lmdb file ({error}); download it again."
            ) from error
        _open_files[place] = file
        return file
