"""`folder:PATH`: image files, in class sub-folders or flat."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import logging

from jaxgan.data.decode import EXTENSIONS, DecodeError, check_file, decode
from jaxgan.data.errors import DataError, UnreadableImage
from jaxgan.data.source import Source, fingerprint

CHECKED_AT_OPENING = 50_000  # files; about 5 s. A larger folder's broken files are found when they are read.
_CHECK_THREADS = 4


class FolderSource(Source):
    """Image files below a folder, decoded when they are read.

    Sub-folders that hold images are the classes, in sorted order, with everything below them; without any, the images
    lie in the folder itself and have no labels. Hidden files and folders are ignored, links are followed.

    At opening, the header and end marker of every file are checked if there are at most CHECKED_AT_OPENING of them, so
    a file that is cut off shows before training starts. With skip_corrupt such files are left out; one that is found
    later, when it is decoded, is replaced (image and label) by the next readable file: a pure function of its index.

    The fingerprint covers the files' relative names and, up to CHECKED_AT_OPENING files, their sizes.

    Args:
      name: the source string.
      root: the folder.
      skip_corrupt: leave out unreadable files instead of stopping.

    Raises:
      DataError: if the folder is absent, holds no image, holds images beside class folders, or has an empty class.
      UnreadableImage: if files are broken and skip_corrupt is off.
    """

    def __init__(self, name: str, root: Path, *, skip_corrupt: bool = False):
        if not root.is_dir():
            raise DataError(
                f"data.source={name!r}: the folder {root} does not exist; give the path of a folder with images in "
                "class sub-folders (PATH/CLASS/*.jpg) or directly in it."
            )
        self.name = name
        self.skipped = []
        self._root = root
        self._skip_corrupt = skip_corrupt
        self._lock = threading.Lock()
        self._broken: set[int] = set()
        self._smallest: tuple[str, int, int] | None = None
        self.class_names, self._files, labels = _list_images(root)
        sizes = b""
        if len(self._files) <= CHECKED_AT_OPENING:
            labels = self._check_files(labels)
            sizes = repr([(root / file).stat().st_size for file in self._files]).encode()
        self._labels = labels if self.class_names else None
        self.fingerprint = fingerprint(["\0".join(self._files).encode("utf-8", "surrogateescape"), sizes])

    def __len__(self) -> int:
        return len(self._files)

    @property
    def labels(self) -> np.ndarray | None:
        """Class ids by file name; an example that replaces an unreadable file carries its own."""
        return self._labels

    def where(self, index: int) -> str:
        return str(self._root / self._files[index])

    def smallest(self) -> tuple[str, int, int] | None:
        return self._smallest

    def example(self, index: int) -> tuple[np.ndarray, int]:
        for candidate in range(index, index + len(self)):
            candidate %= len(self)
            if candidate in self._broken:
                continue
            try:
                return decode((self._root / self._files[candidate]).read_bytes()), self.label(candidate)
            except (DecodeError, OSError) as error:
                self._give_up(candidate, error)
        raise DataError(f"data.source={self.name!r}: none of the {len(self)} images is readable; check the files.")

    def _give_up(self, index: int, error: Exception) -> None:
        unreadable = UnreadableImage(self.where(index), str(error))
        if not self._skip_corrupt:
            raise unreadable from error
        with self._lock:
            if index not in self._broken:
                self._broken.add(index)
                self.skipped.append((unreadable.path, unreadable.reason))
                logging.warning("Left out %s (%s); the next readable image takes its place.", *self.skipped[-1])

    def _check_files(self, labels: np.ndarray) -> np.ndarray:
        """Drops (or raises for) broken files and notes the smallest image; returns the labels of those kept."""
        with ThreadPoolExecutor(_CHECK_THREADS) as pool:
            found = list(pool.map(_try(check_file), [self._root / file for file in self._files]))
        bad = [i for i, result in enumerate(found) if isinstance(result, DecodeError)]
        self.skipped = [(self.where(i), str(found[i])) for i in bad]
        if bad and not self._skip_corrupt:
            raise _broken_files(self.name, self.skipped, len(found))
        if len(bad) == len(found):
            raise DataError(f"data.source={self.name!r}: none of the {len(found)} images is readable; check the files.")
        sizes = [(min(size), self.where(i), *size) for i, size in enumerate(found) if isinstance(size, tuple)]
        self._smallest = min(sizes)[1:]
        kept = [i for i, result in enumerate(found) if isinstance(result, tuple)]
        self._files = [self._files[i] for i in kept]
        return labels[kept]


def _try(check: Callable[[Path], tuple[int, int]]) -> Callable[[Path], tuple[int, int] | DecodeError]:
    def checked(path: Path) -> tuple[int, int] | DecodeError:
        try:
            return check(path)
        except DecodeError as error:
            return error

    return checked


def _broken_files(name: str, broken: list[tuple[str, str]], total: int) -> DataError:
    if len(broken) == 1:
        return UnreadableImage(*broken[0])
    listed = "; ".join(f"{path} ({reason})" for path, reason in broken[:3])
    return DataError(
        f"data.source={name!r}: {len(broken)} of {total} images are not readable, such as {listed}; every image must "
        "decode: replace or delete them, or set data.skip_corrupt=True to leave unreadable images out."
    )


def _list_images(root: Path) -> tuple[tuple[str, ...], list[str], np.ndarray]:
    """Returns class names, file names relative to root with forward slashes, and int32 labels."""
    entries = [entry for entry in os.scandir(root) if not entry.name.startswith(".")]
    loose = sorted(e.name for e in entries if e.is_file() and _is_image(e.name))
    folders = {e.name: _images_below(root, e.name) for e in sorted(entries, key=lambda e: e.name) if e.is_dir()}
    with_images = [folder for folder, files in folders.items() if files]
    if not loose and not with_images:
        raise DataError(
            f"The folder {root} and its sub-folders hold no image; looked for files ending in {', '.join(EXTENSIONS)} "
            "(any case, not hidden); check the path."
        )
    if loose and with_images:
        raise DataError(
            f"The folder {root} holds images (first: {loose[0]}) beside class folders (first: {with_images[0]}); "
            "images must lie either all in class folders or all in the folder itself: move one of the two away."
        )
    if loose:
        return (), loose, np.zeros(len(loose), np.int32)
    if len(with_images) < len(folders):
        empty = next(folder for folder in folders if folder not in with_images)
        raise DataError(
            f"The class folder {root / empty} holds no image (files ending in {', '.join(EXTENSIONS)}), so its class "
            "could not be learnt; remove the folder, or put images into it."
        )
    files = [file for folder in with_images for file in folders[folder]]
    labels = np.repeat(np.arange(len(with_images), dtype=np.int32), [len(folders[f]) for f in with_images])
    return tuple(with_images), files, labels


def _images_below(root: Path, folder: str) -> list[str]:
    files, visited = [], set()
    for directory, subfolders, names in os.walk(root / folder, followlinks=True):
        real = os.path.realpath(directory)
        subfolders[:] = [] if real in visited else [name for name in subfolders if not name.startswith(".")]
        names = [] if real in visited else names
        visited.add(real)
        relative = Path(directory).relative_to(root)
        files += [(relative / name).as_posix() for name in names if not name.startswith(".") and _is_image(name)]
    return sorted(files)


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)
