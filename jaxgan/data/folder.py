"""`folder:PATH`: image files, in class sub-folders or flat; and the folders of `unpaired:` and `aligned:`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from jaxgan.data.decode import EXTENSIONS, check_file, is_image, read_encoded
from jaxgan.data.encoded import EncodedSource
from jaxgan.data.errors import DataError
from jaxgan.data.source import fingerprint

CHECKED_AT_OPENING = 50_000  # files; about 5 s. A larger folder's broken files are found when they are read.


class FolderSource(EncodedSource):
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
      labels: False takes all images at any depth below the folder, in the order of their names, as unlabelled ones.

    Raises:
      DataError: if the folder is absent, holds no image, holds images beside class folders, or has an empty class.
      UnreadableImage: if files are broken and skip_corrupt is off.
    """

    def __init__(self, name: str, root: Path, *, skip_corrupt: bool = False, labels: bool = True):
        if not root.is_dir():
            raise DataError(
                f"data.source={name!r}: the folder {root} does not exist; give the path of a folder with images in "
                "class sub-folders (PATH/CLASS/*.jpg) or directly in it."
            )
        self.class_names, self._files, class_ids = _list_images(root) if labels else _list_unlabelled(root)
        super().__init__(name, len(self._files), class_ids if self.class_names else None, skip_corrupt=skip_corrupt)
        self._root = root
        sizes = b""
        if len(self._files) <= CHECKED_AT_OPENING:
            kept = self.check_all()
            self._files = [self._files[i] for i in kept]
            sizes = repr([(root / file).stat().st_size for file in self._files]).encode()
        self.fingerprint = fingerprint(["\0".join(self._files).encode("utf-8", "surrogateescape"), sizes])

    def where(self, index: int) -> str:
        return str(self._root / self._files[index])

    def load(self, index: int) -> bytes:
        with open(self._root / self._files[index], "rb", buffering=0) as file:  # read at once, so a buffer only costs
            return read_encoded(file)

    def check(self, index: int) -> tuple[int, int]:
        return check_file(self._root / self._files[index])


def _list_images(root: Path) -> tuple[tuple[str, ...], list[str], np.ndarray]:
    """Returns class names, file names relative to root with forward slashes, and int32 labels."""
    entries = [entry for entry in os.scandir(root) if not entry.name.startswith(".")]
    loose = sorted(e.name for e in entries if e.is_file() and is_image(e.name))
    folders = {e.name: images_below(root, e.name) for e in sorted(entries, key=lambda e: e.name) if e.is_dir()}
    with_images = [folder for folder, files in folders.items() if files]
    if not loose and not with_images:
        raise _no_image(root)
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


def _list_unlabelled(root: Path) -> tuple[tuple[str, ...], list[str], np.ndarray]:
    files = images_below(root, ".")
    if not files:
        raise _no_image(root)
    return (), files, np.zeros(len(files), np.int32)


def _no_image(root: Path) -> DataError:
    return DataError(
        f"The folder {root} and its sub-folders hold no image; looked for files ending in {', '.join(EXTENSIONS)} "
        "(any case, not hidden); check the path."
    )


def images_below(root: Path, folder: str) -> list[str]:
    """Returns the images at any depth below root/folder, sorted, relative to root with forward slashes."""
    files, visited = [], set()
    for directory, subfolders, names in os.walk(root / folder, followlinks=True):
        real = os.path.realpath(directory)
        subfolders[:] = [] if real in visited else [name for name in subfolders if not name.startswith(".")]
        names = [] if real in visited else names
        visited.add(real)
        relative = Path(directory).relative_to(root)
        files += [(relative / name).as_posix() for name in names if not name.startswith(".") and is_image(name)]
    return sorted(files)
