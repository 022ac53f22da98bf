"""A 3x3 convolution behind nearest up-sampling, or before average pooling, as one convolution of a larger stride.

Both resamplings are linear, so each pair is one linear map with a 4x4 kernel, the sum of four shifted copies of the
3x3 kernel: nearest x2 - conv3x3 is a transposed convolution of stride 2, conv3x3 - mean of 2x2 a convolution of stride
2. They take 16 of every 36 multiplications and never make the large map between the two; the results equal the
definitions but for rounding. So does `fused_scale` of Karras et al. 2018 (arXiv:1710.10196;
github.com/tkarras/progressive_growing_of_gans, networks.py).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgan.layers import conv_cpu


def conv_of_upsampled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns `conv(upsample_nearest(x), kernel, 1, 1)`: (B, H, W, in), (3, 3, in, out) -> (B, 2H, 2W, out).

    Args:
      x: feature map, whose dtype the result has.
      kernel: summed in its own dtype, so better given in float32.
    """
    return conv_cpu.transposed_conv(x, _widened(kernel).astype(x.dtype), 2, 1, 0)


def pooled_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns `average_pool(conv(x, kernel, 1, 1))`: (B, 2H, 2W, in), (3, 3, in, out) -> (B, H, W, out).

    Args:
      x: feature map, whose dtype the result has.
      kernel: summed in its own dtype, so better given in float32.

    Raises:
      ValueError: for an odd side.
    """
    if x.shape[1] % 2 or x.shape[2] % 2:
        raise ValueError(f"A map of {x.shape[1]} x {x.shape[2]} pixels cannot be halved; both sides must be even.")
    return conv_cpu.strided_conv(x, (0.25 * _widened(kernel)).astype(x.dtype), 2, 1)


def _widened(kernel: jax.Array) -> jax.Array:
    """Convolves a kernel (3, 3, in, out) with a 2x2 box of ones: (4, 4, in, out)."""
    rows = jnp.pad(kernel, ((0, 1), (0, 0), (0, 0), (0, 0))) + jnp.pad(kernel, ((1, 0), (0, 0), (0, 0), (0, 0)))
    return jnp.pad(rows, ((0, 0), (0, 1), (0, 0), (0, 0))) + jnp.pad(rows, ((0, 0), (1, 0), (0, 0), (0, 0)))
