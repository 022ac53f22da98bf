"""A source of encoded images, such as JPEG files: decoded when they are read, broken ones named or left out."""

from __future__ import annotations

import abc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import logging

from jaxgan.data.decode import DecodeError, check_bytes, decode
from jaxgan.data.errors import DataError, UnreadableImage
from jaxgan.data.source import Source

_CHECK_THREADS = 4


class EncodedSource(Source):
    """Decodes on reading; a subclass says where the bytes of image `index` are.

    With skip_corrupt, an image that does not decode is replaced (image and label) by the next readable one: a pure
    function of its index.

    Args:
      name: the source string.
      count: number of images.
      labels: int32 (count,), or None.
      skip_corrupt: leave out unreadable images instead of stopping.
    """

    def __init__(self, name: str, count: int, labels: np.ndarray | None, *, skip_corrupt: bool):
        self.name = name
        self.skipped = []
        self._count = count
        self._labels = labels
        self._skip_corrupt = skip_corrupt
        self._lock = threading.Lock()
        self._broken: set[int] = set()
        self._smallest: tuple[str, int, int] | None = None

    @abc.abstractmethod
    def load(self, index: int) -> bytes:
        """Returns the encoded image; raises DecodeError or OSError. Called from several threads."""

    def check(self, index: int) -> tuple[int, int]:
        """Returns (height, width) in pixels of image `index`, by its header; raises DecodeError."""
        return check_bytes(self.load(index))

    def __len__(self) -> int:
        return self._count

    @property
    def labels(self) -> np.ndarray | None:
        """Class ids as they are stored; an example that replaces an unreadable one carries its own."""
        return self._labels

    def smallest(self) -> tuple[str, int, int] | None:
        return self._smallest

    def exact_example(self, index: int) -> tuple[np.ndarray, int]:
        try:
            return decode(self.load(index)), self.label(index)
        except (DecodeError, OSError) as error:
            raise UnreadableImage(self.where(index), str(error)) from error

    def example(self, index: int) -> tuple[np.ndarray, int]:
        for candidate in range(index, index + len(self)):
            candidate %= len(self)
            if candidate in self._broken:
                continue
            try:
                return self.exact_example(candidate)
            except UnreadableImage as unreadable:
                if not self._skip_corrupt:
                    raise
                self._leave_out(candidate, unreadable)
        raise self._nothing_readable()

    def _leave_out(self, index: int, unreadable: UnreadableImage) -> None:
        with self._lock:
            if index not in self._broken:
                self._broken.add(index)
                self.skipped.append((unreadable.path, unreadable.reason))
                logging.warning("Left out %s (%s); the next readable image takes its place.", *self.skipped[-1])

    def check_all(self) -> list[int]:
        """Drops (or raises for) images whose header or end is broken and notes the smallest one.

        Returns:
          The indices of those kept, by which a subclass drops what it knows of the others.
        """
        with ThreadPoolExecutor(_CHECK_THREADS) as pool:
            found = list(pool.map(self._try_check, range(len(self))))
        self.skipped = [(self.where(i), str(result)) for i, result in enumerate(found) if not isinstance(result, tuple)]
        if self.skipped and not self._skip_corrupt:
            raise _broken_images(self.name, self.skipped, len(found))
        if len(self.skipped) == len(found):
            raise self._nothing_readable()
        sizes = [(min(size), self.where(i), *size) for i, size in enumerate(found) if isinstance(size, tuple)]
        self._smallest = min(sizes)[1:]
        kept = [i for i, result in enumerate(found) if isinstance(result, tuple)]
        self._count = len(kept)
        if self._labels is not None:
            self._labels = self._labels[kept]
        return kept

    def _try_check(self, index: int) -> tuple[int, int] | DecodeError | OSError:
        try:
            return self.check(index)
        except (DecodeError, OSError) as error:
            return error

    def _nothing_readable(self) -> DataError:
        return DataError(f"data.source={self.name!r}: none of the {len(self)} images is readable; check the files.")


def _broken_images(name: str, broken: list[tuple[str, str]], total: int) -> DataError:
    if len(broken) == 1:
        return UnreadableImage(*broken[0])
    listed = "; ".join(f"{path} ({reason})" for path, reason in broken[:3])
    return DataError(
        f"data.source={name!r}: {len(broken)} of {total} images are not readable, such as {listed}; every image must "
        "decode: replace or delete them, or set data.skip_corrupt=True to leave unreadable images out."
    )
