"""From uint8 pixels to the [-1, 1] that networks see; `generation/images.py` has the way back."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def to_float(images: jax.Array, *, scaling: str, key: jax.Array | None = None) -> jax.Array:
    """Scales pixels to [-1, 1]; for use inside a jitted step, so that uint8 travels to the device.

    Args:
      images: uint8, any shape.
      scaling: "symmetric" is 2 x / 255 - 1. "nnabla" is x / 128 - 1 + U(0, 1/128), which fills the gaps between the 256
        values; without a key the noise is left out and the largest value is 127/128.
      key: PRNG key of the noise; unused by "symmetric".

    Returns:
      float32 in [-1, 1], of the shape of images.

    Raises:
      ValueError: if scaling is neither.

    Reference: "nnabla" is the data iterator of nnabla-examples' SAGAN, whose `noise` flag is on in training only.
    """
    values = images.astype(jnp.float32)
    if scaling == "symmetric":
        return (2.0 * values - 255.0) / 255.0  # -1 and 1 exactly, also where the compiler multiplies by 1/255
    if scaling == "nnabla":
        values = values / 128.0 - 1.0
        return values if key is None else values + jax.random.uniform(key, values.shape, maxval=1.0 / 128.0)
    raise ValueError(f"scaling (={scaling!r}) must be symmetric or nnabla.")
