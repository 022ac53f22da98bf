"""Minibatch discrimination: a loop over pairs, PyTorch, and one global batch on eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.layers.minibatch_discrimination import MinibatchDiscrimination

X = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)


def layer(**kwargs):
    return MinibatchDiscrimination(5, 3, **({"kernel_dims": 4, "std": 0.3, "rngs": nnx.Rngs(0)} | kwargs))


def test_closeness_is_a_loop_over_pairs_of_different_rows():
    module = layer()
    kernel = np.asarray(module.kernel[...], np.float64)
    m = np.einsum("ni,iok->nok", X.astype(np.float64), kernel)
    expected = np.zeros((8, 3))
    for i in range(8):
        for b in range(3):
            expected[i, b] = sum(np.exp(-np.abs(m[i, b] - m[j, b]).sum()) for j in range(8) if j != i)
    y = module(jnp.asarray(X))
    np.testing.assert_array_equal(y[:, :5], X)
    np.testing.assert_allclose(y[:, 5:], expected, rtol=1e-4, atol=1e-6)


def test_equal_rows_are_as_close_as_can_be_and_far_ones_not_at_all():
    y = layer()(jnp.asarray(np.stack([X[0], X[0], X[0], X[0] + 1000])))
    np.testing.assert_allclose(y[:, 5:], [[2.0] * 3] * 3 + [[0.0] * 3], atol=1e-6)


def test_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    module = layer()
    x = torch.tensor(X, requires_grad=True)
    m = (x @ torch.tensor(np.asarray(module.kernel[...]).reshape(5, -1))).view(-1, 3, 4)
    closeness = torch.exp(-(m[None] - m[:, None]).abs().sum(3)).sum(0) - 1
    (closeness * torch.arange(3.0)).sum().backward()
    gradient = jax.grad(lambda x: jnp.sum(module(x)[:, 5:] * jnp.arange(3.0)[None]))(jnp.asarray(X))
    np.testing.assert_allclose(gradient, x.grad, rtol=1e-3, atol=1e-5)


def test_the_default_kernel_is_standard_normal_with_sixteen_dimensions():
    kernel = MinibatchDiscrimination(30, 20, rngs=nnx.Rngs(0)).kernel[...]
    assert kernel.shape == (30, 20, 16)
    np.testing.assert_allclose([np.mean(kernel), np.std(kernel)], [0.0, 1.0], atol=0.03)


def test_a_batch_over_eight_devices_is_compared_as_a_whole():
    module = layer()
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    graphdef, variables = nnx.split(module)
    apart = jax.jit(lambda v, x: nnx.merge(graphdef, v)(x))(variables, jax.device_put(X, sharding))
    np.testing.assert_allclose(apart, module(jnp.asarray(X)), rtol=1e-5, atol=1e-6)


def test_half_precision_is_compared_in_float32():
    x = jnp.asarray(X, jnp.bfloat16)
    y = layer()(x)
    assert y.dtype == jnp.bfloat16
    exact = layer()(x.astype(jnp.float32))
    np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))


def test_maps_must_be_flattened():
    with pytest.raises(ValueError, match=r"x \(shape \(2, 4, 4, 5\)\) must be \(B, 5\)"):
        layer()(jnp.zeros((2, 4, 4, 5)))
