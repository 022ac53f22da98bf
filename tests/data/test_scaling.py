"""Pixels to [-1, 1] and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.data.scaling import to_float
from jaxgan.generation.images import to_uint8

ALL_VALUES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize("jit", [False, True])
def test_symmetric_closed_form_and_exact_inverse(jit):
    scale = jax.jit(to_float, static_argnames="scaling") if jit else to_float
    images = scale(jnp.asarray(ALL_VALUES), scaling="symmetric")
    assert images.dtype == jnp.float32
    np.testing.assert_allclose(images, 2.0 * ALL_VALUES / 255 - 1, atol=1e-6)
    assert float(images.min()) == -1.0 and float(images.max()) == 1.0
    np.testing.assert_array_equal(images.ravel(), -images.ravel()[::-1])
    np.testing.assert_array_equal(to_uint8(images), ALL_VALUES)


def test_nnabla_noise_fills_one_level():
    images = jnp.full((1000,), 192, jnp.uint8)
    np.testing.assert_array_equal(to_float(images, scaling="nnabla"), 0.5)
    noise = (np.asarray(to_float(images, scaling="nnabla", key=jax.random.key(0))) - 0.5) * 128
    assert 0 <= noise.min() < 0.02 and 0.98 < noise.max() <= 1.0
    assert abs(noise.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 1000)
    top = to_float(jnp.full((1000,), 255, jnp.uint8), scaling="nnabla", key=jax.random.key(1))
    assert float(top.max()) <= 1.0


def test_unknown_scaling():
    with pytest.raises(ValueError, match="scaling.*'imagenet'"):
        to_float(jnp.zeros((1,), jnp.uint8), scaling="imagenet")
