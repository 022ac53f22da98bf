"""Checksums notice what storage does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.core import checksum


def reference(x: np.ndarray) -> int:
    words = x.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[x.dtype.itemsize]).astype(np.uint64).ravel()
    weights = 2 * np.arange(words.size, dtype=np.uint64) + 1
    return int(np.sum(words * weights % 2**32) % 2**32)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, np.float16])
def test_equals_the_formula(dtype):
    x = (np.random.default_rng(0).normal(size=(3, 4, 5)) * 50).astype(dtype)
    assert checksum.compute({"x": jnp.asarray(x)}) == {"x": reference(x)}


@pytest.mark.parametrize("bit", [0, 7, 30, 31])
@pytest.mark.parametrize("index", [(0, 0), (2, 3), (6, 4)])
def test_any_flipped_bit_is_seen(bit, index):
    x = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    expected = checksum.compute({"a": {"b": jnp.asarray(x)}})
    x.view(np.uint32)[index] ^= np.uint32(1 << bit)
    assert checksum.mismatches({"a": {"b": jnp.asarray(x)}}, expected) == ["a/b"]


def test_exchanged_values_are_seen():
    x = jnp.asarray([1.5, 2.5, 3.5])
    assert checksum.mismatches({"x": x[::-1]}, checksum.compute({"x": x})) == ["x"]


def test_zero_and_negative_zero_differ():
    assert checksum.mismatches({"x": jnp.asarray([-0.0])}, checksum.compute({"x": jnp.asarray([0.0])})) == ["x"]


def test_keys_booleans_and_scalars():
    tree = {"key": jax.random.key(3), "flag": jnp.asarray([True, False]), "n": jnp.asarray(7)}
    sums = checksum.compute(tree)
    assert sums["n"] == 7 and sums["flag"] == 1
    assert checksum.mismatches(tree | {"key": jax.random.key(4)}, sums) == ["key"]


def test_sharded_arrays_have_the_same_checksum():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    x = jnp.arange(64.0).reshape(16, 4)
    sharded = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
    assert checksum.compute({"x": sharded}) == checksum.compute({"x": x})


def test_no_leaves():
    assert checksum.compute({}) == {} and checksum.paths({}) == []
