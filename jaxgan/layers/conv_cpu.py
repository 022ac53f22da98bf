"""Strided and transposed convolution for a CPU: no convolution over an input that is mostly zeros.

A transposed convolution with stride s, and the input gradient of a convolution with stride s, are by definition
convolutions of an input with s - 1 zeros between its pixels. XLA's CPU back end multiplies those zeros too; its weight
gradient of such a convolution is slower still. Here the output is put together from s x s interleaved pictures, each an
ordinary convolution with every s-th tap of the kernel (the sub-pixel view of Shi et al. 2016, arXiv:1609.07009). The
results equal the definitions but for rounding, and can be differentiated again, but not in forward mode.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_Pair = tuple[int, int]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def strided_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """Cross-correlates x (B, H, W, in) with kernel (kh, kw, in, out) after `padding` zeros on every side."""
    return _conv(x, kernel, stride=stride, padding=padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def transposed_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: int, output_padding: int) -> jax.Array:
    """Transposes `strided_conv`: kernel (kh, kw, in, out), with the taps as `ConvTranspose` stores them."""
    height, width = (
        (side - 1) * stride - 2 * padding + taps + output_padding
        for side, taps in zip(x.shape[1:3], kernel.shape[:2], strict=True)
    )
    return _interleaved(x, kernel, stride, padding, (height, width))


def _conv(x: jax.Array, kernel: jax.Array, *, stride: int, padding: int) -> jax.Array:
    pads = [(padding, padding)] * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=_LAYOUT)


def _interleaved(x: jax.Array, kernel: jax.Array, stride: int, padding: int, size: _Pair) -> jax.Array:
    """Convolves x, `stride - 1` zeros between its pixels, to (B, *size, out), one picture per offset in the stride."""
    counts = [-(-side // stride) for side in size]
    rows = []
    for top in range(stride):
        row_taps, row_pads = _phase(kernel.shape[0], stride, padding, top, x.shape[1], counts[0])
        row = []
        for left in range(stride):
            taps, pads = _phase(kernel.shape[1], stride, padding, left, x.shape[2], counts[1])
            part = kernel[row_taps, taps]
            if part.size:
                picture = lax.conv_general_dilated(x, part, (1, 1), (row_pads, pads), dimension_numbers=_LAYOUT)
            else:  # a kernel smaller than its stride leaves gaps
                picture = jnp.zeros((x.shape[0], *counts, kernel.shape[3]), x.dtype)
            row.append(picture)
        rows.append(jnp.stack(row, axis=3))
    pictures = jnp.stack(rows, axis=2)  # (B, rows, stride, columns, stride, out)
    whole = pictures.reshape(x.shape[0], counts[0] * stride, counts[1] * stride, kernel.shape[3])
    return whole[:, : size[0], : size[1]]


def _phase(taps: int, stride: int, padding: int, offset: int, side: int, count: int) -> tuple[slice, _Pair]:
    """Returns which taps meet pixels at outputs `offset + n * stride`, and the zeros to add (below 0: to cut) in x."""
    border = taps - 1 - padding
    first = (border - offset) % stride
    low = (border - offset - first) // stride
    used = len(range(first, taps, stride))
    return slice(first, None, stride), (low, count + used - 1 - side - low)


def _strided_forward(x: jax.Array, kernel: jax.Array, stride: int, padding: int):
    return strided_conv(x, kernel, stride, padding), (x, kernel)


def _strided_backward(stride: int, padding: int, saved: tuple[jax.Array, jax.Array], g: jax.Array):
    x, kernel = saved
    (kernel_grad,) = jax.linear_transpose(functools.partial(_conv, x, stride=stride, padding=padding), kernel)(g)
    return _interleaved(g, _flipped(kernel), stride, padding, (x.shape[1], x.shape[2])), kernel_grad


def _transposed_forward(x: jax.Array, kernel: jax.Array, stride: int, padding: int, output_padding: int):
    return transposed_conv(x, kernel, stride, padding, output_padding), (x, kernel)


def _transposed_backward(
    stride: int, padding: int, output_padding: int, saved: tuple[jax.Array, jax.Array], g: jax.Array
):
    del output_padding  # below the stride, so the strided convolution of g has exactly x's size
    x, kernel = saved
    flipped = _flipped(kernel)
    (flipped_grad,) = jax.linear_transpose(functools.partial(_conv, g, stride=stride, padding=padding), flipped)(x)
    return strided_conv(g, flipped, stride, padding), _flipped(flipped_grad)


def _flipped(kernel: jax.Array) -> jax.Array:
    """The kernel of the adjoint: both spatial axes reversed, inputs and outputs exchanged."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


strided_conv.defvjp(_strided_forward, _strided_backward)
transposed_conv.defvjp(_transposed_forward, _transposed_backward)
