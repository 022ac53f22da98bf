"""Residual blocks of SNGAN, SAGAN and their kin; convolutions have stride 1, zero padding and bias.

Reference: Miyato et al. 2018 (arXiv:1802.05957), appendix B.4; sngan_projection (`resblocks.py`), self-attention-gan
(`generator.py`, `discriminator.py`), BigGAN-PyTorch (`layers.py`). A 1x1 convolution commutes with nearest
up-sampling and with average pooling, so shortcuts run it on the smaller map whichever order a reference has.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax.typing import DTypeLike

from jaxgan.layers.conv import Conv
from jaxgan.layers.init import Init
from jaxgan.layers.norm import BatchNorm, ConditionalBatchNorm
from jaxgan.layers.resample import average_pool, upsample_nearest
from jaxgan.layers.spectral_norm import SpectralNorm


class GeneratorBlock(nnx.Module):
    """norm - ReLU - x2 - conv3x3 - norm - ReLU - conv3x3, plus x2 - conv1x1: (B, H, W, in) -> (B, 2H, 2W, out).

    The norms are class-conditional where `num_classes` > 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_classes: int,
        sn: SpectralNorm | None,
        bn_decay: float,
        bn_eps: float,
        bn_groups: int = 1,
        init: Init,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        conv3, conv1 = _convs(sn, init, dtype, rngs)
        bn: dict[str, Any] = dict(decay=bn_decay, eps=bn_eps, groups=bn_groups, dtype=dtype, rngs=rngs)

        def norm(channels: int) -> BatchNorm | ConditionalBatchNorm:
            return ConditionalBatchNorm(channels, num_classes, **bn) if num_classes else BatchNorm(channels, **bn)

        self.norm1 = norm(in_channels)
        self.conv1 = conv3(in_channels, out_channels)
        self.norm2 = norm(out_channels)
        self.conv2 = conv3(out_channels, out_channels)
        self.shortcut = conv1(in_channels, out_channels)

    def __call__(self, x: jax.Array, labels: jax.Array | None, *, train: bool) -> jax.Array:
        h = jax.nn.relu(self.norm1(x, labels, train=train))
        h = self.conv1.upsampled(h, train=train)
        h = jax.nn.relu(self.norm2(h, labels, train=train))
        h = self.conv2(h, train=train)
        return h + upsample_nearest(self.shortcut(x, train=train))


class FirstDiscriminatorBlock(nnx.Module):
    """conv3x3 - ReLU - conv3x3 - /2, plus /2 - conv1x1: images (B, H, W, in) -> (B, H/2, W/2, out)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        sn: SpectralNorm | None,
        init: Init,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        conv3, conv1 = _convs(sn, init, dtype, rngs)
        self.conv1 = conv3(in_channels, out_channels)
        self.conv2 = conv3(out_channels, out_channels)
        self.shortcut = conv1(in_channels, out_channels)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        h = jax.nn.relu(self.conv1(x, train=train))
        h = self.conv2.pooled(h, train=train)
        return h + self.shortcut(average_pool(x), train=train)


class DiscriminatorBlock(nnx.Module):
    """ReLU - conv3x3 - ReLU - conv3x3 [- /2], plus [conv1x1 - /2]: (B, H, W, in) -> (B, H[/2], W[/2], out).

    Args:
      in_channels: of the input.
      out_channels: of the output.
      down: halves the map; without it the shortcut is the identity where in = out, else a convolution.
      wide: the first convolution widens to `out_channels` (SAGAN, BigGAN); False: the second does (SNGAN, nnabla).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        down: bool,
        wide: bool,
        sn: SpectralNorm | None,
        init: Init,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        conv3, conv1 = _convs(sn, init, dtype, rngs)
        hidden = out_channels if wide else in_channels
        self.conv1 = conv3(in_channels, hidden)
        self.conv2 = conv3(hidden, out_channels)
        self.shortcut = conv1(in_channels, out_channels) if down or in_channels != out_channels else None
        self.down = down

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        h = jax.nn.relu(self.conv1(jax.nn.relu(x), train=train))
        h = self.conv2.pooled(h, train=train) if self.down else self.conv2(h, train=train)
        x = average_pool(x) if self.down else x
        return h + (x.astype(h.dtype) if self.shortcut is None else self.shortcut(x, train=train))


def _convs(
    sn: SpectralNorm | None, init: Init, dtype: DTypeLike, rngs: nnx.Rngs
) -> tuple[Callable[[int, int], Conv], Callable[[int, int], Conv]]:
    """Returns makers (in, out) -> Conv of 3x3 residual and of 1x1 shortcut convolutions."""
    make = functools.partial(Conv, sn=sn, init=init, dtype=dtype, rngs=rngs)
    conv3 = functools.partial(make, kernel_size=3, padding=1, gain=init.residual_gain)
    return conv3, functools.partial(make, kernel_size=1)
