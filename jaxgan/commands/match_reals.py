"""The real images that generated ones are compared with, read in order and ahead of time."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from jaxgan.commands.errors import CommandError
from jaxgan.config import DataConfig
from jaxgan.data.pipeline import Dataset
from jaxgan.data.sources import open_source
from jaxgan.generation.run import Run


class RealBatch(NamedTuple):
    """Images uint8 (N, H, W, C) as the run was trained on, their labels and their numbers in the source, int (N,)."""

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


class Reals:
    """A data source at the size, crop and number of channels of a run.

    Args:
      run: an opened run.
      source: a source string; None = the run's own.

    Raises:
      DataError: the source cannot be opened.
    """

    def __init__(self, run: Run, source: str | None = None):
        self.name = run.config.data.source if source is None else source
        self.config: DataConfig = dataclasses.replace(run.config.data, source=self.name)
        self.source = open_source(self.name, skip_corrupt=self.config.skip_corrupt)
        self.dataset = Dataset(self.source, self.config)
        self._run = run

    def __len__(self) -> int:
        return len(self.source)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.dataset.spec.class_names

    def class_id(self, class_id: int) -> int:
        """Returns the label that this source has for a class of the run: by name, or by id where names are unknown.

        Raises:
          CommandError: it has no such class.
        """
        names, wanted = self.class_names, self._run.data.class_names
        if names == wanted or not wanted or class_id >= len(wanted):
            if class_id < len(names):
                return class_id
            what = f"class {class_id}"
        else:
            if wanted[class_id] in names:
                return names.index(wanted[class_id])
            what = f"class {wanted[class_id]!r}"
        listed = f"its classes are {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "no labels"
        raise CommandError(f"{self.name} has no {what} ({listed}); pass --any_class to compare with all images.")

    def indices_of(self, classes: set[int]) -> np.ndarray:
        """Returns the numbers of the images of these classes, ascending; reads no image where labels are known."""
        labels = self.source.labels
        assert labels is not None, "a source with class names has labels"
        return np.flatnonzero(np.isin(labels, sorted(classes)))

    def preprocessing(self) -> str:
        """Returns what was done to the images, for a protocol."""
        spec = self.dataset.spec
        return f"crop={self.config.crop}, size={spec.height}x{spec.width}, channels={spec.channels}"

    def batches(self, indices: np.ndarray, batch_size: int) -> Iterator[RealBatch]:
        """Yields these images in order, a few batches of them in memory at a time.

        Images that turn out to be unreadable are missing where the run's settings leave such images out.

        Raises:
          DataError: an image is unreadable and the settings do not.
        """
        num_threads = max(1, self.config.num_threads)
        with ThreadPoolExecutor(num_threads) as pool:
            waiting: collections.deque[Future[RealBatch]] = collections.deque()
            try:
                for start in range(0, len(indices), batch_size):
                    waiting.append(pool.submit(self._read, indices[start : start + batch_size]))
                    if len(waiting) > num_threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _read(self, indices: np.ndarray) -> RealBatch:
        images, labels = self.dataset.gather(indices)
        broken = {path for path, _ in self.source.skipped}  # another image stands where such a one was asked for
        kept = np.array([self.source.where(int(index)) not in broken for index in indices], bool) if broken else ...
        return RealBatch(images[kept], labels[kept], indices[kept])
