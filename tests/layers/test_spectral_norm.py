"""Spectral normalisation against singular values, its gradient against the formula, and when `u` moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.layers.conv import Conv, ConvTranspose
from jaxgan.layers.linear import Embed, Linear
from jaxgan.layers.spectral_norm import SpectralNorm, SpectralVector, spectral_normalize

AXES = [((7, 5), -1), ((3, 3, 4, 6), -1), ((4, 4, 6, 3), -2), ((9, 4), 0)]


def as_matrix(kernel, axis):
    return np.moveaxis(np.asarray(kernel, np.float64), axis, -1).reshape(-1, kernel.shape[axis])


def random(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@pytest.mark.parametrize(("shape", "axis"), AXES)
def test_sigma_is_the_largest_singular_value(shape, axis):
    kernel, u = random(0, shape), random(1, (shape[axis],))
    normalized, u, sigma = spectral_normalize(kernel, u, num_iters=200, axis=axis)
    left, values, _ = np.linalg.svd(as_matrix(kernel, axis).T)
    np.testing.assert_allclose(sigma, values[0], rtol=1e-5)
    np.testing.assert_allclose(normalized, kernel / values[0], rtol=1e-4)
    np.testing.assert_allclose(np.abs(left[:, 0] @ np.asarray(u)), 1.0, rtol=1e-5)


@pytest.mark.parametrize("num_iters", [1, 3])
def test_one_call_does_num_iters_iterations(num_iters):
    kernel, u = random(0, (3, 3, 4, 6)), random(1, (6,))
    w, expected = as_matrix(kernel, -1), np.asarray(u, np.float64)
    for _ in range(num_iters):
        v = w @ expected / np.linalg.norm(w @ expected)
        expected = w.T @ v / np.linalg.norm(w.T @ v)
    _, new_u, sigma = spectral_normalize(kernel, u, num_iters=num_iters)
    np.testing.assert_allclose(new_u, expected, rtol=1e-5)
    np.testing.assert_allclose(sigma, v @ w @ expected, rtol=1e-5)


def test_eps_bounds_the_divisions():
    kernel, u = jnp.eye(2), jnp.array([3.0, 4.0])
    _, new_u, sigma = spectral_normalize(kernel, u, eps=5.0)  # v = u / 10, then u = v / (0.5 + 5)
    np.testing.assert_allclose(new_u, np.array([0.3, 0.4]) / 5.5, rtol=1e-6)
    np.testing.assert_allclose(sigma, 0.5 * 0.5 / 5.5, rtol=1e-6)


@pytest.mark.parametrize(("shape", "axis"), AXES)
def test_gradient_holds_u_and_v_constant(shape, axis):
    kernel, u, direction = random(0, shape), random(1, (shape[axis],)), random(2, shape)
    grad = jax.jit(jax.grad(lambda k: jnp.sum(direction * spectral_normalize(k, u, axis=axis)[0])))(kernel)
    w, g = as_matrix(kernel, axis), as_matrix(direction, axis)
    v = w @ np.asarray(u, np.float64)
    v /= np.linalg.norm(v)
    right = w.T @ v / np.linalg.norm(w.T @ v)
    sigma = v @ w @ right
    expected = g / sigma - np.sum(g * w) / sigma**2 * np.outer(v, right)
    np.testing.assert_allclose(as_matrix(grad, axis), expected, rtol=2e-4, atol=1e-5)


def test_no_gradient_reaches_u():
    kernel, u = random(0, (4, 3)), random(1, (3,))
    grad = jax.grad(lambda u: spectral_normalize(kernel, u)[0].sum())(u)
    np.testing.assert_array_equal(grad, np.zeros(3))


def test_half_precision_kernels_iterate_in_float32():
    kernel = random(0, (16, 8))
    normalized, u, sigma = spectral_normalize(kernel.astype(jnp.bfloat16), random(1, (8,)), num_iters=100)
    assert (normalized.dtype, u.dtype, sigma.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    rounded = np.asarray(kernel.astype(jnp.bfloat16), np.float64)
    np.testing.assert_allclose(sigma, np.linalg.norm(rounded, 2), rtol=1e-5)


SN = SpectralNorm()
LAYERS = {
    "linear": (lambda rngs: Linear(5, 4, sn=SN, rngs=rngs), (2, 5), -1),
    "embed": (lambda rngs: Embed(6, 4, sn=SN, rngs=rngs), None, 0),
    "conv": (lambda rngs: Conv(3, 4, kernel_size=3, padding=1, sn=SN, rngs=rngs), (2, 4, 4, 3), -1),
    "transposed, out": (lambda rngs: ConvTranspose(3, 4, kernel_size=2, sn=SN, rngs=rngs), (2, 4, 4, 3), -1),
    "transposed, in": (
        lambda rngs: ConvTranspose(3, 4, kernel_size=2, sn=SN, sn_axis="in", rngs=rngs), (2, 4, 4, 3), -2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_move_u_once_per_training_call_and_nothing_else(name):
    make, shape, axis = LAYERS[name]
    layer = make(nnx.Rngs(0))
    x = jnp.array([1, 5]) if shape is None else random(0, shape)
    kernel = layer.table if name == "embed" else layer.kernel
    before = np.asarray(kernel[...])
    _, expected_u, _ = spectral_normalize(kernel[...], layer.u[...], axis=axis)

    evaluated = layer(x, train=False)
    assert not np.allclose(layer.u[...], expected_u)
    trained = layer(x, train=True)
    np.testing.assert_array_equal(layer.u[...], expected_u)
    np.testing.assert_array_equal(evaluated, trained)  # both iterate once from the stored u

    u = np.asarray(layer.u[...])
    np.testing.assert_array_equal(layer(x, train=False), layer(x, train=False))
    np.testing.assert_array_equal(layer.u[...], u)
    np.testing.assert_array_equal(kernel[...], before)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_apply_the_kernel_of_unit_norm(name):
    make, shape, axis = LAYERS[name]
    layer = make(nnx.Rngs(0))
    x = jnp.array([1, 5]) if shape is None else random(0, shape)
    for _ in range(300):
        if name == "embed":
            layer(x, train=True)
        else:  # the iteration alone
            layer.u[...] = spectral_normalize(layer.kernel[...], layer.u[...], axis=axis)[1]
    normalized = layer(x, train=False)
    kernel = layer.table if name == "embed" else layer.kernel
    sigma = np.linalg.norm(as_matrix(kernel[...], axis), 2)
    kernel[...] = kernel[...] / sigma
    layer.sn = None
    np.testing.assert_allclose(normalized, layer(x, train=False), rtol=1e-4, atol=1e-6)


def test_vectors_are_a_variable_kind_of_their_own():
    layer = Linear(5, 4, sn=SN, rngs=nnx.Rngs(0))
    _, vectors, params = nnx.split(layer, SpectralVector, nnx.Param)
    assert set(nnx.to_pure_dict(vectors)) == {"u"}
    assert set(nnx.to_pure_dict(params)) == {"kernel", "bias"}


def test_layer_without_spectral_norm_has_no_vector():
    assert set(nnx.to_pure_dict(nnx.state(Linear(5, 4, rngs=nnx.Rngs(0))))) == {"kernel", "bias"}


def test_num_iters_must_be_positive():
    with pytest.raises(ValueError, match=r"`num_iters` \(=0\) of spectral norm must be at least 1"):
        SpectralNorm(num_iters=0)
