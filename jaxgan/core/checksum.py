"""Checksums of pytrees, computed where the arrays are.

Storage formats return a flipped bit without a word. A checksum per array is kept beside them; it is a sum on the
device, so saving need not wait for the arrays to reach the host, and sharded arrays need no gathering.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp


def paths(tree: Any) -> list[str]:
    """Names of the leaves, e.g. `nets/g/params/linear/kernel`."""
    return [_name(path) for path, _ in jax.tree.leaves_with_path(tree)]


def shapes(tree: Any) -> dict[str, str]:
    """Returns {leaf: "float32[3,4]"}."""
    leaves = jax.tree.leaves(tree)
    return {
        name: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" for name, leaf in zip(paths(tree), leaves, strict=True)
    }


def compute(tree: Any) -> dict[str, int]:
    """Returns {leaf: checksum}, each an unsigned 32-bit integer."""
    leaves = [leaf for _, leaf in jax.tree.leaves_with_path(tree)]
    if not leaves:
        return {}
    sums = jax.device_get(_checksums(leaves))
    return dict(zip(paths(tree), (int(s) for s in sums), strict=True))


def mismatches(tree: Any, expected: Mapping[str, int]) -> list[str]:
    """Names of the leaves whose checksum differs from `expected`."""
    return [name for name, value in compute(tree).items() if expected.get(name) != value]


@jax.jit
def _checksums(leaves: list[jax.Array]) -> jax.Array:
    return jnp.stack([_checksum(leaf) for leaf in leaves])


def _checksum(x: jax.Array) -> jax.Array:
    """sum_i (2 i + 1) * word_i modulo 2^32.

    The weights are odd, so any change of one word changes the sum; as they differ, so does exchanging two words
    (unless their difference is a multiple of a high power of two).
    """
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if x.dtype == jnp.bool_:
        x = x.astype(jnp.uint8)
    bits = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[x.dtype.itemsize]
    words = jax.lax.bitcast_convert_type(x, bits).astype(jnp.uint32)  # 8-byte types gain an axis of two words
    # Index along each axis rather than of the flattened array: reshaping a sharded array would gather it.
    weight = jnp.zeros((), jnp.uint32)
    for axis, size in enumerate(words.shape):
        index = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        weight = weight * jnp.uint32(size) + index
    return jnp.sum(words * (2 * weight + 1), dtype=jnp.uint32)


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
