"""The boundary between modules and pytrees keeps every weight in its place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.core import network as network_lib
from jaxgan.core.network import BoundNetwork


class Stack(nnx.Module):
    """Eleven scalars in a list: in string order "10" comes before "2"."""

    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Param(jnp.asarray(float(i))) for i in range(11)])

    def __call__(self, x):
        for i, layer in enumerate(self.layers):
            x = x + layer[...] * 10.0**-i
        return x


class Named(nnx.Module):
    """Entries of a dictionary whose names look like numbers, beside a list."""

    def __init__(self, rngs):
        self.maps = nnx.Dict({str(i): nnx.Param(jnp.asarray(float(i))) for i in (2, 10)})
        self.layers = nnx.List([nnx.Param(jnp.asarray(7.0))])

    def __call__(self, x):
        return x + self.maps["2"][...] * 100 + self.maps["10"][...] + self.layers[0][...] * 1000


class Counter(nnx.Module):
    def __init__(self, rngs):
        self.scale = nnx.Param(jnp.ones(()))
        self.calls = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, x, *, train):
        if train:
            self.calls[...] = self.calls[...] + 1
        return x * self.scale[...]


class OwnNetwork(nnx.Module):
    """A user's module with flax's own layers and no `train` argument."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(3, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.linear(x)))


def test_lists_of_modules_have_string_keys_and_keep_their_order():
    network, params, stats = network_lib.create(Stack, jax.random.key(0))
    assert list(params["layers"]) == [str(i) for i in range(11)]
    got, _ = network(params, stats, jnp.zeros(()), train=True)
    np.testing.assert_allclose(got, sum(i * 10.0**-i for i in range(11)), rtol=1e-6)


def test_names_that_look_like_numbers_stay_names():
    network, params, stats = network_lib.create(Named, jax.random.key(0))
    assert network.integer_keys == {("layers", "0")}
    assert float(network(params, stats, jnp.zeros(()), train=True)[0]) == 7210.0


def test_a_call_changes_neither_params_nor_stats_in_place():
    network, params, stats = network_lib.create(Counter, jax.random.key(0))
    _, new_stats = network(params, stats, jnp.ones(()), train=True)
    assert stats["calls"] == 0 and new_stats["calls"] == 1


def test_bound_networks_remember_stats_only_when_told():
    network, params, stats = network_lib.create(Counter, jax.random.key(0))
    bound = BoundNetwork(network, params, stats)
    bound(jnp.ones(()))
    assert bound.stats["calls"] == 1
    bound(jnp.ones(()), update_stats=False)
    bound(jnp.ones(()), train=False)
    assert bound.stats["calls"] == 1
    bound(jnp.ones(()))
    assert bound.stats["calls"] == 2


def test_a_users_module_without_a_train_argument_is_switched():
    network, params, stats = network_lib.create(OwnNetwork, jax.random.key(0))
    assert not network.takes_train
    x = jax.random.normal(jax.random.key(1), (16, 3)) * 3 + 1
    evaluated, unchanged = network(params, stats, x, train=False)
    expected = (x @ params["linear"]["kernel"] + params["linear"]["bias"][None]) / jnp.sqrt(1 + 1e-5)
    np.testing.assert_allclose(evaluated, expected, rtol=1e-5, atol=1e-6)
    assert jax.tree.all(jax.tree.map(lambda a, b: a is b or bool(jnp.all(a == b)), stats["norm"], unchanged["norm"]))
    trained, moved = network(params, stats, x, train=True)
    assert float(jnp.mean(trained == 0)) > 0.2, "dropout is on in training"
    assert not np.allclose(stats["norm"]["mean"], moved["norm"]["mean"])


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_follow_from_the_key(seed):
    _, a, _ = network_lib.create(OwnNetwork, jax.random.key(seed))
    _, b, _ = network_lib.create(OwnNetwork, jax.random.key(seed))
    _, c, _ = network_lib.create(OwnNetwork, jax.random.key(seed + 1))
    assert jnp.array_equal(a["linear"]["kernel"], b["linear"]["kernel"])
    assert not jnp.array_equal(a["linear"]["kernel"], c["linear"]["kernel"])


class ByName(nnx.Module):
    """Takes its random numbers by name, as NNX's layers do, and one input."""

    def __init__(self, *, rngs):
        self.scale = nnx.Param(jax.random.normal(rngs.params(), ()))

    def __call__(self, z):
        return self.scale[...] * z


def test_rngs_and_inputs_are_given_as_the_module_takes_them():
    network, params, stats = network_lib.create(ByName, jax.random.key(0))
    same, also_params, _ = network_lib.create(lambda rngs: ByName(rngs=rngs), jax.random.key(0))
    assert params == also_params and network.module_type is same.module_type is ByName
    assert network.max_inputs == 1
    z = jnp.ones(3)
    out, _ = network(params, stats, z, jnp.zeros(3, jnp.int32), train=True)
    np.testing.assert_array_equal(out, params["scale"] * z)


def test_a_module_of_any_number_of_inputs_gets_all():
    class Sum(nnx.Module):
        def __init__(self, rngs):
            del rngs

        def __call__(self, *inputs, train):
            return sum(inputs)

    network, params, stats = network_lib.create(Sum, jax.random.key(0))
    assert network(params, stats, 1, 2, 3, train=True)[0] == 6 and network.takes_train


class Rows(nnx.Module):
    """Logits and features of each row, a vector that moves without regard to the inputs, and how many rows it saw."""

    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray([0.5, -2.0]))
        self.u = nnx.BatchStat(jnp.asarray(1.0))
        self.rows = nnx.BatchStat(jnp.asarray(0.0))

    def __call__(self, x, labels, *, train):
        if train:
            self.u[...] = 2 * self.u[...]
            self.rows[...] = jnp.asarray(float(len(x)))
        logits = jnp.tanh(x @ self.w[...]) * jax.lax.stop_gradient(self.u[...]) + labels
        return {"logits": logits, "features": jnp.sin(x)}


def test_pieces_of_a_batch_give_the_outputs_and_gradients_of_the_whole():
    network, params, stats = network_lib.create(Rows, jax.random.key(0))
    x, labels = jax.random.normal(jax.random.key(1), (6, 2)), jnp.arange(6)

    def loss(params, num_pieces):
        bound = BoundNetwork(network, params, stats)
        bound.num_pieces = num_pieces
        out = bound(x, labels)
        return jnp.var(out["logits"]), (out, bound.stats)  # a variance is no sum over the pieces

    whole, (out, moved) = jax.grad(loss, has_aux=True)(params, 1)
    for num_pieces, rows in ((2, 3), (3, 2), (6, 1)):
        pieces, (out_of_pieces, moved_by_pieces) = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)(
            params, num_pieces
        )
        np.testing.assert_allclose(pieces["w"], whole["w"], rtol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), out_of_pieces, out)
        assert moved_by_pieces["u"] == moved["u"] == 2  # once, not once per piece
        assert moved_by_pieces["rows"] == rows and moved["rows"] == 6


def test_pieces_are_for_training_only():
    network, params, stats = network_lib.create(Rows, jax.random.key(0))
    bound = BoundNetwork(network, params, stats)
    bound.num_pieces = 4
    assert bound(jnp.ones((6, 2)), jnp.zeros(6), train=False)["logits"].shape == (6,)  # 4 does not divide 6
    assert bound.stats["u"] == 1


class Deep(nnx.Module):
    """Keeps many times its inputs for the backward pass."""

    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(8)])

    def __call__(self, x, *, train):
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        return x


def test_pieces_keep_little_more_than_their_inputs_for_the_backward_pass():
    network, params, stats = network_lib.create(Deep, jax.random.key(0))
    x = jnp.ones((64, 4))

    def num_bytes(tree):
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))

    def kept(num_pieces):
        def run(params):
            bound = BoundNetwork(network, params, stats)
            bound.num_pieces = num_pieces
            return bound(x)

        return num_bytes(jax.eval_shape(lambda params: jax.vjp(run, params)[1], params))

    assert kept(1) > 8 * x.nbytes
    assert kept(4) <= x.nbytes + 2 * num_bytes(params)
