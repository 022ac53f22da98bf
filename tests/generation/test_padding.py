"""Padding to the sizes that a network takes: as little as possible, few sizes, and nothing of it in the result."""

import numpy as np
import pytest

from jaxgan.generation.errors import RunError
from jaxgan.generation.padding import MOST_SIZES, crop, is_coarse, pad, padded_sizes

TRAINED_ON = (64, 64)
MANY = [(41 + i, 41) for i in range(80)]  # 20 sizes in multiples of 4


def test_as_few_pixels_as_possible_are_added():
    sizes = [(8, 8), (9, 64), (12, 10), (255, 257), (64, 64)]
    assert padded_sizes(sizes, 4, TRAINED_ON) == [(8, 8), (12, 64), (12, 12), (256, 260), (64, 64)]
    assert padded_sizes(sizes, 1, TRAINED_ON) == sizes
    assert padded_sizes([(64, 64)], 0, TRAINED_ON) == [(64, 64)]


def test_many_sizes_become_few():
    assert is_coarse(MANY, 4) and not is_coarse(MANY[:64], 4) and not is_coarse(MANY, 0)
    assert len({size for size in padded_sizes(MANY[:64], 4, TRAINED_ON)}) == MOST_SIZES
    padded = padded_sizes(MANY, 4, TRAINED_ON)
    assert set(padded) == {(64, 64), (96, 64), (128, 64)}
    assert set(padded_sizes(MANY, 48, TRAINED_ON)) == {(48, 48), (96, 48), (144, 48)}
    small = padded_sizes([*MANY, (9, 130)], 4, TRAINED_ON)
    assert small[-1] == (12, 132), "9 pixels have no mirror image of 23"


def test_the_border_is_reflected_and_cut_again():
    image = np.arange(3 * 4 * 2).reshape(3, 4, 2)
    padded = pad(image, (5, 6))
    assert padded.shape == (5, 6, 2)
    np.testing.assert_array_equal(padded[3:, :4], image[[1, 0]])
    np.testing.assert_array_equal(padded[:3, 4:], image[:, [2, 1]])
    np.testing.assert_array_equal(crop(padded, (3, 4)), image)
    np.testing.assert_array_equal(pad(image, (3, 4)), image)


@pytest.mark.parametrize(
    ("size", "multiple", "text"),
    [
        ((7, 64), 4, r"x.png has 7 x 64 pixels, and at least 8 x 8 are needed"),
        ((100, 64), 256, r"x.png has 100 x 64 pixels, too few to be continued by reflection to the 256 x 256 that"),
        ((128, 300), 256, r"too few to be continued by reflection to the 256 x 512"),
        ((64, 68), 0, r"x.png has 64 x 68 pixels, but this run's network takes 64 x 64 only"),
    ],
)
def test_images_that_cannot_be_padded(size, multiple, text):
    with pytest.raises(RunError, match=text):
        padded_sizes([(512, 512) if multiple else TRAINED_ON, size], multiple, TRAINED_ON, ["a.png", "x.png"])
    if multiple == 256:
        assert padded_sizes([(129, 257)], 256, TRAINED_ON) == [(256, 512)]
