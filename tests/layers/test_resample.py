"""Resampling by two against explicit indexing, and its gradients against the adjoint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers.resample import average_pool, max_pool, upsample_nearest

X = np.random.default_rng(0).standard_normal((2, 4, 6, 3)).astype(np.float32)
CORNERS = [X[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]


def test_nearest_upsampling_repeats_pixels():
    np.testing.assert_array_equal(upsample_nearest(jnp.asarray(X)), X.repeat(2, axis=1).repeat(2, axis=2))


def test_pools_reduce_windows():
    np.testing.assert_allclose(average_pool(jnp.asarray(X)), np.mean(CORNERS, axis=0), atol=1e-6)
    np.testing.assert_array_equal(max_pool(jnp.asarray(X)), np.max(CORNERS, axis=0))


def test_average_pool_undoes_upsampling_and_is_a_quarter_of_its_adjoint():
    x = jnp.asarray(X)
    np.testing.assert_allclose(average_pool(upsample_nearest(x)), x, atol=1e-6)
    _, pullback = jax.vjp(upsample_nearest, average_pool(x))
    np.testing.assert_allclose(pullback(x)[0], 4 * average_pool(x), atol=1e-5)


def test_max_pool_passes_the_gradient_to_the_maximum():
    grad = jax.grad(lambda x: max_pool(x).sum())(jnp.asarray(X))
    is_maximum = X == np.max(CORNERS, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(grad, is_maximum.astype(np.float32))


@pytest.mark.parametrize("pool", [average_pool, max_pool])
def test_odd_sides(pool):
    with pytest.raises(ValueError, match="3 x 4 pixels cannot be halved; both sides must be even"):
        pool(jnp.ones((1, 3, 4, 1)))
