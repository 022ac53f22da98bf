"""The three resizers against a loop, PyTorch and Pillow."""

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan.evaluation import resize as resize_lib
from jaxgan.evaluation.errors import EvaluationError

SIZES = [(32, 32), (7, 300), (299, 299), (401, 1)]


def random_images(height, width, *, channels=3, count=2):
    return np.random.default_rng(height).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


resize = jax.jit(resize_lib.resize, static_argnums=1)


def tf1_by_loop(image):
    """TensorFlow 1's resize_bilinear(align_corners=False) of one row of one channel at a time."""

    def row(values):
        out = []
        for i in range(299):
            source = i * len(values) / 299
            left = int(source)
            right = min(left + 1, len(values) - 1)
            out.append(values[left] + (values[right] - values[left]) * (source - left))
        return np.array(out)

    image = np.stack([row(column) for column in image.astype(float).T.tolist()]).T
    return np.stack([row(line) for line in image.tolist()])


@pytest.mark.parametrize("size", [(7, 300), (32, 32), (401, 1)])
def test_tf1_equals_its_definition(size):
    images = random_images(*size, count=1)
    expected = [[tf1_by_loop(image[:, :, c]) for c in range(3)] for image in images]
    expected = (np.array(expected).transpose(0, 2, 3, 1) - 128) / 128
    np.testing.assert_allclose(resize(images, "tf1"), expected, atol=5e-6)


def test_tf1_looks_at_the_left_pixel_first():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[:, :, 1] = 255
    row = np.asarray(resize(image, "tf1"))[0, 0, :, 0] * 128 + 128
    np.testing.assert_allclose(row[:150], 255 * np.arange(150) * 2 / 299, atol=1e-3)
    np.testing.assert_allclose(row[150:], 255, atol=1e-3)  # nothing to the right to mix with


@pytest.mark.parametrize("size", SIZES)
def test_bilinear_equals_pytorch(size):
    torch = pytest.importorskip("torch")
    images = random_images(*size)
    pixels = torch.tensor(images).permute(0, 3, 1, 2).double() / 255  # in float32 its coordinates are off by 1e-5
    expected = torch.nn.functional.interpolate(pixels, size=(299, 299), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(resize(images, "bilinear"), (2 * expected - 1).permute(0, 2, 3, 1), atol=5e-6)


@pytest.mark.parametrize("size", SIZES)
def test_clean_equals_pillow_on_float_channels(size):
    images = random_images(*size)
    found = resize_lib.resize_clean(images) * 128 + 128
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 255
    for i in range(2):
        for c in range(3):
            channel = Image.fromarray(images[i, :, :, c]).convert("F")
            expected = np.asarray(channel.resize((299, 299), resample=Image.Resampling.BICUBIC))
            np.testing.assert_allclose(found[i, :, :, c], expected.clip(0, 255), atol=1e-4)


def test_clean_neither_rounds_nor_overshoots():
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[:, :, 2:] = 255  # an edge, beyond which bicubic swings
    pixels = resize_lib.resize_clean(image) * 128 + 128
    assert pixels.min() == 0 and pixels.max() == 255
    assert np.abs(pixels - pixels.round()).max() > 0.1


@pytest.mark.parametrize("name", resize_lib.RESIZERS)
def test_constant_images_keep_their_value(name):
    image = np.full((1, 9, 5, 3), 200, np.uint8)
    found = resize_lib.resize_clean(image) if name == "clean" else resize(image, name)
    value = 2 * 200 / 255 - 1 if name == "bilinear" else (200 - 128) / 128
    np.testing.assert_allclose(found, np.full((1, 299, 299, 3), value), atol=1e-6)


@pytest.mark.parametrize("name", ["tf1", "bilinear"])
def test_products_ask_for_the_highest_precision(name):
    text = str(jax.make_jaxpr(lambda x: resize_lib.resize(x, name))(np.zeros((1, 4, 4, 3), np.uint8)))
    assert text.count("dot_general") == 2
    assert text.count("Precision.HIGHEST") == 4  # of both operands


def test_grey_is_repeated():
    grey = random_images(4, 5, channels=1)
    np.testing.assert_array_equal(resize_lib.to_rgb(grey), np.repeat(grey, 3, axis=3))


def test_transparent_pixels_become_white_and_opaque_ones_stay():
    images = random_images(4, 5, channels=4)
    images[0, :, :, 3], images[1, :, :, 3] = 0, 255
    rgb = resize_lib.to_rgb(images)
    assert (rgb[0] == 255).all()
    np.testing.assert_array_equal(rgb[1], images[1, :, :, :3])


def test_rgb_stays_and_no_image_is_no_error():
    images = random_images(4, 5)
    assert resize_lib.to_rgb(images) is images
    assert resize_lib.to_rgb(np.zeros((0, 4, 5, 1), np.uint8)).shape == (0, 4, 5, 3)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((2, 4, 4, 2), np.uint8),
        np.zeros((2, 0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(images):
    with pytest.raises(EvaluationError, match=r"must be uint8 of shape \(N, H, W, C\)"):
        resize_lib.to_rgb(images)


def test_unknown_resizer_is_refused():
    with pytest.raises(EvaluationError, match="'lanczos'.*tf1, bilinear, clean"):
        resize_lib.check_resizer("lanczos")
