"""Factor-two resampling of feature maps (B, H, W, C)."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def upsample_nearest(x: jax.Array) -> jax.Array:
    """Repeats every pixel twice along both sides: (B, H, W, C) -> (B, 2H, 2W, C)."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def average_pool(x: jax.Array) -> jax.Array:
    """Averages 2x2 windows: (B, 2H, 2W, C) -> (B, H, W, C). ValueError for an odd side."""
    return _windows(x).mean(axis=(2, 4))


def max_pool(x: jax.Array) -> jax.Array:
    """Takes the maxima of 2x2 windows: (B, 2H, 2W, C) -> (B, H, W, C). ValueError for an odd side.

    Equal maxima share the gradient; PyTorch gives it to the first of them.
    """
    return _windows(x).max(axis=(2, 4))


def _windows(x: jax.Array) -> jax.Array:
    b, h, w, c = x.shape
    if h % 2 or w % 2:
        raise ValueError(f"A map of {h} x {w} pixels cannot be halved; both sides must be even.")
    return x.reshape(b, h // 2, 2, w // 2, 2, c)
