"""Images of any size for networks that take multiples of some number of pixels: padded, and cut afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxgan.generation.errors import RunError

Size = tuple[int, int]  # height and width, in pixels

LEAST_SIDE = 8  # pixels
MOST_SIZES = 16  # different padded sizes, each of which takes a compilation
_COARSE = 32  # pixels


def padded_sizes(sizes: Sequence[Size], multiple: int, trained_on: Size, names: Sequence[str] = ()) -> list[Size]:
    """Returns the size to which each image is padded.

    As few pixels as possible are added, since what is added takes part in the statistics of instance norm; an image
    whose sides are multiples already stays as it is. Only where that would leave more than MOST_SIZES sizes, the sides
    become multiples of 32 (or of `multiple` if that is larger), except where an image is too small for so many.

    Args:
      sizes: of the images.
      multiple: of which the sides must be multiples; 0 = images must have the size `trained_on`.
      trained_on: the size of the training images.
      names: of the images, for messages; empty = they have none.

    Raises:
      RunError: an image is smaller than LEAST_SIDE or than its own padding, or has another size where only one does.
    """
    for number, size in enumerate(sizes):
        _check(size, multiple, trained_on, names[number] if names else "an image")
    if not multiple:
        return list(sizes)
    padded = [_round_up(size, multiple) for size in sizes]
    if not is_coarse(sizes, multiple):
        return padded
    coarse = [_round_up(size, -(-_COARSE // multiple) * multiple) for size in sizes]
    return [large if _fits(size, large) else fine for size, fine, large in zip(sizes, padded, coarse, strict=True)]


def is_coarse(sizes: Sequence[Size], multiple: int) -> bool:
    """Whether there are so many sizes that more is added than is necessary; see `padded_sizes`."""
    return bool(multiple) and len({_round_up(size, multiple) for size in sizes}) > MOST_SIZES


def pad(image: np.ndarray, size: Size) -> np.ndarray:
    """Continues an image (H, W, C) by reflection, below and to the right; the border pixels are not repeated."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, size[0] - height), (0, size[1] - width), (0, 0)), mode="reflect")


def crop(image: np.ndarray, size: Size) -> np.ndarray:
    """Undoes `pad`: returns the upper left part of this size."""
    return image[: size[0], : size[1]]


def _round_up(size: Size, multiple: int) -> Size:
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


def _fits(size: Size, padded: Size) -> bool:
    return all(larger - side < side for side, larger in zip(size, padded, strict=True))


def _check(size: Size, multiple: int, trained_on: Size, name: str) -> None:
    if min(size) < LEAST_SIDE:
        raise RunError(
            f"{name} has {_text(size)} pixels, and at least {LEAST_SIDE} x {LEAST_SIDE} are needed; resize it."
        )
    if not multiple and size != trained_on:
        raise RunError(
            f"{name} has {_text(size)} pixels, but this run's network takes {_text(trained_on)} only; resize it."
        )
    if multiple and not _fits(size, _round_up(size, multiple)):
        needed = _text(_round_up(size, multiple))
        raise RunError(
            f"{name} has {_text(size)} pixels, too few to be continued by reflection to the {needed} that this run's "
            f"network needs; resize it, e.g. to {_text(trained_on)}."
        )


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
