"""`archive:FILE[:FOLDER]`: images in a zip or tar file, which need not be unpacked."""

from __future__ import annotations

import abc
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from absl import logging

from jaxgan.data.decode import EXTENSIONS, MAX_ENCODED_BYTES, DecodeError, check_encoded_size, is_image
from jaxgan.data.encoded import EncodedSource
from jaxgan.data.errors import DataError
from jaxgan.data.folder import CHECKED_AT_OPENING
from jaxgan.data.source import fingerprint
from jaxgan.data.tar_stream import open_tar


class ArchiveSource(EncodedSource):
    """Image files in an archive: .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz.

    The innermost folder that holds all images (or FOLDER in it, if given) is what `folder:PATH` is to unpacked files:
    its sub-folders are the classes, in sorted order, with everything below them; without any, there are no labels.
    Hidden files and __MACOSX are ignored.

    A compressed tar file cannot be read at random, so its images are copied to a temporary file at opening.

    At opening, headers and ends are checked if there are at most CHECKED_AT_OPENING images, as for a folder. The
    fingerprint covers names and sizes.

    Args:
      name: the source string.
      file: the archive.
      folder: a folder in it, or "".
      skip_corrupt: leave out unreadable images instead of stopping.

    Raises:
      DataError: if the archive is absent, damaged or holds no image, or if images lie beside class folders.
      UnreadableImage: if images are broken and skip_corrupt is off.
    """

    def __init__(self, name: str, file: Path, folder: str = "", *, skip_corrupt: bool = False):
        if not file.is_file():
            raise DataError(
                f"data.source={name!r}: the file {file} does not exist; give the path of a .zip or .tar file."
            )
        self._file = file
        self._members = _open(name, file)
        names = [entry for entry in self._members.names if _is_wanted(entry) and _is_below(entry, folder)]
        if not names:
            where = f"{file} has no folder {folder!r} with images" if folder else f"{file} holds no image"
            raise DataError(
                f"data.source={name!r}: {where}; looked for names ending in {', '.join(EXTENSIONS)} (any case, not "
                "hidden); check the path."
            )
        self.class_names, self._names, labels = sort_into_classes(file, names, folder)
        super().__init__(name, len(self._names), labels if self.class_names else None, skip_corrupt=skip_corrupt)
        if len(self._names) <= CHECKED_AT_OPENING:
            self._names = [self._names[i] for i in self.check_all()]
        sizes = repr([self._members.size(entry) for entry in self._names]).encode()
        self.fingerprint = fingerprint(["\0".join(self._names).encode("utf-8", "surrogateescape"), sizes])

    def where(self, index: int) -> str:
        return f"{self._file}:{self._names[index]}"

    def load(self, index: int) -> bytes:
        return self._members.read(self._names[index])


def sort_into_classes(file: Path, names: Sequence[str], folder: str) -> tuple[tuple[str, ...], list[str], np.ndarray]:
    """Returns class names, the names sorted by class, and int32 labels; no class names where the images lie flat."""
    root = PurePosixPath(folder or os.path.commonpath([_path(name).parent for name in names]))
    inner = {name: _path(name).relative_to(root).parts for name in names}
    loose = sorted(name for name, parts in inner.items() if len(parts) == 1)
    classes = sorted({parts[0] for parts in inner.values() if len(parts) > 1})
    if loose and classes:
        raise DataError(
            f"The archive {file} holds images (first: {loose[0]}) beside class folders (first: {root / classes[0]}); "
            f"give the folder that holds the classes, or one class, as archive:{file}:FOLDER."
        )
    if loose:
        return (), loose, np.zeros(len(loose), np.int32)
    ordered = sorted(names, key=lambda name: (inner[name][0], name))
    number = {name: i for i, name in enumerate(classes)}
    return tuple(classes), ordered, np.array([number[inner[name][0]] for name in ordered], np.int32)


class _Members(abc.ABC):
    """The files in an archive, read at random from several threads."""

    names: list[str]

    @abc.abstractmethod
    def size(self, name: str) -> int:
        """Bytes of that file."""

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """Returns its content; raises DecodeError if it is damaged."""


class _ZipMembers(_Members):
    def __init__(self, file: Path):
        self._zip = zipfile.ZipFile(file)  # its reads take turns at the file, not at decompressing
        self._infos = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        self.names = list(self._infos)

    def size(self, name: str) -> int:
        return self._infos[name].file_size

    def read(self, name: str) -> bytes:
        """Returns a member, unpacked; raises DecodeError where it is damaged, too large or packed by another method."""
        info = self._infos[name]
        check_encoded_size(info.file_size)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DecodeError("it is compressed by another method than deflate, which the archive must be packed with")
        try:
            with self._zip.open(info) as file:
                data = file.read(info.file_size)  # asked for everything, it would unpack beyond that
                if len(data) != info.file_size or file.read(1):  # the last read compares the checksum
                    raise zipfile.BadZipFile(f"it has another size than the {info.file_size:,} bytes of the directory")
                return data
        except Exception as error:  # a parser fed with arbitrary bytes raises almost anything
            raise DecodeError(_reason(error)) from error


class _TarMembers(_Members):
    def __init__(self, file: Path):
        self._places: dict[str, tuple[int, int]] = {}  # name: (offset, size)
        with open(file, "rb") as raw, tempfile.TemporaryFile() as copy:
            tar, is_compressed = open_tar(raw)
            if is_compressed:
                logging.info("Unpacking %s to a temporary file.", file)
            for member in tar:
                if not member.isreg() or not _is_wanted(member.name):
                    continue
                self._places[member.name] = (copy.tell() if is_compressed else member.offset_data, member.size)
                content = tar.extractfile(member) if is_compressed and member.size <= MAX_ENCODED_BYTES else None
                if content is not None:
                    shutil.copyfileobj(content, copy)
            copy.flush()
            self._data = os.dup(copy.fileno() if is_compressed else raw.fileno())
        self.names = list(self._places)

    def __del__(self):
        if hasattr(self, "_data"):
            os.close(self._data)

    def size(self, name: str) -> int:
        return self._places[name][1]

    def read(self, name: str) -> bytes:
        offset, size = self._places[name]
        check_encoded_size(size)
        data = os.pread(self._data, size, offset)
        if len(data) != size:
            raise DecodeError(f"it ends after {len(data):,} of {size:,} bytes")
        return data


def _open(name: str, file: Path) -> _Members:
    try:
        return _ZipMembers(file) if zipfile.is_zipfile(file) else _TarMembers(file)
    except Exception as error:  # a parser fed with arbitrary bytes raises almost anything
        raise DataError(
            f"data.source={name!r}: {file} is not a complete .zip or .tar archive ({_reason(error)}); download it "
            "again."
        ) from error


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".") or type(error).__name__


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.lstrip("/"))


def _is_wanted(name: str) -> bool:
    parts = _path(name).parts
    return is_image(name) and "__MACOSX" not in parts and not any(part.startswith(".") for part in parts)


def _is_below(name: str, folder: str) -> bool:
    return not folder or _path(name).is_relative_to(folder)
