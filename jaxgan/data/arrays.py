"""NumPy arrays as images and labels: checked, and converted to uint8 where they are floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.source import ArraySource

_BLOCK = 256  # images that are converted at once


def array_source(name: str, images: Any, labels: Any = None, num_classes: int | None = None) -> ArraySource:
    """Returns a source of images in memory.

    Args:
      name: for messages.
      images: (N, H, W, C) with C in 1, 3, 4, or (N, H, W); uint8 in 0..255, or floats in [-1, 1]; see `to_uint8`.
      labels: integers (N,) in 0..num_classes - 1; None = unlabelled.
      num_classes: None = the largest label + 1.

    Raises:
      DataError: if the arrays are anything else.
    """
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    check_shape(images.shape, 4, f"{name} has shape", "(N, H, W) or (N, H, W, C)")
    images = to_uint8(images, name)
    if labels is None:
        if num_classes:
            raise DataError(f"num_classes (={num_classes}) needs labels, but {name} has none; leave num_classes out.")
        return ArraySource(name, images, None)
    labels = np.asarray(labels)
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"The labels of {name} have shape {labels.shape}, but must have one integer for each of the "
            f"{len(images)} images, shape ({len(images)},); of one-hot labels take labels.argmax(axis=1)."
        )
    count = check_labels(labels, num_classes, f"The labels of {name}")
    return ArraySource(name, images, labels, [str(i) for i in range(count)])


def check_shape(shape: tuple[int, ...], num_axes: int, what: str, rule: str) -> None:
    """Raises DataError unless the last three of the axes are (H, W, C) with pixels and 1, 3 or 4 channels."""
    if len(shape) == num_axes and shape[-1] in (1, 3, 4) and min(shape) > 0:
        return
    fix = "empty images or sets cannot be learnt from" if 0 in shape else "arrange the axes so"
    if len(shape) == num_axes and shape[-3] in (1, 3, 4):
        fix = "move the channels to the end with np.moveaxis(images, -3, -1)"
    raise DataError(f"{what} {shape}, but must have {rule} with C = 1 (grey), 3 (RGB) or 4 (RGBA) channels; {fix}.")


def check_labels(labels: np.ndarray, num_classes: int | None, what: str) -> int:
    """Returns the number of classes: num_classes, or, for None, the largest label + 1.

    Raises:
      DataError: if the labels are no integers or out of range.
    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{what} are of type {labels.dtype}, but must be integers; convert them with .astype(np.int32)."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        rule = "not be negative" if num_classes is None else f"lie in 0..{num_classes - 1} (num_classes={num_classes})"
        raise DataError(f"{what} run from {low} to {high}, but must {rule}; number the classes from 0 on.")
    return high + 1 if num_classes is None else num_classes


def to_uint8(images: np.ndarray, what: str) -> np.ndarray:
    """Converts floats in [-1, 1] to round((x + 1) / 2 * 255), half to even, so 2k/255 - 1 becomes k; keeps uint8.

    Args:
      images: of any shape, at least one value.
      what: names them in a message.

    Raises:
      DataError: for values outside [-1, 1] or not finite, and for other types.
    """
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(
            f"{what} is of type {images.dtype}, but must be uint8 in 0..255 or floats in [-1, 1]; convert it, such as "
            "with .astype(np.uint8)."
        )
    low, high = images.min(), images.max()
    if not (low >= -1 and high <= 1):  # also where either is not a number
        raise DataError(
            f"{what} has values from {low:g} to {high:g}, but floats must lie in [-1, 1]; scale them (such as "
            "x / 127.5 - 1 for 0..255, 2 * x - 1 for 0..1), or give uint8."
        )
    converted = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK].astype(np.promote_types(images.dtype, np.float32))
        converted[start : start + _BLOCK] = np.rint((block + 1) / 2 * 255)
    return converted
