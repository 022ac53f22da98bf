"""Convolutions fused with resampling, against the two operations one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan import target
from jaxgan.layers.conv import Conv
from jaxgan.layers.conv_resample import conv_of_upsampled, pooled_conv
from jaxgan.layers.resample import average_pool, upsample_nearest
from jaxgan.layers.spectral_norm import SpectralNorm
from tests.layers.derivatives import random, with_derivatives

LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv3(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)


@pytest.mark.parametrize(
    "fused, definition",
    [
        (conv_of_upsampled, lambda x, kernel: conv3(upsample_nearest(x), kernel)),
        (pooled_conv, lambda x, kernel: average_pool(conv3(x, kernel))),
    ],
)
@pytest.mark.parametrize("size", [(6, 4), (2, 2)])
def test_values_and_derivatives_are_those_of_the_definition(fused, definition, size):
    x, kernel = random(0, (2, *size, 3)), random(1, (3, 3, 3, 2))
    found, expected = with_derivatives(fused, x, kernel), with_derivatives(definition, x, kernel)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.abs(b).max()))


def test_odd_sides_cannot_be_halved():
    with pytest.raises(ValueError, match="4 x 5 pixels cannot be halved"):
        pooled_conv(jnp.ones((1, 4, 5, 1)), jnp.ones((3, 3, 1, 1)))


@pytest.mark.parametrize("method", ["upsampled", "pooled"])
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_the_layer_is_itself_with_a_resampling(method, platform):
    x = random(0, (2, 4, 4, 3))

    def both():
        layer, same = (Conv(3, 5, kernel_size=3, padding=1, sn=SpectralNorm(), rngs=nnx.Rngs(0)) for _ in range(2))
        for each in (layer, same):
            each.bias[...] = jnp.arange(5.0)
        if method == "upsampled":
            definition = same(upsample_nearest(x), train=True)
        else:
            definition = average_pool(same(x, train=True))
        return getattr(layer, method)(x, train=True), layer.u[...], definition, same.u[...]

    with target.compiling_for(platform):
        found, u, expected, expected_u = both()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(u, expected_u)  # one power iteration, as ever


@pytest.mark.parametrize("kernel, padding, stride", [(1, 0, 1), (5, 2, 1), (3, 0, 1), (3, 1, 2)])
def test_other_shapes_take_the_two_operations(kernel, padding, stride):
    layer = Conv(3, 5, kernel_size=kernel, padding=padding, stride=stride, rngs=nnx.Rngs(0))
    x = random(0, (1, 8, 8, 3))
    np.testing.assert_array_equal(layer.upsampled(x, train=False), layer(upsample_nearest(x), train=False))
    np.testing.assert_array_equal(layer.pooled(x, train=False), average_pool(layer(x, train=False)))


def test_only_a_cpu_fuses():
    layer = Conv(3, 5, kernel_size=3, padding=1, rngs=nnx.Rngs(0))

    def largest(method, platform):
        with target.compiling_for(platform):
            x = jnp.ones((1, 8, 8, 3))
            program = jax.make_jaxpr(lambda x: getattr(layer, method)(x, train=False))(x)
        convolutions = [e for e in _flat(program.jaxpr) if e.primitive.name == "conv_general_dilated"]
        return max(e.outvars[0].aval.shape[1] for e in convolutions)

    assert (largest("upsampled", "cpu"), largest("upsampled", "gpu")) == (8, 16)
    assert (largest("pooled", "cpu"), largest("pooled", "gpu")) == (4, 8)


def _flat(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _flat(inner)


def test_the_result_has_the_dtype_of_the_layer():
    layer = Conv(3, 5, kernel_size=3, padding=1, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x = random(0, (1, 4, 4, 3))
    for found, exact in (
        (layer.upsampled(x, train=False), conv3(upsample_nearest(x), layer.kernel[...])),
        (layer.pooled(x, train=False), average_pool(conv3(x, layer.kernel[...]))),
    ):
        assert found.dtype == jnp.bfloat16
        np.testing.assert_allclose(found.astype(jnp.float32), exact, atol=0.02)
