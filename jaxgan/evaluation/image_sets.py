"""What is evaluated, and against what: real images of a source, or a generator's, batch by batch as uint8."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from jaxgan.config import DataConfig
from jaxgan.core.state import Average
from jaxgan.data.pipeline import Dataset
from jaxgan.data.source import Source
from jaxgan.data.transforms import convert_channels
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.generation import generate as generate_lib
from jaxgan.generation import translate as translate_lib
from jaxgan.generation.images import to_uint8

Batch = tuple[np.ndarray, np.ndarray]  # images uint8 (B, H, W, C), labels int32 (B,)

_THREADS = 2  # that read real images
_AHEAD = 4  # batches read before they are asked for
_TRANSLATED = 8  # images translated at once, on each device: the maps of a generator are as large as its images


class ImageSet(Protocol):
    """Some images; their labels are zeros where `num_classes` is 0."""

    @property
    def name(self) -> str: ...

    @property
    def num(self) -> int: ...

    @property
    def num_classes(self) -> int: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def batches(self, batch_size: int) -> Iterator[Batch]: ...


@dataclasses.dataclass(frozen=True)
class RealImages:
    """Images of a data source, spread evenly over it where fewer than all are taken: sources may be sorted by class.

    Attributes:
      name: the source string.
      num: images to take, at most `total`.
      total: images of the source.
      fingerprint: of the source's content.
      preprocessing: what happens to an image before the extractor, for the protocol.
      class_names: one per class; empty where unlabelled.
      gather: rows of the source -> batch; called from several threads.
    """

    name: str
    num: int
    total: int
    fingerprint: str
    preprocessing: str
    class_names: tuple[str, ...]
    gather: Callable[[np.ndarray], Batch]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the `num` images in the order of the source."""
        rows = _spread(self.num, self.total)
        parts = (rows[start : start + batch_size] for start in range(0, self.num, batch_size))
        with ThreadPoolExecutor(_THREADS) as pool:
            waiting: collections.deque[Future[Batch]] = collections.deque()
            try:
                waiting.extend(pool.submit(self.gather, part) for part in itertools.islice(parts, _AHEAD))
                while waiting:
                    batch = waiting.popleft().result()
                    waiting.extend(pool.submit(self.gather, part) for part in itertools.islice(parts, 1))
                    yield batch
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def examples(self, most: int) -> Batch:
        """Returns at most `most` of the images, spread evenly over them."""
        rows = _spread(self.num, self.total)
        return self.gather(rows[_spread(min(most, self.num), self.num)])


def from_dataset(dataset: Dataset, data: DataConfig, num: int = 0, *, domain: str = "") -> RealImages:
    """Returns the images as a training on `data` sees them, whole and unflipped.

    Args:
      dataset: opened from `data`.
      data: names the source and the transform.
      num: images; 0 = all.
      domain: "A" or "B", where the source has two.

    Raises:
      EvaluationError: for more images than there are.
    """
    spec = dataset.spec
    name = f"{domain} of {data.source}" if domain else data.source
    if not 0 <= num <= spec.num_images:
        raise EvaluationError(
            f"num_reference (={num}) must be at most {spec.num_images}, the images of {name}; 0 takes all."
        )
    crop = "none" if data.crop.startswith("random:") else data.crop
    preprocessing = f"crop={crop}, size={spec.height}x{spec.width}, channels={spec.channels}"
    return RealImages(
        name, num or spec.num_images, spec.num_images, spec.fingerprint, preprocessing, spec.class_names,
        dataset.gather,
    )  # fmt: skip


def from_source(source: Source) -> RealImages:
    """Returns the images of a source at their own size, as RGB: grey is repeated, transparency laid over white.

    Reading raises EvaluationError where their sizes differ: a resize would have to be chosen, and is a part of what a
    score depends on.
    """
    first = functools.cache(lambda: source.read(0).shape[:2])

    def gather(rows: np.ndarray) -> Batch:
        images = []
        for row in (int(row) for row in rows):
            image = source.read(row)
            if image.shape[:2] != first():
                raise EvaluationError(
                    f"all images of {source.name} must have one size, but {source.where(0)} is {_size(first())} and "
                    f"{source.where(row)} is {_size(image.shape)} pixels; resize them with `python -m jaxgan prepare`."
                )
            images.append(convert_channels(image, 3))
        labels = source.labels
        return np.stack(images), np.zeros(len(rows), np.int32) if labels is None else labels[rows]

    count = len(source)
    return RealImages(source.name, count, count, source.fingerprint, "own size, RGB", source.class_names, gather)


@dataclasses.dataclass(frozen=True)
class GeneratedImages:
    """Samples 0 ... num - 1 of a seed, rounded to uint8 exactly as `generate` writes them to PNG files.

    Attributes:
      name: for messages.
      num: images.
      source: what draws them; an opened `Run` is one.
      variables: weights and statistics of all its networks.
      seed: of z and labels.
      truncation: bound of the elements of z; None = none.
      class_names: of the run; empty where they are unknown.
    """

    name: str
    num: int
    source: generate_lib.Source
    variables: Mapping[str, Average]
    seed: int = 0
    truncation: float | None = None
    class_names: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return self.source.num_classes

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the images and the labels that they were asked for."""
        batches = generate_lib.generate(
            self.source,
            self.num,
            seed=self.seed,
            batch_size=batch_size,
            truncation=self.truncation,
            variables=self.variables,
        )
        for images, inputs in batches:
            yield to_uint8(images), inputs["labels"]


@dataclasses.dataclass(frozen=True)
class TranslatedImages:
    """Translations of images, rounded to uint8 exactly as `translate` writes them to PNG files.

    Attributes:
      name: for messages.
      inputs: what is translated.
      direction: a2b | b2a.
      source: what translates; an opened `Run` is one.
      variables: weights and statistics of all its networks.
      seed: of the dropout of a generator that has any.
    """

    name: str
    inputs: RealImages
    direction: str
    source: translate_lib.Source
    variables: Mapping[str, Average]
    seed: int = 0
    num_classes: int = 0
    class_names: tuple[str, ...] = ()

    @property
    def num(self) -> int:
        return self.inputs.num

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the translations in the order of the inputs, and zeros."""
        start = 0
        for images, labels in self.inputs.batches(batch_size):
            translations = translate_lib.translate(
                self.source,
                images,
                self.direction,
                seed=self.seed,
                batch_size=min(batch_size, _TRANSLATED * self.source.mesh.size),
                variables=self.variables,
                start=start,
            )
            start += len(images)
            yield to_uint8(translations), np.zeros_like(labels)


def _spread(num: int, total: int) -> np.ndarray:
    return np.arange(num, dtype=np.int64) * total // num


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"
