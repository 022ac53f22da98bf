"""Exponential moving average of a network's weights, with its half-life in images."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def decay_of_halflife(halflife_images: float, batch_size: int) -> float:
    """Returns the decay per step after which a weight's contribution halves every `halflife_images` images.

    BigGAN-PyTorch's 0.9999 at batch 256 is a half-life of 1.77 million images; counting in images keeps the average's
    memory the same when the batch size changes (Karras et al. 2018, arXiv:1710.10196, appendix A).
    """
    return 0.5 ** (batch_size / halflife_images)


def update(average: Any, current: Any, *, decay: float, step: jax.Array, start_step: int) -> Any:
    """Returns `decay * average + (1 - decay) * current`; before `start_step` a copy of `current`.

    Floating-point leaves are averaged, running statistics and spectral vectors included, as BigGAN-PyTorch's `ema`
    does with the whole state dictionary; other leaves are copied.

    Args:
      average, current: pytrees of the same structure.
      decay: per step, in [0, 1).
      step: int32 scalar, number of this update, the first being 1.
      start_step: updates up to it copy.
    """
    copies = step <= start_step

    def mix(old: jax.Array, new: jax.Array) -> jax.Array:
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return jnp.where(copies, new, old + (1 - decay) * (new - old))

    return jax.tree.map(mix, average, current)
