"""Randomness as a pure function of (seed, stream, step): no keys in the state, nothing to restore."""

from __future__ import annotations

import zlib

import jax


def stream(root: jax.Array, name: str) -> jax.Array:
    """Returns the key of a named stream; distinct names give independent keys, whatever else uses `root`."""
    return jax.random.fold_in(root, zlib.crc32(name.encode()))


def at_step(key: jax.Array, step: jax.Array | int) -> jax.Array:
    """Returns the key that a stream has at a step."""
    return jax.random.fold_in(key, step)
