"""The U-Net generator of pix2pix: an encoder down to a few pixels, and a decoder that sees the map of every level.

Reference: Isola et al. 2017 (arXiv:1611.07004), section 6.1; junyanz/pytorch-CycleGAN-and-pix2pix, models/networks.py
(UnetGenerator), which it matches. (The paper has dropout in the three innermost decoder layers; that code begins one
layer further out, as done here.)
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxgan.layers.conv import Conv, ConvTranspose
from jaxgan.layers.init import NORMAL_STD, Init
from jaxgan.layers.instance_norm import normalize_maps
from jaxgan.layers.norm import BatchNorm
from jaxgan.models.cyclegan import check_sides
from jaxgan.models.maps import leaky_relu

MAX_DOWNS = 8


class UNetGenerator(nnx.Module):
    """`num_downs` convolutions (kernel 4, stride 2, padding 1), as many transposed ones back, joined at every level.

    Leaky ReLU 0.2 before the convolutions, ReLU before the transposed ones, batch norm after both (not after the first
    and the innermost convolution), tanh at the end. Level i is min(2^i, 8) * channels wide. Parameters at 8 levels, 3
    channels and the default width: 54,413,955, as the original unet_256.

    In evaluation the original keeps batch norm in training mode and translates single images: each is normalised by its
    own statistics. So is it here, whatever the size of the batch; `running_stats` takes the running ones instead (the
    original's `--eval`), which fits networks that were trained on batches of several images.

    Args:
      in_channels: of the images to be translated.
      out_channels: of the translations.
      resolution: (H, W) of the training images in pixels; other multiples of 2^num_downs can be translated too.
      channels: width of the first level.
      num_downs: levels, 2 or more; 0 = log2 of the shorter side, at most 8.
      dropout: share of values dropped after the decoder's transposed convolutions between levels of the full width, 8 *
        channels (the innermost excepted): three of them at 8 levels, none below 6. It is the generator's only source of
        randomness, and therefore on in evaluation too.
      running_stats: see above.
      init: see `Init`; torchgan redraws the transposed convolutions.
      dtype: of the computation; images are float32 always.
      rngs: its `params` stream draws the parameters.

    Raises:
      ValueError: for settings that do not fit together.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        resolution: tuple[int, int],
        channels: int = 64,
        num_downs: int = 0,
        dropout: float = 0.5,
        running_stats: bool = False,
        init: str = "normal",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` (={dropout}) must lie in [0, 1); 0 turns it off, 0.5 is usual.")
        self.num_downs = k = _choose_num_downs(resolution, num_downs)
        conv: dict[str, Any] = dict(
            kernel_size=4, stride=2, padding=1, init=Init(init, redrawn=("transposed",)), dtype=dtype, rngs=rngs
        )
        scale_std = NORMAL_STD if init == "normal" else 0.0
        bn: dict[str, Any] = dict(scale_std=scale_std, dtype=dtype, rngs=rngs)
        norm = BatchNorm if running_stats else BatchNormThenInstanceNorm
        widths = [channels * min(2**i, 8) for i in range(k)]
        outer = [out_channels, *widths[:-1]]  # what the decoder's level i hands to the level outside of it
        self.in_channels, self.dropout = in_channels, dropout
        self.dropped = tuple(range(4, k - 1)) if dropout else ()
        self.down, self.down_norms, self.up, self.up_norms = (nnx.Dict() for _ in range(4))
        for i in range(k):
            innermost = i == k - 1
            self.down[str(i)] = Conv(widths[i - 1] if i else in_channels, widths[i], bias=False, **conv)
            if i and not innermost:
                self.down_norms[str(i)] = norm(widths[i], **bn)
            joined = widths[i] if innermost else 2 * widths[i]
            self.up[str(i)] = ConvTranspose(joined, outer[i], bias=i == 0, **conv)
            if i:
                self.up_norms[str(i)] = norm(outer[i], **bn)

    def __call__(self, images: jax.Array, key: jax.Array | None = None, *, train: bool = True) -> jax.Array:
        """Returns translations (B, H, W, out_channels), float32 in [-1, 1], of images (B, H, W, in_channels).

        Args:
          images: in [-1, 1].
          key: typed key of the dropout, one for all images, or one for each (B,); what an image gets depends on its
            key, or on the common key and its place, only. Without dropout it is not needed.
          train: batch statistics, or those of evaluation.

        Raises:
          ValueError: for another number of channels, for sides that are no multiples of 2^num_downs, without a key.
        """
        check_sides(images, self.in_channels, 2**self.num_downs)
        keys = self._keys_of_images(key, images.shape[0])
        levels = [self.down["0"](images, train=train)]
        for i in range(1, self.num_downs):
            x = self.down[str(i)](leaky_relu(levels[-1], 0.2), train=train)
            levels.append(self.down_norms[str(i)](x, train=train) if str(i) in self.down_norms else x)
        x = levels.pop()
        for i in reversed(range(1, self.num_downs)):
            x = self.up_norms[str(i)](self.up[str(i)](jax.nn.relu(x), train=train), train=train)
            if keys is not None and i in self.dropped:
                x = drop(x, jax.vmap(jax.random.fold_in, (0, None))(keys, i), self.dropout)
            x = jnp.concatenate([levels.pop(), x], axis=-1)
        return jnp.tanh(self.up["0"](jax.nn.relu(x), train=train).astype(jnp.float32))

    def _keys_of_images(self, key: jax.Array | None, count: int) -> jax.Array | None:
        if not self.dropped:
            return None
        if key is None:
            raise ValueError("`key` (=None) must be given, because dropout is this generator's randomness.")
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count)) if key.ndim == 0 else key


class BatchNormThenInstanceNorm(BatchNorm):
    """Batch norm in training; in evaluation each map is normalised by its own statistics, not by the running ones."""

    def normalize(self, x: jax.Array, *, train: bool) -> jax.Array:
        return super().normalize(x, train=True) if train else normalize_maps(x, self.eps)


def drop(x: jax.Array, keys: jax.Array, rate: float) -> jax.Array:
    """Returns x (B, ...) with a share `rate` of its values 0, the others divided by 1 - rate; keys (B,), one each."""
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1 - rate), 0).astype(x.dtype)


def _choose_num_downs(resolution: tuple[int, int], num_downs: int) -> int:
    levels = num_downs or min(MAX_DOWNS, int(math.log2(max(min(resolution), 1))))
    if levels < 2:
        raise ValueError(f"`num_downs` (={levels}) must be at least 2; use larger images.")
    if resolution[0] % 2**levels or resolution[1] % 2**levels:
        raise ValueError(
            f"`resolution` (={resolution[0]} x {resolution[1]}) must have sides that are multiples of {2**levels}, as "
            f"`num_downs` (={levels}) halvings need; change either."
        )
    return levels
