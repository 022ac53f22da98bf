"""One half of each image of a source: pairs A|B that are stored side by side, as in pix2pix's data sets."""

from __future__ import annotations

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.source import Source, fingerprint


class HalfSource(Source):
    """The left or the right halves of a source's images, cut when they are read; labels are left behind.

    An image that takes the place of an unreadable one does so in both halves, so pairs stay pairs.

    Args:
      source: images of even width.
      side: "left" or "right".

    Raises:
      DataError: if the first image cannot be cut; while reading, if another one cannot.
    """

    def __init__(self, source: Source, side: str):
        self.name = source.name
        self.fingerprint = fingerprint([source.fingerprint.encode(), side.encode()])
        self._source = source
        self._side = side
        self.example(0)

    @property
    def skipped(self) -> list[tuple[str, str]]:  # type: ignore[override]
        return [(f"{path} ({self._side} half)", reason) for path, reason in self._source.skipped]

    @property
    def labels(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self._source)

    def example(self, index: int) -> tuple[np.ndarray, int]:
        return self._cut(self._source.example(index)[0], index), 0

    def exact_example(self, index: int) -> tuple[np.ndarray, int]:
        return self._cut(self._source.exact_example(index)[0], index), 0

    def where(self, index: int) -> str:
        return f"{self._source.where(index)} ({self._side} half)"

    def smallest(self) -> tuple[str, int, int] | None:
        smallest = self._source.smallest()
        return smallest and (f"{smallest[0]} ({self._side} half)", smallest[1], smallest[2] // 2)

    def _cut(self, image: np.ndarray, index: int) -> np.ndarray:
        height, width = image.shape[:2]
        if width % 2:
            raise DataError(
                f"{self._source.where(index)} has {height} x {width} pixels, but an image of a pair A|B side by side "
                "must have an even width; repair it, or give the two domains as unpaired:PATH."
            )
        return image[:, : width // 2] if self._side == "left" else image[:, width // 2 :]
