"""Rematerialisation: memory for time, block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx


def run_block(block: Callable[..., jax.Array], *args: Any, train: bool, remat: bool) -> jax.Array:
    """Returns block(*args, train=train).

    With `remat` a training keeps only the block's inputs for the backward pass, which computes the activations within
    the block again: about a third more work, for a peak memory of one block's activations instead of all blocks'.
    Values are the same; statistics and spectral vectors move once.

    Reference: Chen et al. 2016 (arXiv:1604.06174), section 4.

    Args:
      block: a module.
      *args: arrays, or None.
      train: mode of the block; in evaluation nothing is kept anyway.
      remat: whether to.
    """
    if not (remat and train):
        return block(*args, train=train)

    def run(block: Callable[..., jax.Array], *args: Any) -> jax.Array:
        return block(*args, train=True)

    return nnx.remat(run)(block, *args)
