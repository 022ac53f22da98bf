"""Image files of any content: pixels or one sentence, and never an allocation that a header alone asks for."""

import io
import subprocess
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from jaxgan.data.decode import MAX_PIXELS, DecodeError, check_bytes, decode
from jaxgan.data.errors import DataError
from jaxgan.data.image_header import declared_size
from jaxgan.data.sources import open_source
from tests.fuzz.damage import COUNTS, damaged, examine, is_sentence, memory_below

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")


def encoded(kind: str, pixels=PIXELS, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@COUNTS
@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes_give_pixels_or_one_sentence(kind, count):
    @examine(count, damaged(encoded(kind)))
    def check(data):
        for read in (decode, check_bytes):
            try:
                found = read(data)
            except DecodeError as error:
                assert 0 < len(str(error)) < 500 and "\n" not in str(error)
            else:
                shape = found.shape if isinstance(found, np.ndarray) else (*found, 1)
                assert shape[0] * shape[1] <= MAX_PIXELS and shape[2] in (1, 3, 4)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded("PNG"), (9, 14)),
        (encoded("JPEG"), (9, 14)),
        (encoded("JPEG", progressive=True, exif=b"Exif\0\0" + bytes(300)), (9, 14)),
        (encoded("WEBP"), (9, 14)),
        (encoded("WEBP", lossless=True), (9, 14)),
        (encoded("WEBP", np.dstack([PIXELS, PIXELS[..., :1]])), (9, 14)),  # a canvas: VP8X
        (cv2.imencode(".jpg", PIXELS)[1].tobytes(), (9, 14)),
        (encoded("GIF"), None),
        (b"", None),
        (b"\xff\xd8\xff\xff\xff\xe0\0", None),
    ],
)
def test_declared_size(data, expected):
    assert declared_size(data) == expected


def png(height: int, width: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def jpeg(height: int, width: int) -> bytes:
    data = encoded("JPEG")
    place = data.index(b"\xff\xc0")
    return data[: place + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[place + 9 :]


def webp(height: int, width: int) -> bytes:
    data = bytearray(encoded("WEBP", np.dstack([PIXELS, PIXELS[..., :1]])))
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def gif(height: int, width: int) -> bytes:
    data = encoded("GIF")
    return data[:6] + width.to_bytes(2, "little") + height.to_bytes(2, "little") + data[10:]


def bmp(height: int, width: int) -> bytes:
    data = encoded("BMP")
    return data[:18] + width.to_bytes(4, "little") + height.to_bytes(4, "little") + data[26:]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "data",
    [png(100_000, 100_000), png(20_000, 20_000), png(9_460, 9_460), png(0, 5), png(2**31 - 1, 2**31 - 1),
     jpeg(65_500, 65_500), jpeg(9_460, 9_460), webp(16_000, 16_000), gif(65_535, 65_535), bmp(60_000, 60_000)],
)  # fmt: skip
def test_absurd_sizes_are_refused_by_the_header(data):
    with memory_below(2**24):
        for read in (decode, check_bytes):
            with pytest.raises(DecodeError, match="header says|not of a known|could create decompression bomb|0"):
                read(data)


@pytest.mark.slow
def test_the_largest_image_is_read():
    height, width = 8_192, 10_922
    assert height * width <= MAX_PIXELS < height * (width + 1)
    assert decode(encoded("PNG", np.zeros((height, width), np.uint8), compress_level=1)).shape == (height, width, 1)


def test_no_program_is_run_for_an_image(monkeypatch, tmp_path):
    """Pillow has Ghostscript interpret PostScript, whatever the file's name is."""
    started = []
    monkeypatch.setattr(subprocess, "check_call", lambda *args, **kwargs: started.append(args))
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: started.append(args))
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "EPS")
    with pytest.raises(DecodeError, match="not of a known image format"):
        decode(file.getvalue())
    assert not started


@COUNTS
def test_a_folder_with_a_damaged_image(tmp_path, count):
    for kind in ("PNG", "JPEG"):
        (tmp_path / f"good.{kind.lower()}").write_bytes(encoded(kind))

    @examine(count, damaged(encoded("JPEG")), st.booleans())
    def check(data, skip):
        (tmp_path / "a.jpg").write_bytes(data)
        try:
            source = open_source(f"folder:{tmp_path}", skip_corrupt=skip)
            assert all(source.read(i).dtype == np.uint8 for i in range(len(source)))
        except DataError as error:
            assert not skip and is_sentence(str(error))


def test_an_endless_file_is_refused_unread(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.write(encoded("PNG"))
        file.truncate(2**33)  # takes no room on the disk
    with memory_below(2**24), pytest.raises(DataError, match="an image file may have"):
        open_source(f"folder:{tmp_path}").read(0)
