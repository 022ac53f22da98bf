"""Minibatch discrimination: D sees how close the images of a batch are to each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from jaxgan.layers.init import normal


class MinibatchDiscrimination(nnx.Module):
    """Appends to each row its closeness to the other rows of the batch: (B, in) -> (B, in + out), in x's dtype.

    M_i = x_i T; closeness_b(i) = sum over j != i of exp(-||M_ib - M_jb||_1), in float32. As the rows are compared with
    each other, a batch that mixes real and fake images tells them apart by nothing: train with two forwards
    (`joint_forward=False`). Under `jax.jit` a batch cut over devices is compared as a whole. It holds
    B * B * out * kernel_dims values at once.

    Parameter: `kernel` (in, out, kernel_dims) ~ N(0, std^2).
    Reference: Salimans et al. 2016 (arXiv:1606.03498), section 3.2. Matches torchgan's MinibatchDiscrimination1d
    (std 1, kernel_dims 16, a row not compared with itself; the paper's sum has that constant 1 too). The authors'
    improved-gan adds a bias and normalises T.
    """

    def __init__(self, in_features: int, out_features: int, *, kernel_dims: int = 16, std: float = 1.0, rngs: nnx.Rngs):
        self.kernel = nnx.Param(normal(rngs, (in_features, out_features, kernel_dims), std))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns x (B, in) followed by the closeness (B, out).

        Raises:
          ValueError: if x is not (B, in).
        """
        in_features, out_features, kernel_dims = self.kernel[...].shape
        if x.ndim != 2 or x.shape[1] != in_features:
            raise ValueError(
                f"x (shape {x.shape}) must be (B, {in_features}); flatten or pool the map before minibatch "
                "discrimination."
            )
        kernel = self.kernel[...].reshape(in_features, -1)
        rows = jnp.dot(x.astype(jnp.float32), kernel).reshape(-1, out_features, kernel_dims)  # (B, out, dims)
        distances = jnp.sum(jnp.abs(rows[:, None] - rows[None, :]), axis=-1)  # (B, B, out)
        closeness = jnp.sum(jnp.exp(-distances), axis=1) - 1.0
        return jnp.concatenate([x, closeness.astype(x.dtype)], axis=1)
