"""The networks of CycleGAN: a residual generator from images to images, and the patch discriminator.

Reference: Zhu et al. 2017 (arXiv:1703.10593), section 7.2; junyanz/pytorch-CycleGAN-and-pix2pix, models/networks.py
(ResnetGenerator, NLayerDiscriminator), whose networks are the defaults. Deviation: convolutions in front of a norm have
no bias unless `conv_bias` asks for it; the norm subtracts it, so its gradient is rounding noise, which Adam turns into
steps.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxgan.layers.conv import Conv, ConvTranspose
from jaxgan.layers.init import NORMAL_STD, Init
from jaxgan.layers.instance_norm import InstanceNorm
from jaxgan.layers.norm import BatchNorm
from jaxgan.layers.reflection_pad import reflection_pad
from jaxgan.models.maps import leaky_relu
from jaxgan.models.remat import run_block

NORMS = ("instance", "batch")


class ResnetGenerator(nnx.Module):
    """c7s1-64, d128, d256, R256 x n, u128, u64, c7s1-3, tanh, in the notation of the paper.

    Every convolution but the last is followed by instance norm and ReLU, the second one of a residual block by the norm
    alone. Kernels of 7 and those of the residual blocks are padded by reflection, the strided ones by zeros. Parameters
    at the defaults: 11,372,931 (the original's 11,378,179 with `conv_bias`).

    Args:
      in_channels: of the images to be translated.
      out_channels: of the translations.
      channels: width of the first layer.
      num_res_blocks: n; the original has 9 at 256 pixels and 6 at 128, torchgan's tutorial 5.
      kernel: of the layers that halve and double the map: 3, or 4 as in torchgan's tutorial.
      conv_bias: bias also in front of instance norm, where it has no effect but on parity.
      remat: training computes the activations within each residual block again in the backward pass.
      init: see `Init`; torchgan redraws the transposed convolutions.
      dtype: of the computation; images are float32 always.
      rngs: its `params` stream draws the parameters.

    Raises:
      ValueError: for another kernel.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 64,
        num_res_blocks: int = 9,
        kernel: int = 3,
        conv_bias: bool = False,
        remat: bool = False,
        init: str = "normal",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if kernel not in (3, 4):
            raise ValueError(f"`kernel` (={kernel}) must be 3 or 4.")
        common: dict[str, Any] = dict(init=Init(init, redrawn=("transposed",)), dtype=dtype, rngs=rngs)
        normed: dict[str, Any] = dict(bias=conv_bias, **common)
        strided: dict[str, Any] = dict(kernel_size=kernel, stride=2, padding=1, **normed)
        up: dict[str, Any] = dict(output_padding=4 - kernel, **strided)
        self.in_channels, self.remat = in_channels, remat
        self.norm = InstanceNorm(dtype=dtype)
        self.first = Conv(in_channels, channels, kernel_size=7, **normed)
        self.down = nnx.Dict({str(i): Conv(2**i * channels, 2 ** (i + 1) * channels, **strided) for i in range(2)})
        self.blocks = nnx.Dict({str(i): ResidualBlock(4 * channels, **normed) for i in range(num_res_blocks)})
        self.up = nnx.Dict({str(i): ConvTranspose(2 ** (i + 1) * channels, 2**i * channels, **up) for i in (1, 0)})
        self.last = Conv(channels, out_channels, kernel_size=7, **common)

    def __call__(self, images: jax.Array, *, train: bool = True) -> jax.Array:
        """Returns translations (B, H, W, out_channels), float32 in [-1, 1], of images (B, H, W, in_channels).

        Raises:
          ValueError: for another number of channels, and for sides that are not multiples of 4, or less than 8 pixels.
        """
        check_sides(images, self.in_channels, 4)
        x = jax.nn.relu(self.norm(self.first(reflection_pad(images, 3), train=train)))
        for i in range(2):
            x = jax.nn.relu(self.norm(self.down[str(i)](x, train=train)))
        for i in range(len(self.blocks)):
            x = run_block(self.blocks[str(i)], x, train=train, remat=self.remat)
        for i in (1, 0):
            x = jax.nn.relu(self.norm(self.up[str(i)](x, train=train)))
        return jnp.tanh(self.last(reflection_pad(x, 3), train=train).astype(jnp.float32))


class ResidualBlock(nnx.Module):
    """x + norm(conv(relu(norm(conv(x))))), both convolutions 3x3 with reflected borders; the options are `Conv`'s."""

    def __init__(self, channels: int, *, dtype: DTypeLike, **options: Any):
        self.first = Conv(channels, channels, kernel_size=3, dtype=dtype, **options)
        self.second = Conv(channels, channels, kernel_size=3, dtype=dtype, **options)
        self.norm = InstanceNorm(dtype=dtype)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        h = jax.nn.relu(self.norm(self.first(reflection_pad(x, 1), train=train)))
        return x + self.norm(self.second(reflection_pad(h, 1), train=train))


class PatchDiscriminator(nnx.Module):
    """Judges overlapping patches: 4x4 convolutions with padding 1, leaky ReLU 0.2, one logit per patch; no sigmoid.

    `num_layers` convolutions halve the map (C64-C128-C256), one more has the stride `last_stride` (C512), the last one
    leads to the logits; widths double up to 8 * channels, and all but the first and the last convolution are followed
    by a norm. At the defaults a patch has 70 x 70 pixels, 256 x 256 give 30 x 30 logits, and there are 2,763,841
    parameters (the original's 2,764,737 with `conv_bias`). torchgan's tutorial has last_stride=2: patches of 94 x 94,
    4 x 4 logits for 64 x 64.

    Args:
      in_channels: of the images.
      channels: width of the first layer.
      num_layers: convolutions that always halve the map, 1 or more.
      last_stride: 1, or 2, whose map gets one more row of zeros above and column to the left before the last one.
      norm: instance (CycleGAN) | batch (pix2pix).
      conv_bias: bias also in front of the norm, where it has no effect but on parity.
      init: see `Init`; torchgan redraws every kernel.
      dtype: of the hidden layers; the last convolution and the logits are float32 always.
      rngs: its `params` stream draws the parameters.

    Raises:
      ValueError: for settings outside of these ranges.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        channels: int = 64,
        num_layers: int = 3,
        last_stride: int = 1,
        norm: str = "instance",
        conv_bias: bool = False,
        init: str = "normal",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        _check_patch_settings(num_layers, last_stride, norm)
        options: dict[str, Any] = dict(kernel_size=4, padding=1, init=Init(init, redrawn=("conv",)), rngs=rngs)
        widths = [channels * min(2**i, 8) for i in range(num_layers + 1)]
        self.in_channels, self.num_layers, self.last_stride = in_channels, num_layers, last_stride
        self.convs = nnx.Dict()
        self.norms = nnx.Dict()
        for i, (wide_in, wide) in enumerate(zip([in_channels, *widths[:-1]], widths, strict=True)):
            stride, bias = last_stride if i == num_layers else 2, conv_bias or i == 0
            self.convs[str(i)] = Conv(wide_in, wide, stride=stride, bias=bias, dtype=dtype, **options)
            if i and norm == "batch":
                scale_std = NORMAL_STD if init == "normal" else 0.0
                self.norms[str(i)] = BatchNorm(wide, scale_std=scale_std, dtype=dtype, rngs=rngs)
            elif i:
                self.norms[str(i)] = InstanceNorm(dtype=dtype)
        self.output = Conv(widths[-1], 1, **options)

    def __call__(self, images: jax.Array, *, train: bool = True) -> jax.Array:
        """Returns logits (B, h, w), float32, for images (B, H, W, in_channels).

        Raises:
          ValueError: for another number of channels, and for images too small for a logit.
        """
        self._check(images)
        x = images
        for i in range(self.num_layers + 1):
            x = self.convs[str(i)](x, train=train)
            if str(i) in self.norms:
                x = self.norms[str(i)](x, train=train)
            x = leaky_relu(x, 0.2)
        if self.last_stride == 2:
            x = jnp.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)))
        return self.output(x, train=train)[..., 0]

    def _check(self, images: jax.Array) -> None:
        check_channels(images, self.in_channels)
        # Two pixels: for a logit at last_stride 1, and for more than one pixel in the statistics of the norm.
        needed = 2**self.num_layers * (3 if self.last_stride == 1 else 4)
        if min(images.shape[1:3]) < needed:
            raise ValueError(
                f"`images` ({images.shape[1]} x {images.shape[2]}) must have sides of at least {needed} pixels for a "
                f"patch discriminator with `num_layers` (={self.num_layers}); use larger images or fewer layers."
            )


def check_channels(images: jax.Array, channels: int) -> None:
    """ValueError unless images are (B, H, W, channels)."""
    if images.ndim != 4 or images.shape[-1] != channels:
        raise ValueError(f"`images` (shape {list(images.shape)}) must have the shape [B, H, W, {channels}].")


def check_sides(images: jax.Array, channels: int, multiple: int) -> None:
    """ValueError unless images are (B, H, W, channels) with sides that are multiples of `multiple`."""
    check_channels(images, channels)
    if images.shape[1] % multiple or images.shape[2] % multiple:
        raise ValueError(
            f"`images` ({images.shape[1]} x {images.shape[2]}) must have sides that are multiples of {multiple}; "
            "pad, crop or resize them."
        )


def _check_patch_settings(num_layers: int, last_stride: int, norm: str) -> None:
    if num_layers < 1:
        raise ValueError(f"`num_layers` (={num_layers}) must be at least 1.")
    if last_stride not in (1, 2):
        raise ValueError(f"`last_stride` (={last_stride}) must be 1 or 2.")
    if norm not in NORMS:
        raise ValueError(f"`norm` (={norm!r}) must be one of {', '.join(NORMS)}.")
