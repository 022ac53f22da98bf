"""The order of images, their flips and their crops: pure functions of the seed and the number of a batch.

Flips and crops are raw bits of the counter-based Philox generator, whose stream NumPy guarantees. All of them have the
key (seed, number of the global batch); each purpose counts within a range of its own (the highest of the four words of
Philox's counter says which), so no two of them ever see the same block, and no state is carried from batch to batch.
"""

from __future__ import annotations

from typing import Any

import grain
import numpy as np

_FLIPS, _CROPS = 0, 1


def order(num_images: int, seed: int) -> Any:
    """Returns the endless sequence of image numbers: every image once per epoch, each epoch in another order."""
    return grain.MapDataset.range(num_images).seed(seed).shuffle().repeat()


def domain_seed(seed: int, domain: int) -> int:
    """Returns the seed, 0..2^32 - 1, of one of several domains whose orders, flips and crops shall be unrelated."""
    return int(np.random.SeedSequence(seed, spawn_key=(domain,)).generate_state(1)[0])


def flip_mask(seed: int, number: int, batch_size: int) -> np.ndarray:
    """Which images of global batch `number` are mirrored: bool (batch_size,), a pure function of its arguments."""
    return (_bits(_FLIPS, seed, number, batch_size) & np.uint64(1)).astype(bool)


def crop_offsets(
    seed: int, number: int, batch_size: int, *, image_size: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Where the images of global batch `number` are cut: a pure function of the arguments.

    Args:
      seed: of the run or the domain.
      number: of the global batch.
      batch_size: images in it.
      image_size: (height, width) of the images, in pixels.
      size: (height, width) of the parts, at most image_size.

    Returns:
      int64 (batch_size, 2): top and left pixel, uniform over all places where the part fits (but for 2^-64 times their
      number).
    """
    places = np.array([whole - part + 1 for whole, part in zip(image_size, size, strict=True)], np.uint64)
    bits = _bits(_CROPS, seed, number, 2 * batch_size).reshape(batch_size, 2)
    return (bits % places[None, :]).astype(np.int64)


def _bits(purpose: int, seed: int, number: int, count: int) -> np.ndarray:
    counter = np.array([0, 0, 0, purpose], np.uint64)
    return np.random.Philox(key=np.array([seed, number], np.uint64), counter=counter).random_raw(count)
