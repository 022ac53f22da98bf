"""Padding with the map's own mirror image."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def reflection_pad(x: jax.Array, padding: int) -> jax.Array:
    """`torch.nn.ReflectionPad2d(padding)` on x (B, H, W, C): the border pixel is the axis and is not repeated.

    Slices put together, because on a CPU they and their gradient take about half of the time of `jnp.pad`'s.

    Raises:
      ValueError: for a side of `padding` pixels or fewer, which has no mirror image as large.
    """
    if x.shape[1] <= padding or x.shape[2] <= padding:  # `min` would compare symbolic sides with each other
        raise ValueError(
            f"`x` (a map of {x.shape[1]} x {x.shape[2]}) must have sides of at least {padding + 1} pixels to be padded "
            f"with {padding} reflected ones; use larger images."
        )
    x = jnp.concatenate([x[:, padding:0:-1], x, x[:, -2 : -padding - 2 : -1]], axis=1)
    return jnp.concatenate([x[:, :, padding:0:-1], x, x[:, :, -2 : -padding - 2 : -1]], axis=2)
