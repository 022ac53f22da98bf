"""Instance normalisation against PyTorch, and what sets it apart from batch normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.layers.instance_norm import InstanceNorm, normalize_maps


def random(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_equals_torch(eps):
    torch = pytest.importorskip("torch")
    x = (random(0, (2, 3, 5, 4)) + np.arange(4, dtype=np.float32)) * np.array([1.0, 1e-3, 10.0, 0.1], np.float32)
    expected = torch.nn.functional.instance_norm(torch.tensor(x.transpose(0, 3, 1, 2)), eps=eps)
    np.testing.assert_allclose(
        InstanceNorm(eps=eps)(jnp.asarray(x)), expected.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=2e-6
    )


def test_default_epsilon_is_torchs():
    x = jnp.asarray([1e-3, -1e-3]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(
        InstanceNorm()(x)[0, 0, :, 0], np.array([1, -1]) * 1e-3 / np.sqrt(1e-6 + 1e-5), rtol=1e-5
    )


def test_every_image_depends_on_itself_alone():
    x = random(0, (3, 4, 4, 2))
    y = InstanceNorm()(jnp.asarray(x))
    np.testing.assert_array_equal(InstanceNorm()(jnp.asarray(x[1:2])), y[1:2])
    np.testing.assert_allclose(np.mean(y, axis=(1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(np.var(y, axis=(1, 2)), 1, rtol=1e-4)


def test_variance_survives_a_large_mean():
    y = InstanceNorm()(jnp.asarray(random(0, (2, 8, 8, 1)) + 3000))
    np.testing.assert_allclose(np.std(y, axis=(1, 2)), 1.0, rtol=1e-3)


def test_half_precision_keeps_float32_statistics():
    x = jnp.asarray(random(0, (2, 16, 16, 2)) + 30, jnp.bfloat16)
    y = InstanceNorm(dtype=jnp.bfloat16)(x)
    assert y.dtype == jnp.bfloat16
    wide = np.asarray(x, np.float64)
    expected = (wide - wide.mean((1, 2), keepdims=True)) / np.sqrt(wide.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=2**-8, atol=1e-6)


def test_it_has_no_variables_and_no_gradient_along_the_mean():
    assert not jax.tree.leaves(nnx.to_pure_dict(nnx.state(InstanceNorm())))
    x, w = jnp.asarray(random(0, (1, 3, 3, 2))), jnp.asarray(random(1, (1, 3, 3, 2)))
    gradient = jax.grad(lambda x: jnp.sum(w * normalize_maps(x, 1e-5)))(x)
    np.testing.assert_allclose(np.sum(gradient, axis=(1, 2)), 0, atol=1e-6)


def test_one_pixel_is_refused():
    with pytest.raises(ValueError, match=r"`x` \(shape \[2, 1, 1, 3\]\) must have maps of more than one pixel"):
        InstanceNorm()(jnp.ones((2, 1, 1, 3)))
    assert InstanceNorm()(jnp.ones((2, 1, 2, 3))).shape == (2, 1, 2, 3)
