"""Images for people: from the networks' range to bytes, tiled into grids, written as PNG files."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def to_uint8(images: Any) -> np.ndarray:
    """Maps floats in [-1, 1] to 0 ... 255 by round((x + 1) / 2 * 255), ties to even; uint8 passes through.

    Values outside are clipped, NaN becomes 0: the images of a diverged run can be looked at too.

    Raises:
      ValueError: for integers other than uint8, whose range is unknown.
    """
    array = np.asarray(images)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "iub":
        raise ValueError(f"images (dtype {array.dtype}) must be uint8 in 0 ... 255 or floats in [-1, 1]; convert them.")
    unit = (np.clip(np.nan_to_num(array.astype(np.float32), nan=-1.0), -1.0, 1.0) + 1.0) / 2.0
    return np.round(unit * 255.0).astype(np.uint8)


def grid_columns(num_images: int) -> int:
    """Returns the columns of the most nearly square grid for `num_images`, wide rather than tall."""
    return max(1, math.isqrt(max(0, num_images - 1)) + 1)


def display_scale(height: int) -> int:
    """Returns the whole factor by which small images are magnified to be seen: to about 64 pixels."""
    return max(1, 64 // height)


def grid(images: Any, *, columns: int, padding: int = 2, scale: int = 1) -> np.ndarray:
    """Tiles images row by row on a black (RGBA: transparent) ground.

    Args:
      images: (N, H, W, C), uint8 or floats in [-1, 1]; N >= 1, C = 1, 3 or 4.
      columns: images per row; the last row may be shorter.
      padding: pixels around and between the images, not magnified.
      scale: whole factor by which each pixel is repeated (nearest neighbour).

    Returns:
      uint8 (rows * (H * scale + padding) + padding, columns * (W * scale + padding) + padding, C).

    Raises:
      ValueError: naming the argument out of range.
    """
    tiles = to_uint8(images)
    if tiles.ndim != 4 or tiles.shape[0] == 0:
        raise ValueError(f"images (shape {tiles.shape}) must be (N, H, W, C) with at least one image; add the axis.")
    for name, value, low in (("columns", columns, 1), ("padding", padding, 0), ("scale", scale, 1)):
        if value < low:
            raise ValueError(f"{name} (={value}) must be at least {low}; raise it.")
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, channels = tiles.shape
    pitch_y, pitch_x = height + padding, width + padding
    rows = -(-count // columns)
    canvas = np.zeros((rows * pitch_y + padding, columns * pitch_x + padding, channels), np.uint8)
    for index, tile in enumerate(tiles):
        top = padding + index // columns * pitch_y
        left = padding + index % columns * pitch_x
        canvas[top : top + height, left : left + width] = tile
    return canvas


def encode_png(image: np.ndarray) -> bytes:
    """Returns the PNG file of a uint8 image (H, W, C), C = 1 grey, 3 RGB or 4 RGBA.

    Raises:
      ValueError: for another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in _MODES:
        raise ValueError(
            f"image (dtype {image.dtype}, shape {image.shape}) must be uint8 (H, W, C) with 1, 3 or 4 channels; "
            "convert it with to_uint8 and one image at a time."
        )
    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels), _MODES[image.shape[2]]).save(buffer, format="PNG")
    return buffer.getvalue()


def write_png(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes a uint8 image (H, W, C) as PNG, creating the folder; a reader sees the whole file or none.

    Raises:
      ValueError: as `encode_png`, before anything is written.
    """
    path = Path(path)
    data = encode_png(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
