"""The images of a source at one size and number of channels, held in memory where that saves work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.source import ArraySource, Source
from jaxgan.data.transforms import crop_box, prepare

# Images are held in memory if they are not larger: those that need no transform, and those in memory, transformed once.
_IN_MEMORY_BYTES = 2 * 1024**3


class PreparedImages:
    """Random access to the images of a source behind their crop, resize and conversion of channels.

    Args:
      source: random access to images.
      height: pixels.
      width: pixels.
      channels: 1, 3 or 4.
      crop: see `transforms.crop_box`.
      hold: images may be held in memory.

    Raises:
      DataError: if an image is known to be smaller than the crop.
    """

    def __init__(self, source: Source, *, height: int, width: int, channels: int, crop: str, hold: bool = True):
        self.height, self.width, self.channels = height, width, channels
        self._source = source
        self._crop = crop
        self._check_crop()
        self._is_ready = source.image_shape is not None and self._keeps(source.image_shape)
        self._images: np.ndarray | None = None
        if hold and len(source) * height * width * channels <= _IN_MEMORY_BYTES:
            self._images = self._all_images()

    def gather(self, indices: Sequence[int] | np.ndarray, *, with_labels: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns the images uint8 (n, H, W, C) and labels int32 (n,), zeros without labels, of these indices."""
        labels = np.zeros(len(indices), np.int32)
        if self._images is not None or self._is_ready:
            rows = np.asarray(indices, np.intp)
            if with_labels and self._source.labels is not None:
                labels = self._source.labels[rows]
            return self._source.read_many(rows) if self._images is None else self._images[rows], labels
        images = np.empty((len(indices), self.height, self.width, self.channels), np.uint8)
        for row, index in enumerate(indices):
            image, label = self._source.example(int(index))
            images[row] = self._prepare(image, int(index))
            labels[row] = label if with_labels else 0
        return images, labels

    def _keeps(self, shape: tuple[int, int, int]) -> bool:
        """Whether the transform leaves images of that shape as they are."""
        if shape != (self.height, self.width, self.channels):
            return False
        box = crop_box(self.height, self.width, height=self.height, width=self.width, crop=self._crop)
        return box == (0, 0, self.height, self.width)

    def _all_images(self) -> np.ndarray | None:
        """Returns the whole transformed set where that takes no decoding, else None."""
        if isinstance(self._source, ArraySource):
            images = self._source.images
            return images if self._is_ready else np.stack([self._prepare(image) for image in images])
        return self._source.read_many(np.arange(len(self._source))) if self._is_ready else None

    def _prepare(self, image: np.ndarray, index: int | None = None) -> np.ndarray:
        try:
            return prepare(image, height=self.height, width=self.width, channels=self.channels, crop=self._crop)
        except DataError as error:
            raise DataError(f"{self._source.where(index or 0)}: {error}") from error

    def _check_crop(self) -> None:
        smallest = self._source.smallest()
        if smallest is None:
            return
        try:
            crop_box(*smallest[1:], height=self.height, width=self.width, crop=self._crop)
        except DataError as error:
            raise DataError(f"{smallest[0]}: {error}") from error
