"""From images of any size to the 299 x 299 that Inception sees: three ways, as the three common tools have it.

They are not interchangeable: on the same images their scores differ by far more than their error bars (Parmar et al.
2022, arXiv:2104.11222), so the name of the resizer is a part of every score's protocol.

- `tf1`: the graph's own resize, TensorFlow 1's bilinear: pixel i of the output looks at i * in / out of the input, no
  half-pixel centres, no antialiasing. Reference: torch-fidelity, and the TensorFlow original.
- `bilinear`: on pixels in [0, 1], with half-pixel centres and no antialiasing. Reference: pytorch-fid.
- `clean`: Pillow's bicubic, antialiased, each channel in float32, clipped to 0..255, not rounded. Reference: clean-fid.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxgan.data.transforms import convert_channels
from jaxgan.evaluation.errors import EvaluationError

SIZE = 299  # pixels
RESIZERS = ("tf1", "bilinear", "clean")


def check_resizer(name: str) -> None:
    """Raises EvaluationError unless `name` is one of RESIZERS."""
    if name not in RESIZERS:
        raise EvaluationError(f"The resizer (={name!r}) must be one of {', '.join(RESIZERS)}.")


def to_rgb(images: np.ndarray) -> np.ndarray:
    """Returns uint8 (N, H, W, 3): grey is repeated, transparent pixels are laid over white as in the data pipeline.

    Raises:
      EvaluationError: the images are not uint8 (N, H, W, C) with C in 1, 3, 4.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3, 4) or 0 in images.shape[1:]:
        raise EvaluationError(
            f"Images to evaluate are {images.dtype} of shape {images.shape}, but must be uint8 of shape (N, H, W, C) "
            "with C in 1, 3, 4; scale them to 0..255 first."
        )
    if images.shape[3] == 3:
        return images
    rgb = np.empty((*images.shape[:3], 3), np.uint8)
    for i, image in enumerate(images):
        rgb[i] = convert_channels(image, 3)
    return rgb


def resize(images: jax.Array, name: str) -> jax.Array:
    """Resizes on the device by "tf1" or "bilinear".

    Args:
      images: uint8 (B, H, W, 3).
      name: the resizer.

    Returns:
      float32 (B, 299, 299, 3): (pixels - 128) / 128 with "tf1", 2 pixels / 255 - 1 with "bilinear".
    """
    height, width = images.shape[1:3]
    rows, columns = (jnp.asarray(interpolation_matrix(side, name)) for side in (height, width))
    pixels = images.astype(jnp.float32)
    if name == "bilinear":
        pixels = pixels / 255
    # Two matrix products: gathers of single pixels are slow on accelerators. Their default precision would cost a bit.
    product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    resized = product("iy,byxc->bixc", rows, pixels)
    resized = product("jx,bixc->bijc", columns, resized)
    return 2 * resized - 1 if name == "bilinear" else (resized - 128) / 128


def interpolation_matrix(side: int, name: str) -> np.ndarray:
    """Returns float32 (299, side): row i holds the weights of the pixels that output pixel i is mixed from."""
    targets = np.arange(SIZE, dtype=np.float64)
    sources = targets * side / SIZE if name == "tf1" else (targets + 0.5) * side / SIZE - 0.5
    sources = np.clip(sources, 0, side - 1)
    low = np.floor(sources).astype(int)
    high = np.minimum(low + 1, side - 1)
    matrix = np.zeros((SIZE, side))
    matrix[np.arange(SIZE), low] += 1 - (sources - low)
    matrix[np.arange(SIZE), high] += sources - low
    return matrix.astype(np.float32)


def resize_clean(images: np.ndarray) -> np.ndarray:
    """Resizes on the host by "clean".

    Args:
      images: uint8 (B, H, W, 3).

    Returns:
      float32 (B, 299, 299, 3), (pixels - 128) / 128.
    """
    with ThreadPoolExecutor() as pool:  # Pillow releases the interpreter's lock
        return np.stack(list(pool.map(_resize_clean_one, images)))


def _resize_clean_one(image: np.ndarray) -> np.ndarray:
    channels = [Image.fromarray(image[:, :, c].astype(np.float32)) for c in range(image.shape[2])]  # mode "F"
    resized = [channel.resize((SIZE, SIZE), Image.Resampling.BICUBIC) for channel in channels]
    pixels = np.stack([np.asarray(channel) for channel in resized], axis=-1)
    return (np.clip(pixels, 0, 255) - 128) / 128
