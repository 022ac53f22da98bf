"""How diverse a grid of samples is, relative to real images, without weights of anything trained.

A generator that ignores z draws one image for all z, or one per class. Then the images of one class (of the whole
grid, without classes) have hardly any distance to each other. Distances are taken in two fixed spaces: pixels averaged
to at most 8x8, and rectified responses of 16 fixed random 5x5 filters, averaged to at most 4x4. Random filters tell
textures apart that the averages do not (Jarrett et al. 2009, "What is the best multi-stage architecture for object
recognition?", on features of filters that were never trained). It measures no quality, and not whether modes are
missing: for those there are scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from jaxgan.data.dataset import Dataset
from jaxgan.data.domains import DomainsDataset

_PIXELS, _SIDE, _FILTERS, _KERNEL, _POOLED = 8, 32, 16, 5, 4


class DiversityMeter:
    """Measures sample grids of one run; reads the real images when it is first asked."""

    def __init__(self, dataset: Dataset, labels: np.ndarray, columns: int):
        """Prepares; see `make_meter`.

        Args:
          dataset: the real images.
          labels: int (N,), of the grid's images.
          columns: real images per class that are compared.
        """
        self._dataset, self._labels, self._columns = dataset, labels, columns
        self._real: list[float] | None = None

    def measure(self, images: np.ndarray) -> float:
        """Returns the diversity of float32 (N, H, W, C) in [-1, 1], as a fraction of that of real images."""
        if self._real is None:
            self._real = _distances(self._real_groups())
        groups = [images[self._labels == label] for label in np.unique(self._labels)]
        found = _distances(groups)
        ratios = [fake / real for fake, real in zip(found, self._real, strict=True) if real > 0]
        ratio = float(np.mean(ratios)) if ratios else 1.0  # real images that are all alike cannot be told from copies
        return _of_primary(ratio)

    def _real_groups(self) -> list[np.ndarray]:
        classes = np.unique(self._labels)
        if len(classes) > 1 and self._dataset.spec.num_classes:
            groups = [self._dataset.examples_of(int(label), self._columns)[0] for label in classes]
        else:
            groups = []
        if not any(len(group) > 1 for group in groups):
            groups = [self._dataset.first(max(2, len(self._labels)))[0]]
        return [group.astype(np.float32) / 127.5 - 1.0 for group in groups]


def make_meter(dataset: Dataset | DomainsDataset, inputs: Any, columns: int) -> DiversityMeter | None:
    """Returns the meter of a run's sample grids.

    None where G draws from no latents (a translator's output follows its input), or where the grid has no two images
    of one class.

    Args:
      dataset: the data of the run.
      inputs: of the grid, from `Method.sample_inputs`.
      columns: of the grid.
    """
    if isinstance(dataset, DomainsDataset) or not (isinstance(inputs, Mapping) and {"z", "labels"} <= inputs.keys()):
        return None
    labels = np.asarray(jax.device_get(inputs["labels"]))
    if labels.ndim != 1 or len(np.unique(labels)) == len(labels):
        return None
    return DiversityMeter(dataset, labels, max(2, columns))


def _distances(groups: Iterable[np.ndarray]) -> list[float]:
    """Mean distance of two images of the same group, in each of the spaces."""
    sums, count = np.zeros(2), 0
    for images in groups:
        first, second = np.triu_indices(len(images), k=1)
        if not len(first):
            continue
        for i, features in enumerate((_pixels(images), _responses(images))):
            sums[i] += np.linalg.norm(features[first] - features[second], axis=1).sum()
        count += len(first)
    return list(sums / max(count, 1))


def _pixels(images: np.ndarray) -> np.ndarray:
    return _average(images, _PIXELS).reshape(len(images), -1)


def _responses(images: np.ndarray) -> np.ndarray:
    images = _average(images, _SIDE)
    if min(images.shape[1:3]) < _KERNEL:
        return _pixels(images)
    filters = np.random.default_rng(0).normal(size=(_FILTERS, images.shape[3], _KERNEL, _KERNEL))
    filters -= filters.mean(axis=(2, 3), keepdims=True)  # blind to brightness, which the pixels measure
    filters /= np.sqrt((filters**2).sum(axis=(1, 2, 3), keepdims=True))
    windows = np.lib.stride_tricks.sliding_window_view(images, (_KERNEL, _KERNEL), axis=(1, 2))[:, ::2, ::2]
    maps = np.maximum(np.einsum("nyxcij,fcij->nyxf", windows, filters.astype(np.float32), optimize=True), 0.0)
    return _average(maps, _POOLED).reshape(len(images), -1)


def _average(images: np.ndarray, side: int) -> np.ndarray:
    """Averages (N, H, W, C) over equal squares, so that about `side` (up to twice as many) remain along each axis."""
    count, height, width, channels = images.shape
    tall, wide = max(1, height // side), max(1, width // side)
    images = images[:, : height // tall * tall, : width // wide * wide]
    return images.reshape(count, height // tall, tall, width // wide, wide, channels).mean(axis=(2, 4))


def _of_primary(ratio: float) -> float:
    """The same number on all processes, whose arithmetic may differ in the last bits: they must decide alike."""
    if jax.process_count() == 1:
        return ratio
    from jax.experimental import multihost_utils

    with jax.transfer_guard("allow"):
        return float(multihost_utils.broadcast_one_to_all(np.float32(ratio)))
