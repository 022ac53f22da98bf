"""Crop, channel conversion and resize of one image; all of it uint8 in, uint8 out.

The resize is Pillow's `Image.resize`, whose filters' support grows with the reduction: antialiased at every ratio. Its
bilinear filter is the default, which is what the published recipes use (torchvision on PIL images, nnabla-examples'
SAGAN); unlike `cv2.INTER_LINEAR` or `tf.image.resize` with default arguments it does not skip pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from jaxgan.data.errors import DataError

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "area": Image.Resampling.BOX,  # another name: a reduction takes the mean of the area that becomes a pixel
}


def prepare(
    image: np.ndarray, *, height: int, width: int, channels: int, crop: str, resample: str = "bilinear"
) -> np.ndarray:
    """Brings an image of any size to the size and number of channels that a model is trained on.

    Args:
      image: uint8 (H, W, C), C in 1, 3, 4.
      height: pixels.
      width: pixels.
      channels: 1 (grey), 3 (RGB) or 4 (RGBA).
      crop: see `crop_box`; or "shorter_side": the image is resized to the smallest size of its proportions that covers
        the target (for a square: its shorter side becomes the target's), then the excess around the centre is cut off.
        That differs from "center" by the fractions of a pixel to which sizes and offsets are rounded.
      resample: one of FILTERS.

    Returns:
      uint8 (height, width, channels).

    Raises:
      DataError: if the image is smaller than the crop.

    Reference: "shorter_side" is torchvision's `Resize(N)` then `CenterCrop(N)`, which is also the order of
      nnabla-examples' `preprocess.sh`; the longer side is rounded to the nearest pixel as ImageMagick does there, while
      torchvision rounds down.
    """
    if crop != "shorter_side":
        image = _cut(image, height=height, width=width, crop=crop)
    if image.shape[2] > channels:
        image = convert_channels(image, channels)
    if crop == "shorter_side":
        image = _cover(image, height=height, width=width, resample=resample)
    # Grey and opaque images gain channels after the resize: the same values for less work.
    return convert_channels(resize(image, height=height, width=width, resample=resample), channels)


def _cut(image: np.ndarray, *, height: int, width: int, crop: str) -> np.ndarray:
    top, left, rows, columns = crop_box(*image.shape[:2], height=height, width=width, crop=crop)
    return image[top : top + rows, left : left + columns]


def _cover(image: np.ndarray, *, height: int, width: int, resample: str) -> np.ndarray:
    scale = max(height / image.shape[0], width / image.shape[1])
    rows, columns = max(height, round(scale * image.shape[0])), max(width, round(scale * image.shape[1]))
    image = resize(image, height=rows, width=columns, resample=resample)
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    return image[top : top + height, left : left + width]


def crop_box(image_height: int, image_width: int, *, height: int, width: int, crop: str) -> tuple[int, int, int, int]:
    """Returns (top, left, rows, columns), in pixels, of the part that is kept.

    Args:
      image_height: pixels.
      image_width: pixels.
      height: pixels of the target.
      width: pixels of the target.
      crop: "none" keeps everything (the resize then squashes), "center" the largest centred part with the target's
        aspect ratio, "center:N" the N x N pixels in the centre (squashed if the target is not square).

    Raises:
      DataError: if crop is "center:N" and a side of the image is shorter than N.

    Reference: "center:N" is torchvision's `CenterCrop(N)` down to the rounding of the offsets (half to even); it pads
      images that are too small with black, which a GAN would learn, so that is an error here.
    """
    if crop == "none" or crop.startswith("random:"):
        return 0, 0, image_height, image_width
    if crop == "center":
        rows = max(1, min(image_height, round(image_width * height / width)))
        columns = max(1, min(image_width, round(image_height * width / height)))
    else:
        rows = columns = int(crop.removeprefix("center:"))
        if min(image_height, image_width) < rows:
            raise DataError(
                f"An image of {image_height} x {image_width} pixels is smaller than data.crop={crop!r}; choose at most "
                f"center:{min(image_height, image_width)}, or center for the largest crop that fits."
            )
    return round((image_height - rows) / 2), round((image_width - columns) / 2), rows, columns


def loaded_size(height: int, width: int, crop: str) -> tuple[int, int]:
    """Returns (height, width), in pixels, of the images out of which training cuts parts of the size of the target.

    Args:
      height: pixels of the target.
      width: pixels of the target.
      crop: "random:N" gives N pixels of height, at least the target's, and a width of the target's proportions (half a
        pixel to even); all others give the target's own size: nothing is left to cut.

    Reference: CycleGAN's `resize_and_crop` with load_size N and crop_size `height`. There the resize is bicubic, which
      since Pillow 2.7 is as antialiased as the bilinear one here but overshoots at edges.
    """
    if not crop.startswith("random:"):
        return height, width
    rows = int(crop.removeprefix("random:"))
    if rows < height:
        raise DataError(f"data.crop (={crop!r}) must have at least data.resolution (={height}) pixels.")
    return rows, round(rows * width / height)


def cut(images: np.ndarray, offsets: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Cuts (height, width) pixels out of each image of a batch, uint8 (N, H, W, C), at offsets (N, 2): (top, left)."""
    parts = np.empty((len(images), height, width, images.shape[3]), images.dtype)
    for i, (top, left) in enumerate(offsets.tolist()):
        parts[i] = images[i, top : top + height, left : left + width]
    return parts


def convert_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Converts between grey, RGB and RGBA.

    Grey is the ITU-R 601 luma, rounded as Pillow does. Alpha is added as 255. Where alpha is removed, the image is laid
    over white: Pillow's `convert("RGB")` uncovers whatever colour transparent pixels happen to store.

    Args:
      image: uint8 (H, W, C), C in 1, 3, 4.
      channels: 1, 3 or 4.

    Returns:
      uint8 (H, W, channels).
    """
    if image.shape[2] == channels:
        return image
    if image.shape[2] == 4:
        alpha = image[:, :, 3:].astype(np.uint16)
        image = ((image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    if image.shape[2] == 3 and channels == 1:
        return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]
    if image.shape[2] == 1 and channels > 1:
        image = image.repeat(3, axis=2)
    if channels == 4:
        image = np.concatenate([image, np.full_like(image[:, :, :1], 255)], axis=2)
    return image


def resize(image: np.ndarray, *, height: int, width: int, resample: str = "bilinear") -> np.ndarray:
    """Resizes uint8 (H, W, C) to (height, width, C): antialiased, alpha-weighted for RGBA."""
    if image.shape[:2] == (height, width):
        return image
    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    resized = np.asarray(picture.resize((width, height), FILTERS[resample]))
    return resized.reshape(height, width, image.shape[2])


def flip(images: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mirrors the images of a batch, uint8 (N, H, W, C), left to right where mask, bool (N,), is True."""
    flipped = images.copy()
    for i in np.flatnonzero(mask):  # a tenth of the time that NumPy takes to reverse an axis of pixels
        cv2.flip(images[i], 1, dst=flipped[i])
    return flipped
