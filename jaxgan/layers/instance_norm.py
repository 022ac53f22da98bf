"""Instance normalisation of feature maps (B, H, W, C): every image and channel by its own mean and variance."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike


class InstanceNorm(nnx.Module):
    """(x - mean) / sqrt(var + eps) with the mean and biased variance of each map, in `dtype`; float32 inside.

    `torch.nn.InstanceNorm2d` as it is by default, without parameters and running statistics: training and evaluation
    are the same, and an image's result depends on that image alone.

    Reference: Ulyanov et al. 2016 (arXiv:1607.08022), equation 1.
    """

    def __init__(self, *, eps: float = 1e-5, dtype: DTypeLike = jnp.float32):
        self.eps, self.dtype = eps, dtype

    def __call__(self, x: jax.Array, *, train: bool = True) -> jax.Array:
        """Normalises x (B, H, W, C); `train` is ignored, so that this stands in for `BatchNorm`.

        Raises:
          ValueError: for maps of one pixel, of which nothing would be left.
        """
        del train
        return normalize_maps(x, self.eps).astype(self.dtype)


def normalize_maps(x: jax.Array, eps: float) -> jax.Array:
    """Returns x (B, H, W, C), each map with mean 0 and variance var / (var + eps), float32; see `InstanceNorm`."""
    if x.shape[1] * x.shape[2] == 1:
        raise ValueError(
            f"`x` (shape {list(x.shape)}) must have maps of more than one pixel to be normalised by their own "
            "statistics; use larger images, or fewer layers that halve them."
        )
    x = x.astype(jnp.float32)
    centred = x - x.mean(axis=(1, 2), keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=(1, 2), keepdims=True) + eps)
