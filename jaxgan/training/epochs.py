"""Summaries of epochs: means over all steps of one pass through the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Epoch(NamedTuple):
    """What one epoch was like."""

    number: int  # from 1
    step: int  # its last one
    num_steps: int  # that the means are over: fewer than the epoch has where a training was resumed within it
    means: Mapping[str, float]


class EpochMeans:
    """Collects the metrics of every step, and hands out the mean of each over each epoch.

    Epoch k ends with the first step after which all images were delivered k times. Unlike torchgan's "Mean Gradients"
    and "Mean Running Loss", which run from the start of the training, means start anew with every epoch, and gradient
    norms are norms, not their squares.

    Args:
      names: of the metrics.
      images_per_step: images of D's updates of one step.
      num_images: of the data set.
    """

    def __init__(self, names: Sequence[str], *, images_per_step: int, num_images: int):
        self._names = list(names)
        self._images_per_step, self._num_images = images_per_step, max(1, num_images)
        self._sum, self._count = np.zeros(len(self._names)), 0

    def add(self, step: int, values: np.ndarray) -> Epoch | None:
        """Takes the values of the next step; returns the epoch that ends with it, if one does."""
        self._sum, self._count = self._sum + values, self._count + 1
        number = step * self._images_per_step // self._num_images
        if number == (step - 1) * self._images_per_step // self._num_images:
            return None
        means = dict(zip(self._names, map(float, self._sum / self._count), strict=True))
        epoch = Epoch(number, step, self._count, means)
        self._sum, self._count = np.zeros(len(self._names)), 0
        return epoch
