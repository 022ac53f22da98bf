"""Crop, channels, resize: Pillow's results to the last bit, torchvision's crop offsets."""

import numpy as np
import pytest
from PIL import Image

from jaxgan.config import Config, ConfigError, DataConfig
from jaxgan.config_rules import validate
from jaxgan.data.errors import DataError
from jaxgan.data.transforms import convert_channels, crop_box, cut, flip, loaded_size, prepare


def random_image(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (61, 43), (100, 7)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resize_is_pillows_antialiased_bilinear(size, channels):
    image = random_image(37, 53, channels)
    height, width = size
    expected = Image.fromarray(image.squeeze()).resize((width, height), Image.Resampling.BILINEAR)
    result = prepare(image, height=height, width=width, channels=channels, crop="none")
    np.testing.assert_array_equal(result, np.asarray(expected).reshape(height, width, channels))


@pytest.mark.parametrize(
    "name, expected",
    [("lanczos", "LANCZOS"), ("bicubic", "BICUBIC"), ("bilinear", "BILINEAR"), ("box", "BOX"), ("area", "BOX")],
)
def test_every_filter_is_pillows(name, expected):
    image = random_image(37, 53, 3)
    wanted = Image.fromarray(image).resize((10, 12), Image.Resampling[expected])
    result = prepare(image, height=12, width=10, channels=3, crop="none", resample=name)
    np.testing.assert_array_equal(result, np.asarray(wanted))


def test_area_is_the_mean_of_the_pixels_it_replaces():
    image = random_image(24, 32, 3)
    result = prepare(image, height=6, width=8, channels=3, crop="none", resample="area")
    np.testing.assert_allclose(result, image.reshape(6, 4, 8, 4, 3).mean((1, 3)), atol=1)  # two roundings


@pytest.mark.parametrize(
    "image_size, size, resized, top_left",
    [
        ((30, 60), (10, 10), (10, 20), (0, 5)),
        ((61, 30), (10, 10), (20, 10), (5, 0)),  # 20.33 rounds to 20
        ((30, 47), (10, 10), (10, 16), (0, 3)),  # 15.67 rounds to 16
        ((30, 60), (10, 40), (20, 40), (5, 0)),  # the width decides
        ((5, 9), (10, 10), (10, 18), (0, 4)),  # enlarged
        ((10, 10), (10, 10), (10, 10), (0, 0)),
    ],
)
def test_shorter_side_resizes_first_and_cuts_the_excess(image_size, size, resized, top_left):
    image = random_image(*image_size, 3)
    whole = np.asarray(Image.fromarray(image).resize(resized[::-1], Image.Resampling.BICUBIC))
    expected = whole[top_left[0] :, top_left[1] :][: size[0], : size[1]]
    result = prepare(image, height=size[0], width=size[1], channels=3, crop="shorter_side", resample="bicubic")
    np.testing.assert_array_equal(result, expected)


def test_reduction_averages_and_does_not_skip_pixels():
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 200
    result = prepare(stripes, height=8, width=8, channels=1, crop="none")
    np.testing.assert_allclose(
        result, 100, atol=5
    )  # 96 and 104 at the borders; any non-antialiased filter aliases to 0 or 200


def test_same_size_is_untouched():
    image = random_image(9, 9, 3)
    np.testing.assert_array_equal(prepare(image, height=9, width=9, channels=3, crop="center"), image)


@pytest.mark.parametrize(
    "image_size, size, crop, expected",
    [
        ((218, 178), (64, 64), "center:160", (29, 9, 160, 160)),  # CelebA in torchgan's tutorial
        ((11, 8), (4, 4), "center:8", (2, 0, 8, 8)),  # offset 1.5 rounds to 2
        ((9, 8), (4, 4), "center:8", (0, 0, 8, 8)),  # offset 0.5 rounds to 0
        ((100, 60), (32, 32), "center", (20, 0, 60, 60)),
        ((100, 60), (32, 64), "center", (35, 0, 30, 60)),
        ((100, 60), (64, 32), "center", (0, 5, 100, 50)),
        ((100, 60), (32, 32), "none", (0, 0, 100, 60)),
        ((1, 500), (32, 32), "center", (0, 250, 1, 1)),
        ((100, 60), (32, 32), "random:40", (0, 0, 100, 60)),
    ],
)
def test_crop_boxes(image_size, size, crop, expected):
    assert crop_box(*image_size, height=size[0], width=size[1], crop=crop) == expected


def test_prepare_applies_the_crop_before_the_resize():
    image = random_image(20, 30, 3)
    expected = Image.fromarray(image[2:18, 7:23]).resize((8, 8), Image.Resampling.BILINEAR)
    result = prepare(image, height=8, width=8, channels=3, crop="center:16")
    np.testing.assert_array_equal(result, np.asarray(expected))


def test_too_small_for_the_crop():
    with pytest.raises(DataError, match=r"20 x 30 pixels is smaller than data\.crop='center:21'.*center:20"):
        prepare(random_image(20, 30, 3), height=8, width=8, channels=3, crop="center:21")


def test_grey_is_pillows_luma():
    image = random_image(10, 10, 3)
    expected = np.asarray(Image.fromarray(image).convert("L"))
    np.testing.assert_array_equal(convert_channels(image, 1)[:, :, 0], expected)
    luma = image @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(luma - expected).max() <= 0.51


@pytest.mark.parametrize("source_channels, channels", [(1, 3), (1, 4), (3, 4), (4, 1), (4, 3), (3, 1)])
def test_channels_are_converted_as_if_before_the_resize(source_channels, channels):
    image = random_image(31, 17, source_channels)
    expected = prepare(convert_channels(image, channels), height=8, width=8, channels=channels, crop="none")
    result = prepare(image, height=8, width=8, channels=channels, crop="none")
    assert result.shape == (8, 8, channels) and result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


def test_added_channels():
    grey = random_image(4, 5, 1)
    rgba = convert_channels(grey, 4)
    np.testing.assert_array_equal(rgba[:, :, :3], np.broadcast_to(grey, (4, 5, 3)))
    np.testing.assert_array_equal(rgba[:, :, 3], 255)


def test_removed_alpha_uncovers_white():
    image = random_image(16, 16, 4)
    canvas = Image.new("RGBA", (16, 16), "white")
    expected = np.asarray(Image.alpha_composite(canvas, Image.fromarray(image)))[:, :, :3]
    result = convert_channels(image, 3)
    assert np.abs(result.astype(int) - expected).max() <= 1
    image[:, :, 3] = 0
    np.testing.assert_array_equal(convert_channels(image, 3), 255)
    image[:, :, 3] = 255
    np.testing.assert_array_equal(convert_channels(image, 3), image[:, :, :3])


def test_transparent_colour_does_not_bleed_into_a_resized_image():
    image = np.zeros((8, 8, 4), np.uint8)
    image[:, :4] = (200, 100, 50, 255)  # opaque left half; transparent black right half
    result = prepare(image, height=3, width=3, channels=4, crop="none")
    np.testing.assert_allclose(result[:, 1, :3], np.broadcast_to([200, 100, 50], (3, 3)), atol=2)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_flip_mirrors_the_width_of_the_chosen_images(channels):
    images = np.stack([random_image(4, 7, channels, seed) for seed in range(3)])
    before = images.copy()
    flipped = flip(images, np.array([True, False, True]))
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(flipped[0], np.fliplr(images[0]))
    np.testing.assert_array_equal(flipped[1], images[1])
    np.testing.assert_array_equal(flipped[2], np.fliplr(images[2]))


@pytest.mark.parametrize(
    "size, crop, expected",
    [
        ((256, 256), "random:286", (286, 286)),  # the original CycleGAN
        ((256, 512), "random:286", (286, 572)),
        ((128, 96), "random:143", (143, 107)),  # 107.25
        ((5, 3), "random:6", (6, 4)),  # 3.6
        ((64, 48), "random:64", (64, 48)),
        ((64, 48), "center:160", (64, 48)),
        ((64, 48), "center", (64, 48)),
        ((64, 48), "none", (64, 48)),
    ],
)
def test_size_out_of_which_parts_are_cut(size, crop, expected):
    assert loaded_size(*size, crop) == expected


def test_parts_cannot_be_larger_than_the_whole():
    with pytest.raises(
        DataError, match=r"data\.crop \(='random:63'\) must have at least data\.resolution \(=64\) pixels"
    ):
        loaded_size(64, 48, "random:63")


def test_cut_takes_each_image_at_its_own_offset():
    images = np.stack([random_image(9, 8, 3, seed) for seed in range(4)])
    offsets = np.array([[0, 0], [4, 5], [1, 2], [3, 0]])
    parts = cut(images, offsets, height=5, width=3)
    assert parts.shape == (4, 5, 3, 3) and parts.dtype == np.uint8
    for image, part, (top, left) in zip(images, parts, offsets, strict=True):
        np.testing.assert_array_equal(part, image[top : top + 5, left : left + 3])
    parts[:] = 0
    assert images.any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("crop", ["none", "center", "center:1", "center:160", "random:32", "random:286"])
def test_crops_that_settings_may_name(crop):
    validate(Config(data=DataConfig(crop=crop)))


@pytest.mark.parametrize(
    "crop, message",
    [
        ("random:31", r"\(='random:31'\) must have at least config\.data\.resolution \(=32\) pixels"),
        ("random:0", "must be none, center or center:N with N pixels, or random:N"),
        ("random", "must be none"),
        ("random:", "must be none"),
        ("random:x", "must be none"),
        ("random:\u00b2", "must be none"),
        ("random:-40", "must be none"),
        ("none:40", "must be none"),
        ("center:", "must be none"),
        ("", "must be none"),
    ],
)
def test_crops_that_settings_may_not_name(crop, message):
    with pytest.raises(ConfigError, match=message):
        validate(Config(data=DataConfig(crop=crop)))
