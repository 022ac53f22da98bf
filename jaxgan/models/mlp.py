"""The simple GAN: fully connected generator and discriminator.

Reference: Goodfellow et al. 2014 (arXiv:1406.2661); layer sizes of the common MNIST tutorial (64 - 256 - 784 and
784 - 128 - 1, leaky ReLU 0.1), whose discriminator ends in a sigmoid that belongs to the loss here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxgan.layers.init import Init
from jaxgan.layers.linear import Linear
from jaxgan.models.maps import check_images, check_latents, leaky_relu


class MLPGenerator(nnx.Module):
    """z (B, latent_dim) - hidden linear layers with leaky ReLU - linear - tanh - images (B, H, W, out_channels).

    Args:
      resolution: (H, W) of the images in pixels; any size.
      out_channels: of the images.
      latent_dim: size of z.
      hidden: widths of the hidden layers.
      slope: of the leaky ReLU; 0 = ReLU.
      init: see `Init`.
      dtype: of the computation; images are float32 always.
      rngs: its `params` stream draws the parameters.
    """

    def __init__(
        self,
        *,
        resolution: tuple[int, int],
        out_channels: int = 3,
        latent_dim: int = 64,
        hidden: Sequence[int] = (256,),
        slope: float = 0.1,
        init: str = "torch",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.shape, self.latent_dim, self.slope = (*resolution, out_channels), latent_dim, slope
        self.layers = _layers((latent_dim, *hidden, math.prod(self.shape)), init, (dtype,) * (len(hidden) + 1), rngs)

    def __call__(self, z: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Returns images (B, H, W, out_channels), float32 in [-1, 1]; labels are ignored."""
        del labels
        check_latents(z, self.latent_dim)
        x = _apply(self.layers, z, self.slope, train=train).astype(jnp.float32)
        return jnp.tanh(x).reshape(z.shape[0], *self.shape)


class MLPDiscriminator(nnx.Module):
    """images (B, H, W, in_channels) - hidden linear layers with leaky ReLU - linear - logits (B,).

    Args:
      resolution: (H, W) of the images in pixels; any size.
      in_channels: of the images.
      hidden: widths of the hidden layers.
      slope: of the leaky ReLU; 0 = ReLU.
      init: see `Init`.
      dtype: of the hidden layers; the last one and the logits are float32 always.
      rngs: its `params` stream draws the parameters.
    """

    def __init__(
        self,
        *,
        resolution: tuple[int, int],
        in_channels: int = 3,
        hidden: Sequence[int] = (128,),
        slope: float = 0.1,
        init: str = "torch",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.resolution, self.in_channels, self.slope = resolution, in_channels, slope
        sizes = (math.prod(resolution) * in_channels, *hidden, 1)
        self.layers = _layers(sizes, init, (dtype,) * len(hidden) + (jnp.float32,), rngs)

    def __call__(self, images: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Returns logits (B,), float32, for images in [-1, 1]; labels are ignored."""
        del labels
        check_images(images, self.resolution, self.in_channels)
        return _apply(self.layers, images.reshape(images.shape[0], -1), self.slope, train=train)[:, 0]


def _layers(sizes: Sequence[int], init: str, dtypes: Sequence[DTypeLike], rngs: nnx.Rngs) -> nnx.Dict:
    pairs = zip(sizes[:-1], sizes[1:], dtypes, strict=True)
    return nnx.Dict(
        {str(i): Linear(a, b, init=Init(init), dtype=dtype, rngs=rngs) for i, (a, b, dtype) in enumerate(pairs)}
    )


def _apply(layers: nnx.Dict, x: jax.Array, slope: float, *, train: bool) -> jax.Array:
    last = len(layers) - 1
    for i in range(last):
        x = leaky_relu(layers[str(i)](x, train=train), slope)
    return layers[str(last)](x, train=train)
