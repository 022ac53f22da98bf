"""What every data source offers, and the source that holds its images in memory."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterable

import numpy as np


class Source(abc.ABC):
    """Random access to images of their original size, with or without labels.

    Attributes:
      name: the source string it was opened from.
      class_names: one name per class id; empty where the source has no labels.
      fingerprint: short text that identifies the content; equal content gives equal text on every machine.
      skipped: (path, reason) of every image that was left out so far.
      image_shape: (H, W, C) that all images are known to have, or None; such a source has a fast `read_many`.
    """

    name: str
    class_names: tuple[str, ...] = ()
    fingerprint: str
    skipped: list[tuple[str, str]]
    image_shape: tuple[int, int, int] | None = None

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abc.abstractmethod
    def example(self, index: int) -> tuple[np.ndarray, int]:
        """Returns image `index` as uint8 (H, W, C), C in 1, 3, 4, and its label (0 where unlabelled)."""

    @property
    @abc.abstractmethod
    def labels(self) -> np.ndarray | None:
        """Class ids, int32 (len(self),), or None where unlabelled. May have to read the whole source."""

    def exact_example(self, index: int) -> tuple[np.ndarray, int]:
        """As `example`, but an unreadable image always raises UnreadableImage: no other one takes its place."""
        return self.example(index)

    def read(self, index: int) -> np.ndarray:
        """Returns image `index` as uint8 (H, W, C), at its original size and number of channels."""
        return self.example(index)[0]

    def read_many(self, indices: np.ndarray) -> np.ndarray:
        """Returns the images of these indices as a new array, uint8 (n, *image_shape); only where that is known."""
        return np.stack([self.read(int(index)) for index in indices])

    def label(self, index: int) -> int:
        """Returns the class id of image `index`; 0 where unlabelled."""
        return 0 if self.labels is None else int(self.labels[index])

    def where(self, index: int) -> str:
        """Names image `index` for a message."""
        return f"image {index} of {self.name}"

    def smallest(self) -> tuple[str, int, int] | None:
        """Returns (name, height, width) of the image with the shortest side, or None where that is not known yet."""
        return None


class ArraySource(Source):
    """A source whose images, all of one size, lie in memory.

    Args:
      name: the source string.
      images: uint8 (N, H, W, C).
      labels: integers (N,), or None.
      class_names: one name per class id; needed with labels.
    """

    def __init__(self, name: str, images: np.ndarray, labels: np.ndarray | None, class_names: Iterable[str] = ()):
        self.name = name
        self.images = images
        self.image_shape = images.shape[1:]
        self._labels = None if labels is None else labels.astype(np.int32)
        self.class_names = tuple(class_names)
        self.skipped = []
        parts: list[bytes | np.ndarray] = [repr(images.shape).encode(), np.ascontiguousarray(images)]
        if self._labels is not None:
            parts.append(self._labels.astype("<i4"))
        self.fingerprint = fingerprint(parts)

    def __len__(self) -> int:
        return len(self.images)

    def example(self, index: int) -> tuple[np.ndarray, int]:
        return self.images[index], self.label(index)

    def read_many(self, indices: np.ndarray) -> np.ndarray:
        return self.images[indices]

    @property
    def labels(self) -> np.ndarray | None:
        return self._labels

    def smallest(self) -> tuple[str, int, int]:
        return self.where(0), self.images.shape[1], self.images.shape[2]


def fingerprint(parts: Iterable[bytes | np.ndarray]) -> str:
    """Returns 16 hexadecimal digits that identify the concatenated bytes."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.data)
    return digest.hexdigest()
