"""Reflected borders against NumPy and PyTorch."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers.reflection_pad import reflection_pad


@pytest.mark.parametrize(
    ("shape", "padding"), [((2, 4, 5, 3), 3), ((1, 4, 9, 2), 1), ((1, 2, 2, 1), 1), ((1, 3, 1, 1), 0)]
)
def test_equals_numpy(shape, padding):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    expected = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)), mode="reflect")
    np.testing.assert_array_equal(reflection_pad(jnp.asarray(x), padding), expected)


def test_value_and_gradient_equal_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 5, 6), (2, 3, 9, 10)))
    theirs = torch.tensor(x, requires_grad=True)
    expected = torch.nn.ReflectionPad2d(2)(theirs)
    expected.backward(torch.tensor(g))
    y, pull = jax.vjp(lambda x: reflection_pad(x, 2), jnp.asarray(x.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(y, expected.detach().numpy().transpose(0, 2, 3, 1))
    (gradient,) = pull(jnp.asarray(g.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(gradient, theirs.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)


def test_dtype_is_kept():
    assert reflection_pad(jnp.ones((1, 4, 4, 1), jnp.bfloat16), 1).dtype == jnp.bfloat16


@pytest.mark.parametrize("shape", [(1, 3, 8, 1), (1, 8, 2, 1)])
def test_maps_without_enough_to_reflect(shape):
    message = rf"`x` \(a map of {shape[1]} x {shape[2]}\) must have sides of at least 4 pixels"
    with pytest.raises(ValueError, match=message):
        reflection_pad(jnp.ones(shape), 3)


def test_sides_may_be_symbols():
    """So that a generator is exported for images of any size."""
    shape = jax.export.symbolic_shape("b, 4*h, 4*w, 3")
    pad = jax.export.export(jax.jit(lambda x: reflection_pad(x, 3)))
    assert str(pad(jax.ShapeDtypeStruct(shape, jnp.float32)).out_avals[0].shape) == "(b, 4*h + 6, 4*w + 6, 3)"
