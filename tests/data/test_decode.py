"""Decoding: the pixels that were stored, whatever the format, and no silent acceptance of damaged files."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import decode as decode_module
from jaxgan.data.decode import DecodeError, check_file, decode


def encode(image: Image.Image, image_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 4), dtype=np.uint8)


@pytest.mark.parametrize("image_format, options", [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_give_the_stored_rgb(pixels, image_format, options):
    data = encode(Image.fromarray(pixels[:, :, :3]), image_format, **options)
    np.testing.assert_array_equal(decode(data), pixels[:, :, :3])


def test_grey_stays_one_channel_and_alpha_stays_four(pixels):
    np.testing.assert_array_equal(decode(encode(Image.fromarray(pixels[:, :, 0]), "PNG")), pixels[:, :, :1])
    np.testing.assert_array_equal(decode(encode(Image.fromarray(pixels), "PNG")), pixels)
    grey_alpha = decode(encode(Image.fromarray(pixels).convert("LA"), "PNG"))
    assert grey_alpha.shape == (12, 20, 4)
    np.testing.assert_array_equal(grey_alpha[:, :, 0], grey_alpha[:, :, 2])
    np.testing.assert_array_equal(grey_alpha[:, :, 3], pixels[:, :, 3])


def test_jpeg_agrees_with_pillow():
    smooth = np.add.outer(np.arange(40), np.arange(56))[:, :, None] + np.array([0, 40, 90])[None, None, :]
    data = encode(Image.fromarray(smooth.astype(np.uint8)), "JPEG", quality=90)
    with Image.open(io.BytesIO(data)) as reference:
        difference = decode(data).astype(int) - np.asarray(reference)
    assert np.abs(difference).max() <= 2  # the two bundle different versions of the JPEG library
    assert decode(encode(Image.fromarray(smooth[:, :, 0].astype(np.uint8)), "JPEG")).shape == (40, 56, 1)


def test_sixteen_bits_round_to_eight():
    values = np.array([[0, 128, 129, 257, 65407, 65535]], np.uint16)
    expected = np.array([[0, 0, 1, 1, 255, 255]], np.uint8)  # round(x / 257)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(values), "PNG"))[:, :, 0], expected)


def test_palette_and_first_gif_frame(pixels):
    frames = [Image.fromarray(pixels[:, :, i]).convert("P") for i in range(2)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    expected = np.asarray(frames[0].convert("RGB"))
    np.testing.assert_array_equal(decode(data), expected)
    np.testing.assert_array_equal(decode(encode(frames[0], "PNG")), expected)


def test_one_bit_image_is_black_and_white():
    bits = Image.fromarray(np.array([[0, 255, 0], [255, 0, 0]], np.uint8)).convert("1")
    np.testing.assert_array_equal(decode(encode(bits, "PNG"))[:, :, 0], [[0, 255, 0], [255, 0, 0]])


@pytest.mark.parametrize("through_pillow", [False, True])
def test_exif_orientation_turns_jpegs_upright(monkeypatch, through_pillow):
    if through_pillow:
        monkeypatch.setattr(decode_module, "_decode_opencv", lambda data: None)
    sideways = np.zeros((16, 32, 3), np.uint8)
    sideways[:, :16] = 250  # bright left half
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer turns it by 90 degrees clockwise: left becomes top
    upright = decode(encode(Image.fromarray(sideways), "JPEG", exif=exif, quality=95))
    assert upright.shape == (32, 16, 3)
    assert upright[:12].min() > 200 and upright[20:].max() < 50


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_truncated_files_are_refused(pixels, tmp_path, image_format):
    data = encode(Image.fromarray(pixels[:, :, :3]).resize((64, 48)), image_format)
    with pytest.raises(DecodeError, match="."):
        decode(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_truncation_shows_at_opening_and_without_opencv_noticing(pixels, tmp_path, monkeypatch, image_format):
    data = encode(Image.fromarray(pixels[:, :, :3]).resize((64, 48)), image_format)
    path = tmp_path / "image"
    path.write_bytes(data)
    assert check_file(path) == (48, 64)
    # Older OpenCV returns a picture with a grey lower part: whatever it returns must not be asked for.
    monkeypatch.setattr(decode_module, "_decode_opencv", lambda data: np.zeros((48, 64, 3), np.uint8))
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DecodeError, match="truncated"):
        check_file(path)
    with pytest.raises(DecodeError, match="truncated"):
        decode(path.read_bytes())


def test_foreign_bytes_behind_the_end_are_accepted(pixels, tmp_path):
    data = encode(Image.fromarray(pixels[:, :, :3]), "JPEG") + b"appended by a camera" * 10
    (tmp_path / "image.jpg").write_bytes(data)
    assert check_file(tmp_path / "image.jpg") == (12, 20)
    assert decode(data).shape == (12, 20, 3)


@pytest.mark.parametrize("data, reason", [(b"", "empty"), (b"not an image at all", "known image format")])
def test_reasons(tmp_path, data, reason):
    (tmp_path / "image.png").write_bytes(data)
    for action in (lambda: decode(data), lambda: check_file(tmp_path / "image.png")):
        with pytest.raises(DecodeError, match=reason):
            action()
