"""From a source to training batches whose order is a pure function of (seed, step).

Grain shuffles *indices*: `MapDataset.range(N).seed(seed).shuffle().repeat()` is a random-access sequence that visits
every image once per epoch, in another order each epoch. Global batch n is rows [n B, (n + 1) B) of it, and a process
reads only its own part of each. So there is no iterator state to save, and another number of processes or threads sees
the same data.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence

import grain
import numpy as np

from jaxgan.config import DataConfig
from jaxgan.data.errors import DataError
from jaxgan.data.prepared import PreparedImages
from jaxgan.data.randomness import crop_offsets, flip_mask, order
from jaxgan.data.source import Source
from jaxgan.data.spec import DataSpec
from jaxgan.data.transforms import cut, flip, loaded_size

Batch = dict[str, np.ndarray]


class Dataset:
    """A source behind its transform.

    With crop="random:N" training reads the images at the larger size and cuts random parts out of them; everything
    else (`gather`, `first`, `examples`, `examples_of`) sees whole images, squashed straight to the training images'
    size. The larger ones are then what memory holds, and `gather` prepares its images anew.

    Args:
      source: random access to images.
      data: size, channels, crop, flip, labels and the number of threads; `data.source` is not read.

    Raises:
      DataError: if an image is known to be smaller than the crop.
    """

    def __init__(self, source: Source, data: DataConfig):
        self.source = source
        self.data = data
        height, width = data.height_width
        class_names = source.class_names if data.labels else ()
        self.spec = DataSpec(
            height, width, data.channels, len(class_names), class_names, len(source), source.fingerprint
        )
        load_height, load_width = loaded_size(height, width, data.crop)
        self._cuts = (load_height, load_width) != (height, width)
        self._whole = PreparedImages(
            source, height=height, width=width, channels=data.channels, crop=data.crop, hold=not self._cuts
        )
        self._loaded = self._whole
        if self._cuts:
            self._loaded = PreparedImages(
                source, height=load_height, width=load_width, channels=data.channels, crop="none"
            )

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of the unreadable images that were left out so far; grows only if data.skip_corrupt is on."""
        return self.source.skipped

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
          seed: of the order, the flips and the crops.
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
        read_step = self.step_reader(
            seed=seed, batch_size=batch_size, num_d_steps=num_d_steps, process_index=process_index,
            process_count=process_count,
        )  # fmt: skip
        return read_ahead(read_step, self.data, start_step, stop_step)

    def step_reader(
        self, *, seed: int, batch_size: int, num_d_steps: int, process_index: int, process_count: int
    ) -> Callable[[int], Batch]:
        """Returns the pure function from a step to what `batches`, with these arguments, yields for it."""
        if batch_size % process_count:
            raise DataError(
                f"batch_size (={batch_size}) must be a multiple of the number of processes (={process_count}); "
                f"try {-(-batch_size // process_count) * process_count}."
            )
        index_of = order(len(self.source), seed)
        local = batch_size // process_count
        part = slice(process_index * local, (process_index + 1) * local)

        def read_step(step: int) -> Batch:
            numbers = range(step * num_d_steps, (step + 1) * num_d_steps)
            rows = [number * batch_size + row for number in numbers for row in range(part.start, part.stop)]
            images, labels = self._loaded.gather(
                [int(index_of[row]) for row in rows], with_labels=self.spec.num_classes > 0
            )
            images = self._augment(images, seed, numbers, batch_size, part)
            lead = (num_d_steps, local)
            return {"images": images.reshape(*lead, *images.shape[1:]), "labels": labels.reshape(lead)}

        return read_step

    def _augment(self, images: np.ndarray, seed: int, numbers: range, batch_size: int, part: slice) -> np.ndarray:
        """Cuts and flips the rows `part` of the global batches `numbers`."""
        height, width = self.data.height_width
        if self._cuts:
            sizes = {"image_size": images.shape[1:3], "size": (height, width)}
            offsets = np.concatenate([crop_offsets(seed, n, batch_size, **sizes)[part] for n in numbers])
            images = cut(images, offsets, height=height, width=width)
        if self.data.flip:
            images = flip(images, np.concatenate([flip_mask(seed, n, batch_size)[part] for n in numbers]))
        return images

    def gather(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the transformed, unflipped images uint8 (n, H, W, C) and labels int32 (n,) of these indices."""
        return self._whole.gather(indices, with_labels=self.spec.num_classes > 0)

    def first(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns n images and labels spread evenly over the source, in its order; repeated if it has fewer."""
        return self.gather([i * len(self.source) // n for i in range(n)])

    def examples(self, n: int) -> Batch:
        """Returns what `first` does as {"images": uint8 (n, H, W, C), "labels": int32 (n,)}."""
        images, labels = self.first(n)
        return {"images": images, "labels": labels}

    def examples_of(self, label: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first n images of a class, fewer if it has fewer, and their labels.

        Raises:
          DataError: if label is not a class of the set.
        """
        if not 0 <= label < self.spec.num_classes:
            rule = (
                f"lie in 0..{self.spec.num_classes - 1}" if self.spec.num_classes else "be absent: there are no labels"
            )
            raise DataError(f"The class id (={label}) must {rule} in {self.source.name}.")
        found: list[int] = []
        for index in range(len(self.source)):
            if len(found) == n:
                break
            if self.source.label(index) == label:
                found.append(index)
        return self.gather(found)


def read_ahead(
    read_step: Callable[[int], Batch], data: DataConfig, start_step: int, stop_step: int | None
) -> Generator[Batch, None, None]:
    """Yields read_step(start_step), read_step(start_step + 1), ...; several threads read ahead until it is closed."""
    steps = grain.MapDataset.range(start_step, sys.maxsize if stop_step is None else stop_step).map(read_step)
    options = grain.ReadOptions(num_threads=data.num_threads, prefetch_buffer_size=max(data.prefetch, data.num_threads))
    iterator = iter(steps.to_iter_dataset(options))
    try:
        yield from iterator
    finally:
        iterator.close()  # also where reading fails
