"""Bytes of an image file to uint8 pixels.

OpenCV decodes JPEG, PNG and WebP (about twice Pillow's rate), Pillow everything else and whatever OpenCV refuses.

OpenCV before version 5 returns a JPEG that ends too early with its lower part grey and no error. So a JPEG or PNG whose
end marker is missing always goes to Pillow, which raises if pixels are missing and accepts a file that only carries
foreign bytes behind its end.

An image of another size than it may have is refused by its header, before anything is allocated. Pillow is asked for
the formats below alone: it knows some, such as PostScript, that it has other programs run for.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxgan.data.image_header import declared_size

MAX_PIXELS = 89_478_485  # of one image: from here on Pillow warns of a decompression bomb; 256 MiB of RGB
MAX_ENCODED_BYTES = 2**28  # of one image file
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")

_JPEG, _PNG, _RIFF = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF"
_TAIL = 64  # bytes at the end of a file in which its end marker is looked for

# What a decoder objects to is in the DecodeError; OpenCV would print it to stderr as well.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class DecodeError(ValueError):
    """The bytes are not a complete image; the message is the reason, without a final full stop."""


def decode(data: bytes) -> np.ndarray:
    """Decodes an image file: the first frame, upright, 8 bits per channel.

    A JPEG is turned upright by its EXIF orientation, as viewers show it (torchvision's `ImageFolder` and the published
    ImageNet recipes ignore the tag, which a few dozen photographs per million carry). 16-bit values become
    `round(x / 257)`. Palettes and CMYK become RGB; grey with alpha becomes RGBA.

    Returns:
      uint8 (H, W, C), C = 1 (grey), 3 (RGB) or 4 (RGBA, not premultiplied).

    Raises:
      DecodeError: if the bytes are empty, of an unknown format, end before the last pixel, or are of more than
        MAX_PIXELS pixels.
    """
    if not data:
        raise DecodeError("the file is empty")
    pixels, size = None, declared_size(data)
    if size is not None:
        check_size(*size)
    if size is not None and data.startswith((_JPEG, _PNG, _RIFF)) and has_end_marker(data[:8], data[-_TAIL:]):
        pixels = _decode_opencv(data)
    if pixels is None:
        pixels = _decode_pillow(data)
    if pixels.dtype != np.uint8:
        pixels = ((pixels.astype(np.uint32).clip(0, 65535) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[:, :, None])


def check_size(height: int, width: int) -> None:
    """Raises DecodeError for an image of no or of too many pixels."""
    if not 0 < height * width <= MAX_PIXELS:
        raise DecodeError(
            f"its header says {height:,} x {width:,} pixels, and it must have 1 to {MAX_PIXELS:,} of them"
        )


def check_encoded_size(size: int) -> None:
    """Raises DecodeError for a file of too many bytes."""
    if size > MAX_ENCODED_BYTES:
        raise DecodeError(f"it has {size:,} bytes, and an image file may have {MAX_ENCODED_BYTES:,}")


def read_encoded(file: BinaryIO) -> bytes:
    """Returns the rest of an opened image file; raises DecodeError if it is too large."""
    start = file.tell()
    size = file.seek(0, io.SEEK_END) - start
    check_encoded_size(size)
    file.seek(start)
    return file.read(size)  # a read of at most MAX_ENCODED_BYTES would allocate as many, for each image


def is_image(name: str) -> bool:
    """Whether a file of this name counts as an image."""
    return name.lower().endswith(EXTENSIONS)


def check_file(path: Path) -> tuple[int, int]:
    """Checks the header of an image file and that it has an end, without decoding it where that can be avoided.

    Returns:
      (height, width) in pixels, before any EXIF rotation.

    Raises:
      DecodeError: as `decode`.
    """
    try:
        with open(path, "rb") as file:
            return _check(file)
    except OSError as error:
        raise DecodeError(_reason(error)) from error


def check_bytes(data: bytes) -> tuple[int, int]:
    """As `check_file`, of the bytes of such a file."""
    return _check(io.BytesIO(data))


def _check(file: BinaryIO) -> tuple[int, int]:
    head = file.read(8)
    if not head:
        raise DecodeError("the file is empty")
    file.seek(0)
    try:
        with _open(file) as image:
            width, height = image.size
    except DecodeError:
        raise
    except Exception as error:  # a parser fed with arbitrary bytes raises almost anything
        raise DecodeError(_reason(error)) from error
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _TAIL))
    if not has_end_marker(head, file.read()):
        file.seek(0)
        decode(read_encoded(file))
    return height, width


def has_end_marker(head: bytes, tail: bytes) -> bool:
    """Whether a JPEG or PNG with these first 8 and last 64 bytes is complete; other formats pass."""
    if head.startswith(_JPEG):
        return tail.rstrip(b"\0\r\n").endswith(b"\xff\xd9")
    if head.startswith(_PNG):
        return b"IEND\xaeB`\x82" in tail  # the chunk's name and its checksum
    return True


def _decode_opencv(data: bytes) -> np.ndarray | None:
    # ANYCOLOR honours EXIF and drops alpha, UNCHANGED keeps alpha and ignores EXIF; JPEG has no alpha.
    flag = cv2.IMREAD_ANYCOLOR if data.startswith(_JPEG) else cv2.IMREAD_UNCHANGED
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        return None
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        return None
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _decode_pillow(data: bytes) -> np.ndarray:
    try:
        with _open(io.BytesIO(data)) as image:
            image.load()
            if image.format == "JPEG":
                image = ImageOps.exif_transpose(image)
            return np.asarray(plain_mode(image))
    except DecodeError:
        raise
    except Exception as error:  # a parser fed with arbitrary bytes raises almost anything
        raise DecodeError(_reason(error)) from error


def _open(file: BinaryIO) -> Image.Image:
    """Opens an image file by its header; raises DecodeError where that says an absurd size."""
    image = Image.open(file, formats=_FORMATS)
    try:
        check_size(image.height, image.width)
    except DecodeError:
        image.close()
        raise
    return image


def plain_mode(image: Image.Image) -> Image.Image:
    """Returns the image as grey, RGB, RGBA or 16-bit integers, whatever its mode is."""
    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return image
    if image.mode == "1":
        return image.convert("L")
    has_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is not of a known image format"
    return str(error).rstrip(".") or type(error).__name__
