"""Convolutions against PyTorch: values, first and second derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.layers.conv import Conv, ConvTranspose, conv_transpose

TRANSPOSED = [(4, 2, 1, 0), (3, 2, 1, 1), (4, 1, 0, 0), (5, 2, 2, 1), (4, 1, 1, 0)]


def random(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def nchw(torch, x):
    return torch.tensor(np.ascontiguousarray(np.asarray(x).transpose(0, 3, 1, 2)))


def nhwc(x):
    return x.detach().numpy().transpose(0, 2, 3, 1)


def to_torch_transposed(torch, kernel):
    return torch.tensor(np.ascontiguousarray(np.asarray(kernel)[::-1, ::-1].transpose(2, 3, 0, 1)))


def from_torch_transposed(weight):
    return weight.detach().numpy().transpose(2, 3, 0, 1)[::-1, ::-1]


@pytest.mark.parametrize(("k", "s", "p"), [(3, 1, 1), (4, 2, 1), (4, 1, 0), (1, 1, 0), (4, 2, 0)])
@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_conv_equals_torch(k, s, p, size):
    torch = pytest.importorskip("torch")
    layer = Conv(3, 5, kernel_size=k, stride=s, padding=p, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.asarray(random(1, 5))
    reference = torch.nn.Conv2d(3, 5, k, s, p)
    with torch.no_grad():
        weight = np.asarray(layer.kernel[...]).transpose(3, 2, 0, 1)
        reference.weight.copy_(torch.tensor(np.ascontiguousarray(weight)))
        reference.bias.copy_(torch.tensor(np.asarray(layer.bias[...])))
    x = random(2, (2, *size, 3))
    np.testing.assert_allclose(layer(jnp.asarray(x), train=True), nhwc(reference(nchw(torch, x))), atol=2e-6)


@pytest.mark.parametrize(("k", "s", "p", "op"), TRANSPOSED)
@pytest.mark.parametrize("size", [(3, 4), (1, 1)])
def test_transposed_conv_equals_torch(k, s, p, op, size):
    torch = pytest.importorskip("torch")
    options = dict(stride=s, padding=p, output_padding=op)
    layer = ConvTranspose(3, 5, kernel_size=k, **options, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.asarray(random(1, 5))
    reference = torch.nn.ConvTranspose2d(3, 5, k, **options)
    with torch.no_grad():
        reference.weight.copy_(to_torch_transposed(torch, layer.kernel[...]))
        reference.bias.copy_(torch.tensor(np.asarray(layer.bias[...])))
    x = random(2, (2, *size, 3))
    np.testing.assert_allclose(layer(jnp.asarray(x), train=True), nhwc(reference(nchw(torch, x))), atol=2e-6)


def test_first_layer_may_have_an_oblong_kernel():
    layer = ConvTranspose(3, 5, kernel_size=(2, 4), rngs=nnx.Rngs(0))
    x = jnp.asarray(random(0, (2, 1, 1, 3)))
    expected = conv_transpose(x, layer.kernel[...])
    assert expected.shape == (2, 2, 4, 5)
    np.testing.assert_allclose(layer(x, train=True), expected, atol=1e-6)


@pytest.mark.parametrize(("k", "s", "p", "op"), TRANSPOSED)
def test_transposed_conv_derivatives_equal_torch(k, s, p, op):
    torch = pytest.importorskip("torch")
    x, kernel = random(0, (2, 3, 4, 3)), random(1, (k, k, 3, 2))

    def penalty(x, kernel):  # a gradient penalty: its gradient differentiates the layer twice
        grads = jax.grad(lambda x: jnp.tanh(conv_transpose(x, kernel, s, p, op)).sum())(x)
        return jnp.sum(grads**2)

    differentiate = jax.jit(jax.value_and_grad(penalty, argnums=(0, 1)))
    value, (x_grad, kernel_grad) = differentiate(jnp.asarray(x), jnp.asarray(kernel))

    xt, wt = nchw(torch, x).requires_grad_(), to_torch_transposed(torch, kernel).requires_grad_()
    y = torch.nn.functional.conv_transpose2d(xt, wt, stride=s, padding=p, output_padding=op)
    (first,) = torch.autograd.grad(torch.tanh(y).sum(), xt, create_graph=True)
    expected = first.square().sum()
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    np.testing.assert_allclose(x_grad, nhwc(xt.grad), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(kernel_grad, from_torch_transposed(wt.grad), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [Conv, ConvTranspose])
def test_bias_is_optional_and_dtype_is_that_of_the_output(make):
    layer = make(3, 2, kernel_size=3, bias=False, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert set(nnx.to_pure_dict(nnx.state(layer))) == {"kernel"}
    assert layer.kernel[...].dtype == jnp.float32
    x = jnp.asarray(random(0, (1, 4, 4, 3)))
    assert layer(x, train=False).dtype == jnp.bfloat16
    grad = jax.grad(lambda x: layer(x, train=False).astype(jnp.float32).sum())(x)
    assert grad.dtype == jnp.float32 and np.any(grad)


def test_impossible_settings():
    with pytest.raises(ValueError, match=r"`output_padding` \(=2\) must lie in \[0, stride \(=2\)\)"):
        ConvTranspose(1, 1, kernel_size=4, stride=2, output_padding=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`sn_axis` \(='left'\) must be out or in"):
        ConvTranspose(1, 1, kernel_size=4, sn_axis="left", rngs=nnx.Rngs(0))
