"""Convolution and transposed convolution with PyTorch's integer padding, each with optional spectral norm."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from jaxgan import target
from jaxgan.layers import conv_cpu, conv_resample
from jaxgan.layers.init import Init
from jaxgan.layers.linear import add_bias
from jaxgan.layers.resample import average_pool, upsample_nearest
from jaxgan.layers.spectral_norm import SpectralNorm, effective_kernel, make_spectral_vector

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class Conv(nnx.Module):
    """`torch.nn.Conv2d(in, out, k, stride, padding)` on (B, H, W, in), zero padding, computed in `dtype`.

    Output side: floor((side + 2 padding - k) / stride) + 1. Parameters: `kernel` (k, k, in, out), torch's weight
    transposed by (2, 3, 1, 0), and `bias` (out,). With `sn` the kernel is divided by its spectral norm, `u` (out,).
    `gain` is the initial kernel's, see `Init.kernel`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        sn: SpectralNorm | None = None,
        init: Init | None = None,
        gain: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        init, (kh, kw) = init or Init(), _pair(kernel_size)
        self.kernel = nnx.Param(init.kernel(rngs, (kh, kw, in_channels, out_channels), gain=gain, layer="conv"))
        self.bias = nnx.Param(init.bias(rngs, out_channels, fan_in=kh * kw * in_channels)) if bias else None
        self.u = make_spectral_vector(rngs, out_channels, sn)
        self.stride, self.padding, self.sn, self.dtype = stride, padding, sn, dtype

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        kernel = effective_kernel(self.kernel, self.u, self.sn, train=train).astype(self.dtype)
        return add_bias(conv(x.astype(self.dtype), kernel, self.stride, self.padding), self.bias)

    def upsampled(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Returns `self(upsample_nearest(x))`, on a CPU as one convolution if it is 3x3 with stride and padding 1."""
        if not self._may_fuse():
            return self(upsample_nearest(x), train=train)
        kernel = effective_kernel(self.kernel, self.u, self.sn, train=train)
        return add_bias(conv_resample.conv_of_upsampled(x.astype(self.dtype), kernel), self.bias)

    def pooled(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Returns `average_pool(self(x))`, on a CPU as one convolution if it is 3x3 with stride and padding 1."""
        if not self._may_fuse():
            return average_pool(self(x, train=train))
        kernel = effective_kernel(self.kernel, self.u, self.sn, train=train)
        return add_bias(conv_resample.pooled_conv(x.astype(self.dtype), kernel), self.bias)

    def _may_fuse(self) -> bool:
        fits = self.kernel.shape[:2] == (3, 3) and self.stride == self.padding == 1
        return fits and target.platform() == "cpu"


class ConvTranspose(nnx.Module):
    """`torch.nn.ConvTranspose2d(in, out, k, stride, padding, output_padding)` on (B, H, W, in), in `dtype`.

    Output side: (side - 1) * stride - 2 padding + k + output_padding. Parameters: `kernel` (kh, kw, in, out), torch's
    weight transposed by (2, 3, 0, 1) with both spatial axes reversed, and `bias` (out,). With `sn` the kernel is
    divided by its spectral norm; `sn_axis` says where `u` lives: "out" (torch.nn.utils.spectral_norm), or "in"
    (torchgan, Self-Attention-GAN by heykeetae and its forks), another matrix with another sigma.

    Raises:
      ValueError: when output_padding is not below the stride, or for an unknown sn_axis.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        bias: bool = True,
        sn: SpectralNorm | None = None,
        sn_axis: str = "out",
        init: Init | None = None,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if not 0 <= output_padding < stride:
            raise ValueError(f"`output_padding` (={output_padding}) must lie in [0, stride (={stride})).")
        if sn_axis not in ("out", "in"):
            raise ValueError(f"`sn_axis` (={sn_axis!r}) must be out or in.")
        init, (kh, kw) = init or Init(), _pair(kernel_size)
        fan_in = kh * kw * out_channels
        self.kernel = nnx.Param(init.kernel(rngs, (kh, kw, in_channels, out_channels), layer="transposed"))
        self.bias = nnx.Param(init.bias(rngs, out_channels, fan_in=fan_in)) if bias else None
        self.u = make_spectral_vector(rngs, out_channels if sn_axis == "out" else in_channels, sn)
        self.stride, self.padding, self.output_padding = stride, padding, output_padding
        self.sn, self.axis, self.dtype = sn, -1 if sn_axis == "out" else -2, dtype

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        kernel = effective_kernel(self.kernel, self.u, self.sn, train=train, axis=self.axis).astype(self.dtype)
        x = x.astype(self.dtype)
        if x.shape[1:3] == (1, 1) and self.padding == 0 and self.output_padding == 0:
            y = jnp.einsum("bi,hwio->bhwo", x[:, 0, 0], kernel[::-1, ::-1])  # one pixel: a matrix product
        else:
            y = conv_transpose(x, kernel, self.stride, self.padding, self.output_padding)
        return add_bias(y, self.bias)


def conv(x: jax.Array, kernel: jax.Array, stride: int = 1, padding: int = 0) -> jax.Array:
    """Cross-correlates x (B, H, W, in) with kernel (kh, kw, in, out) after `padding` zeros on every side."""
    if stride > 1 and target.platform() == "cpu":
        return conv_cpu.strided_conv(x, kernel, stride, padding)
    pads = ((padding, padding),) * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=_LAYOUT)


def conv_transpose(
    x: jax.Array, kernel: jax.Array, stride: int = 1, padding: int = 0, output_padding: int = 0
) -> jax.Array:
    """Transposes `conv(., stride, padding)` with kernel (kh, kw, in, out), taps as `ConvTranspose` stores them."""
    if target.platform() == "cpu":
        return conv_cpu.transposed_conv(x, kernel, stride, padding, output_padding)
    lows = (side - 1 - padding for side in kernel.shape[:2])
    pads = tuple((low, low + output_padding) for low in lows)
    return lax.conv_general_dilated(x, kernel, (1, 1), pads, lhs_dilation=(stride, stride), dimension_numbers=_LAYOUT)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
