"""Linear layer, embedding and the reading of tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.layers.linear import Embed, Linear, look_up


def test_linear_is_the_affine_map_over_the_last_axis():
    layer = Linear(3, 2, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.array([1.0, -2.0])
    x = np.random.default_rng(0).standard_normal((4, 5, 3)).astype(np.float32)
    expected = x @ np.asarray(layer.kernel[...]) + np.array([1.0, -2.0])
    np.testing.assert_allclose(layer(jnp.asarray(x), train=True), expected, rtol=1e-5, atol=1e-6)


def test_linear_without_bias_maps_zero_to_zero():
    layer = Linear(3, 2, bias=False, rngs=nnx.Rngs(0))
    assert set(nnx.to_pure_dict(nnx.state(layer))) == {"kernel"}
    np.testing.assert_array_equal(layer(jnp.zeros((1, 3)), train=False), np.zeros((1, 2)))


def test_linear_computes_in_dtype_and_keeps_float32_parameters():
    layer = Linear(3, 2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert layer(jnp.ones((1, 3)), train=False).dtype == jnp.bfloat16
    assert layer.kernel[...].dtype == layer.bias[...].dtype == jnp.float32


def test_embedding_reads_rows():
    embed = Embed(5, 3, rngs=nnx.Rngs(0))
    rows = embed(jnp.array([4, 0, 4]), train=False)
    np.testing.assert_array_equal(rows, np.asarray(embed.table[...])[[4, 0, 4]])


def test_mixtures_interpolate_rows_and_one_hot_equals_ids():
    table = jnp.arange(12.0).reshape(4, 3)
    ids = jnp.array([3, 1])
    np.testing.assert_array_equal(look_up(table, jax.nn.one_hot(ids, 4)), look_up(table, ids))
    mixed = look_up(table, jnp.array([[0.25, 0.0, 0.75, 0.0]]))
    np.testing.assert_allclose(mixed, 0.25 * table[:1] + 0.75 * table[2:3])


def test_gradient_adds_up_over_equal_labels():
    grad = jax.grad(lambda t: look_up(t, jnp.array([2, 2, 0])).sum())(jnp.zeros((3, 2)))
    np.testing.assert_array_equal(grad, [[1, 1], [0, 0], [2, 2]])


def test_unknown_class_ids_do_not_read_a_wrong_row():
    assert np.all(np.isnan(look_up(jnp.ones((3, 2)), jnp.array([3]))))


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (jnp.zeros((2, 3)), r"float32\[2, 3\]"),
        (jnp.zeros(2), r"float32\[2\]"),
        (jnp.zeros((2, 4), jnp.int32), r"int32\[2, 4\]"),
    ],
)
def test_labels_of_another_kind(labels, shown):
    with pytest.raises(ValueError, match=rf"`labels` \(={shown}\) must be integer class ids.*\[B, 4\]"):
        look_up(jnp.ones((4, 2)), labels)
