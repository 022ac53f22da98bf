"""From a source to training batches whose order is a pure function of (seed, step).

Grain shuffles *indices*: `MapDataset.range(N).seed(seed).shuffle().repeat()` is a random-access sequence that visits
every image once per epoch, in another order each epoch. Global batch n is rows [n B, (n + 1) B) of it, and a process
reads only its own part of each. So there is no iterator state to save, and another number of processes or threads sees
the same data.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from typing import Any

import grain
import numpy as np
from absl import logging

from jaxgan.config import DataConfig
from jaxgan.data.errors import DataError
from jaxgan.data.source import ArraySource, Source
from jaxgan.data.sources import open_source
from jaxgan.data.spec import DataSpec
from jaxgan.data.transforms import crop_box, flip, prepare

# Images are held in memory if they are not larger: those that need no transform, and those in memory, transformed once.
_IN_MEMORY_BYTES = 2 * 1024**3

Batch = dict[str, np.ndarray]


class Dataset:
    """A source behind its transform.

    Args:
      source: random access to images.
      data: size, channels, crop, flip, labels and the number of threads; `data.source` is not read.

    Raises:
      DataError: if an image is known to be smaller than the crop.
    """

    def __init__(self, source: Source, data: DataConfig):
        self._source = source
        self._data = data
        height, width = data.height_width
        class_names = source.class_names if data.labels else ()
        self.spec = DataSpec(
            height, width, data.channels, len(class_names), class_names, len(source), source.fingerprint
        )
        self._check_crop()
        self._is_ready = source.image_shape is not None and self._keeps(source.image_shape)
        self._images: np.ndarray | None = None
        if len(source) * height * width * data.channels <= _IN_MEMORY_BYTES:
            self._images = self._all_images()

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of the unreadable images that were left out so far; grows only if data.skip_corrupt is on."""
        return self._source.skipped

    def batches(
        self,
        *,
        seed: int,
        batch_size: int,
        num_d_steps: int,
        start_step: int = 0,
        stop_step: int | None = None,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Generator[Batch, None, None]:
        """Yields this process's data of the training steps start_step, start_step + 1, ...

        Args:
          seed: of the order and the flips.
          batch_size: images per update of D, over all processes.
          num_d_steps: updates of D per step, each on a batch of its own: global batch step * num_d_steps + i.
          start_step: first step that is yielded.
          stop_step: first step that is not; None never ends.
          process_index: which contiguous part of each global batch to read.
          process_count: number of parts.

        Yields:
          {"images": uint8 (num_d_steps, batch_size // process_count, H, W, C),
           "labels": int32 (num_d_steps, batch_size // process_count), zeros where unlabelled}.
          Closing the generator stops its threads.

        Raises:
          DataError: if batch_size is not a multiple of process_count; while iterating, if an image is unreadable.
        """
        if batch_size % process_count:
            raise DataError(
                f"batch_size (={batch_size}) must be a multiple of the number of processes (={process_count}); "
                f"try {-(-batch_size // process_count) * process_count}."
            )
        order = _order(len(self._source), seed)
        local = batch_size // process_count
        part = slice(process_index * local, (process_index + 1) * local)

        def read_step(step: int) -> Batch:
            numbers = range(step * num_d_steps, (step + 1) * num_d_steps)
            rows = [number * batch_size + row for number in numbers for row in range(part.start, part.stop)]
            images, labels = self.gather([int(order[row]) for row in rows])
            if self._data.flip:
                images = flip(images, np.concatenate([flip_mask(seed, n, batch_size)[part] for n in numbers]))
            lead = (num_d_steps, local)
            return {"images": images.reshape(*lead, *images.shape[1:]), "labels": labels.reshape(lead)}

        steps = grain.MapDataset.range(start_step, sys.maxsize if stop_step is None else stop_step)
        return self._iterate(steps.map(read_step))

    def _iterate(self, steps: grain.MapDataset[Batch]) -> Generator[Batch, None, None]:
        options = grain.ReadOptions(
            num_threads=self._data.num_threads, prefetch_buffer_size=max(self._data.prefetch, self._data.num_threads)
        )
        iterator = iter(steps.to_iter_dataset(options))
        try:
            yield from iterator
        finally:
            iterator.close()  # also where reading fails

    def gather(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the transformed, unflipped images uint8 (n, H, W, C) and labels int32 (n,) of these indices."""
        labels = np.zeros(len(indices), np.int32)
        if self._images is not None or self._is_ready:
            rows = np.asarray(indices, np.intp)
            if self.spec.num_classes and self._source.labels is not None:
                labels = self._source.labels[rows]
            return self._source.read_many(rows) if self._images is None else self._images[rows], labels
        images = np.empty((len(indices), self.spec.height, self.spec.width, self.spec.channels), np.uint8)
        for row, index in enumerate(indices):
            image, label = self._source.example(int(index))
            images[row] = self._prepare(image, int(index))
            labels[row] = label if self.spec.num_classes else 0
        return images, labels

    def first(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns n images and labels spread evenly over the source, in its order; repeated if it has fewer."""
        return self.gather([i * len(self._source) // n for i in range(n)])

    def examples_of(self, label: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first n images of a class, fewer if it has fewer, and their labels.

        Raises:
          DataError: if label is not a class of the set.
        """
        if not 0 <= label < self.spec.num_classes:
            rule = (
                f"lie in 0..{self.spec.num_classes - 1}" if self.spec.num_classes else "be absent: there are no labels"
            )
            raise DataError(f"The class id (={label}) must {rule} in {self._source.name}.")
        found: list[int] = []
        for index in range(len(self._source)):
            if len(found) == n:
                break
            if self._source.label(index) == label:
                found.append(index)
        return self.gather(found)

    def _keeps(self, shape: tuple[int, int, int]) -> bool:
        """Whether the transform leaves images of that shape as they are."""
        height, width = self._data.height_width
        if shape != (height, width, self._data.channels):
            return False
        return crop_box(height, width, height=height, width=width, crop=self._data.crop) == (0, 0, height, width)

    def _all_images(self) -> np.ndarray | None:
        """Returns the whole transformed set where that takes no decoding, else None."""
        if isinstance(self._source, ArraySource):
            images = self._source.images
            return images if self._is_ready else np.stack([self._prepare(image) for image in images])
        return self._source.read_many(np.arange(len(self._source))) if self._is_ready else None

    def _prepare(self, image: np.ndarray, index: int | None = None) -> np.ndarray:
        height, width = self._data.height_width
        try:
            return prepare(image, height=height, width=width, channels=self._data.channels, crop=self._data.crop)
        except DataError as error:
            raise DataError(f"{self._source.where(index or 0)}: {error}") from error

    def _check_crop(self) -> None:
        smallest = self._source.smallest()
        if smallest is None:
            return
        height, width = self._data.height_width
        try:
            crop_box(*smallest[1:], height=height, width=width, crop=self._data.crop)
        except DataError as error:
            raise DataError(f"{smallest[0]}: {error}") from error


def _order(num_images: int, seed: int) -> Any:
    return grain.MapDataset.range(num_images).seed(seed).shuffle().repeat()


def flip_mask(seed: int, number: int, batch_size: int) -> np.ndarray:
    """Which images of global batch `number` are mirrored: bool (batch_size,), a pure function of its arguments.

    Raw bits of the counter-based Philox generator: NumPy guarantees that stream, and no other part of the batch's
    randomness uses it.
    """
    bits = np.random.Philox(key=np.array([seed, number], np.uint64)).random_raw(batch_size)
    return (bits & np.uint64(1)).astype(bool)


def open_dataset(data: DataConfig) -> Dataset:
    """Opens `data.source` and reports what was left out.

    Raises:
      DataError: see `open_source` and `Dataset`.
    """
    dataset = Dataset(open_source(data.source, skip_corrupt=data.skip_corrupt), data)
    if dataset.skipped:
        path, reason = dataset.skipped[0]
        logging.warning(
            "Left out %d unreadable of %d images of %s; first: %s (%s).",
            len(dataset.skipped), len(dataset.skipped) + dataset.spec.num_images, data.source, path, reason,
        )  # fmt: skip
    return dataset
