"""Any object with a length and items as a source: a Grain MapDataset or data source, a torch Dataset, a list."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from jaxgan.data.arrays import check_labels, check_shape, to_uint8
from jaxgan.data.decode import plain_mode
from jaxgan.data.errors import DataError
from jaxgan.data.source import Source, fingerprint

_MOST_ITEMS = 2**31 - 1
_SAMPLED = 3  # items at either end that the fingerprint covers


class RandomAccessSource(Source):
    """Reads its images from an object with `len(items)` and `items[i]`, lazily.

    An item is an image; a pair (image, label); or a mapping with "image" and perhaps "label". An image is an array (H,
    W) or (H, W, C), uint8 or floats in [-1, 1] (see `arrays.to_uint8`), or a Pillow image; sizes may differ. A label is
    an integer. Items are read from several threads at once, and item i must be the same whenever it is read: random
    augmentation belongs behind the source (data.flip, data.crop).

    The number of classes is the largest label + 1. To find it, every item is read once at opening, which takes as long
    as an epoch; give num_classes where that is too long, or labels=False where labels are not needed.

    The fingerprint covers the length and the first and last three items.

    Args:
      name: for messages.
      items: the object.
      num_classes: of the labels; None = read them all.
      labels: False ignores labels.

    Raises:
      DataError: if the object has no items, endlessly many, or items of another form; while reading, likewise.
    """

    def __init__(self, name: str, items: Any, *, num_classes: int | None = None, labels: bool = True):
        self.name = name
        self.skipped = []
        self._items = items
        self._count = _length(name, items)
        self._lock = threading.Lock()
        self._num_classes = num_classes
        label = self._read(0)[1]
        self._labelled = labels and label is not None
        if labels and num_classes and label is None:
            raise DataError(f"num_classes (={num_classes}) needs labels, but {name} has none; leave num_classes out.")
        if self._labelled and num_classes is None:
            num_classes = int(self._all_labels.max()) + 1
        self.class_names = tuple(str(i) for i in range((num_classes or 0) if self._labelled else 0))
        self.fingerprint = self._fingerprint()

    def __len__(self) -> int:
        return self._count

    def example(self, index: int) -> tuple[np.ndarray, int]:
        image, label = self._read(index)
        if not self._labelled:
            return image, 0
        return image, self._check_label(label, index)

    def where(self, index: int) -> str:
        return f"item {index} of {self.name}"

    def label(self, index: int) -> int:
        if "_all_labels" in vars(self):
            return int(self._all_labels[index])
        return self.example(index)[1]

    @property
    def labels(self) -> np.ndarray | None:
        """Class ids, int32 (len(self),), or None where unlabelled; the first call reads all items."""
        if not self._labelled:
            return None
        with self._lock:
            return self._all_labels

    @functools.cached_property
    def _all_labels(self) -> np.ndarray:
        return np.array([self._check_label(self._read(i)[1], i) for i in range(self._count)], np.int32)

    def _check_label(self, label: Any, index: int) -> int:
        if label is None:
            raise DataError(f"{self.where(index)} has no label, but item 0 has one; either all items must have one.")
        label = np.asarray(label)
        if label.size != 1:
            raise DataError(f"The label of {self.where(index)} has shape {label.shape}, but must be one integer.")
        check_labels(label, self._num_classes, f"The labels of {self.where(index)}")
        return int(label.item())

    def _read(self, index: int) -> tuple[np.ndarray, Any]:
        return _read(self._items, index, self.where(index))

    def _fingerprint(self) -> str:
        rows = sorted({*range(min(_SAMPLED, self._count)), *range(max(0, self._count - _SAMPLED), self._count)})
        parts: list[bytes | np.ndarray] = [repr((self._count, self.class_names)).encode()]
        for row in rows:
            image, label = self.example(row)
            parts += [repr((image.shape, label)).encode(), np.ascontiguousarray(image)]
        return fingerprint(parts)


def first_shape(name: str, items: Any) -> tuple[int, ...]:
    """Returns (H, W, C) of the image of item 0; raises as RandomAccessSource does."""
    _length(name, items)
    return _read(items, 0, f"item 0 of {name}")[0].shape


def _length(name: str, items: Any) -> int:
    try:
        count = len(items)
    except OverflowError:
        count = _MOST_ITEMS + 1
    if not 0 < count <= _MOST_ITEMS:
        fix = (
            "give at least one" if not count else "give one epoch, without .repeat(): the training repeats and shuffles"
        )
        raise DataError(f"{name} must have 1 to {_MOST_ITEMS:,} items, not {count:,}; {fix}.")
    return count


def _read(items: Any, index: int, where: str) -> tuple[np.ndarray, Any]:
    try:
        item = items[index]
    except Exception as error:  # whatever the user's code raises
        raise DataError(
            f"{where} cannot be read ({type(error).__name__}: {error}); every item must be an image, (image, label), "
            "or a mapping with 'image' and perhaps 'label'."
        ) from error
    image, label = _parts(item, where)
    return _pixels(image, f"The image of {where}"), label


def _parts(item: Any, what: str) -> tuple[Any, Any]:
    if item is None:
        raise DataError(
            f"{what} is None, as the items are that a grain.MapDataset filters out; select them beforehand."
        )
    if isinstance(item, Mapping):
        if "image" not in item:
            raise DataError(
                f"{what} has the keys {sorted(map(str, item))}, but must have 'image', and may have 'label'."
            )
        return item["image"], item.get("label")
    if isinstance(item, (tuple, list)):
        if len(item) != 2:
            raise DataError(f"{what} has {len(item)} parts, but must be an image or (image, label).")
        return item[0], item[1]
    return item, None


def _pixels(image: Any, what: str) -> np.ndarray:
    if isinstance(image, Image.Image):
        image = plain_mode(image)
    pixels = np.asarray(image)
    if pixels.dtype == object:
        raise DataError(f"{what} is of type {type(image).__name__}, but must be an array or a Pillow image.")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    check_shape(pixels.shape, 3, f"{what} has shape", "(H, W) or (H, W, C)")
    return to_uint8(pixels, what)
