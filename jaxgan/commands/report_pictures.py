"""Pictures inside the page: encoded to data URIs within a budget of bytes."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image

from jaxgan.generation import images as images_lib

_QUALITIES = (90, 75)  # of WebP, tried in this order where a PNG is too large
_LEAST_SIDE = 64  # pixels; nothing is made smaller


def picture(image: np.ndarray | Path, alt: str, *, budget: int, attributes: str = "") -> str:
    """Returns an <img> that holds its picture.

    Args:
      image: uint8 (H, W, C), or the name of an image file.
      alt: description for those who do not see it, plain text.
      budget: bytes that the picture should not exceed; a larger one is encoded with losses, and then halved in size.
      attributes: further attributes, trusted HTML.

    Raises:
      OSError: the file cannot be read or is not an image.
    """
    if isinstance(image, Path):
        encoded = image.read_bytes()
        with Image.open(io.BytesIO(encoded)) as opened:
            kind = (opened.format or "").lower()
            opened.load()
            size, pixels = opened.size, opened.copy()
    else:
        encoded, kind = images_lib.encode_png(image), "png"
        size, pixels = (image.shape[1], image.shape[0]), Image.open(io.BytesIO(encoded))
    if len(encoded) > budget or kind != "png":
        encoded, kind = _compress(pixels, budget)
    text = base64.b64encode(encoded).decode("ascii")
    more = f" {attributes}" if attributes else ""
    source = f"data:image/{kind};base64,{text}"
    return f'<img src="{source}" alt="{html.escape(alt)}" width="{size[0]}" height="{size[1]}"{more}>'


def _compress(pixels: Image.Image, budget: int) -> tuple[bytes, str]:
    """Returns the best encoding that fits, else the smallest that was tried."""
    pixels = pixels if pixels.mode in ("RGB", "RGBA") else pixels.convert("RGB")
    while True:
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            pixels.save(buffer, format="WEBP", quality=quality, method=2)
            if buffer.tell() <= budget:
                return buffer.getvalue(), "webp"
        if min(pixels.size) < 2 * _LEAST_SIDE:
            return buffer.getvalue(), "webp"
        pixels = pixels.resize((pixels.width // 2, pixels.height // 2), Image.Resampling.LANCZOS)


def enlarge(images: np.ndarray, side: int) -> np.ndarray:
    """Repeats the pixels of uint8 (N, H, W, C) by the whole factor that brings the shorter side to at least `side`."""
    factor = max(1, -(-side // min(images.shape[1:3])))
    return images.repeat(factor, axis=1).repeat(factor, axis=2)
