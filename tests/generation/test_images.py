"""Bytes, tiles and files: every value by hand, every file read back by Pillow."""

import os

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.generation.images import display_scale, encode_png, grid, grid_columns, to_uint8, write_png


def test_floats_map_to_the_nearest_byte():
    values = np.array([-1.0, -0.996, -0.5, 0.0, 0.5, 1.0])
    np.testing.assert_array_equal(to_uint8(values), [0, 1, 64, 128, 191, 255])
    assert to_uint8(values).dtype == np.uint8


def test_values_outside_are_clipped_and_nan_is_black():
    np.testing.assert_array_equal(to_uint8(np.array([-7.0, 7.0, np.inf, -np.inf, np.nan])), [0, 255, 255, 0, 0])


def test_every_byte_survives_the_round_trip_through_the_networks_range():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(levels.astype(np.float32) / 127.5 - 1.0), levels)
    np.testing.assert_array_equal(to_uint8(levels), levels)


def test_bfloat16_from_a_device_is_accepted():
    np.testing.assert_array_equal(to_uint8(jnp.asarray([-1.0, 0.0, 1.0], jnp.bfloat16)), [0, 128, 255])


@pytest.mark.parametrize("dtype", [np.int32, np.int8, bool])
def test_integers_of_unknown_range_are_refused(dtype):
    with pytest.raises(ValueError, match="dtype .* must be uint8"):
        to_uint8(np.zeros(3, dtype))


@pytest.mark.parametrize(("count", "columns"), [(0, 1), (1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4), (100, 10)])
def test_grids_are_nearly_square(count, columns):
    assert grid_columns(count) == columns


def test_tiles_lie_row_by_row_with_padding_around():
    images = np.array([10, 20, 30], np.uint8).reshape(3, 1, 1, 1)
    expected = [
        [0, 0, 0, 0, 0],
        [0, 10, 0, 20, 0],
        [0, 0, 0, 0, 0],
        [0, 30, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(grid(images, columns=2, padding=1)[:, :, 0], expected)


def test_non_square_tiles_keep_their_rows_and_columns():
    images = np.arange(1, 13, dtype=np.uint8).reshape(2, 2, 3, 1)
    tiled = grid(images, columns=2, padding=0)
    np.testing.assert_array_equal(tiled[:, :, 0], [[1, 2, 3, 7, 8, 9], [4, 5, 6, 10, 11, 12]])
    assert grid(images, columns=1, padding=1).shape == (7, 5, 1)


def test_scale_repeats_pixels_but_not_the_padding():
    images = np.array([[[[1, 2, 3]], [[4, 5, 6]]]], np.uint8).reshape(1, 1, 2, 3)
    tiled = grid(images, columns=1, padding=1, scale=2)
    assert tiled.shape == (4, 6, 3)
    for channel, (left, right) in enumerate([(1, 4), (2, 5), (3, 6)]):
        np.testing.assert_array_equal(tiled[1:3, 1:5, channel], [[left, left, right, right]] * 2)
    assert tiled[0].sum() == tiled[-1].sum() == tiled[:, 0].sum() == tiled[:, -1].sum() == 0


def test_float_tiles_are_mapped_before_tiling():
    tiled = grid(jnp.ones((1, 1, 1, 4)), columns=2, padding=0)
    np.testing.assert_array_equal(tiled, [[[255] * 4, [0] * 4]])


@pytest.mark.parametrize(
    ("shape", "kwargs", "message"),
    [
        ((2, 2, 3), {"columns": 1}, r"shape \(2, 2, 3\)"),
        ((0, 2, 2, 3), {"columns": 1}, "at least one image"),
        ((1, 2, 2, 3), {"columns": 0}, r"columns \(=0\)"),
        ((1, 2, 2, 3), {"columns": 1, "padding": -1}, r"padding \(=-1\)"),
        ((1, 2, 2, 3), {"columns": 1, "scale": 0}, r"scale \(=0\)"),
    ],
)
def test_arguments_out_of_range_are_named(shape, kwargs, message):
    with pytest.raises(ValueError, match=message):
        grid(np.zeros(shape, np.uint8), **kwargs)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_png_files_read_back_exactly(tmp_path, channels, mode):
    image = np.random.default_rng(channels).integers(0, 256, (3, 5, channels)).astype(np.uint8)
    path = tmp_path / "deep" / "er" / "image.png"
    write_png(path, image)
    with Image.open(path) as opened:
        assert opened.mode == mode and opened.format == "PNG"
        np.testing.assert_array_equal(np.asarray(opened).reshape(image.shape), image)
    assert os.listdir(path.parent) == ["image.png"]


def test_a_view_that_is_not_contiguous_is_written_as_seen():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert encode_png(image[:, ::-1]) == encode_png(image[:, ::-1].copy()) != encode_png(image)


@pytest.mark.parametrize("image", [np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8)])
def test_wrong_images_are_refused_before_anything_is_written(tmp_path, image):
    with pytest.raises(ValueError, match="must be uint8"):
        write_png(tmp_path / "sub" / "image.png", image)
    assert not list(tmp_path.iterdir())


def test_a_kill_while_writing_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    path.write_bytes(b"old")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_png(path, np.zeros((2, 2, 3), np.uint8))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["image.png"]


def test_small_images_are_shown_larger():
    assert [display_scale(height) for height in (8, 28, 64, 65, 128)] == [8, 2, 1, 1, 1]
