"""Self-attention over the pixels of a feature map.

Reference: Zhang et al. 2019, "Self-Attention Generative Adversarial Networks" (arXiv:1805.08318), section 3. The
paper's f, g, h (its code's phi, theta, g) are `key`, `query`, `value` here, its gamma is `gate`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxgan.layers.conv import Conv
from jaxgan.layers.init import Init, constant
from jaxgan.layers.resample import max_pool
from jaxgan.layers.spectral_norm import SpectralNorm


class SelfAttention(nnx.Module):
    """x + gate * attended(x), with a scalar gate that starts at 0, so that the layer starts as the identity.

    Kinds:
      pooled: the authors' code (self-attention-gan, and BigGAN-PyTorch after it): keys (C/8) and values (C/2) are max
        pooled 2x2, so N = H W pixels attend to N / 4, and a last 1x1 convolution leads back from C/2 to C.
      plain: the paper's first version, nnabla's SAGAN, torchgan: keys (C/8) and values (C) at full resolution, no
        last convolution.
    Scores are not scaled by 1 / sqrt(C/8), as in all of them. Scores and softmax are float32 whatever `dtype` is.

    Args:
      channels: C, a multiple of 8.
      kind: pooled | plain.
      bias: of the 1x1 convolutions (torchgan and Non-local SAGAN have them; the authors and nnabla do not).
      sn: spectral norm of the 1x1 convolutions.
      span: plain only; >= 0 keeps every query from the window of (2 span + 1)^2 pixels around it, itself included,
        clipped at the borders; the other weights still sum to 1. A query whose window covers the map attends to all
        pixels equally, which is what Non-local SAGAN's additive -1e9 comes to in float32. -1 = no mask.
      normalize_axis: key (weights of one query sum to 1) | query (torchgan's, where those of one key do).

    Raises:
      ValueError: for values outside of these.
    """

    def __init__(
        self,
        channels: int,
        *,
        kind: str = "pooled",
        bias: bool = False,
        sn: SpectralNorm | None = None,
        span: int = -1,
        normalize_axis: str = "key",
        init: Init | None = None,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        _check(channels, kind, span, normalize_axis)

        def conv(in_channels: int, out_channels: int) -> Conv:
            return Conv(in_channels, out_channels, kernel_size=1, bias=bias, sn=sn, init=init, dtype=dtype, rngs=rngs)

        inner = channels // 2 if kind == "pooled" else channels
        self.query = conv(channels, channels // 8)
        self.key = conv(channels, channels // 8)
        self.value = conv(channels, inner)
        self.output = conv(inner, channels) if kind == "pooled" else None
        self.gate = nnx.Param(constant((), 0.0))
        self.pooled, self.span, self.axis, self.dtype = kind == "pooled", span, _AXES[normalize_axis], dtype

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to the same shape; both sides even for the pooled kind."""
        x = x.astype(self.dtype)
        weights = self.attention_map(x, train=train).astype(self.dtype)
        values = _pixels(self._pool(self.value(x, train=train)))
        attended = jnp.einsum("bqk,bkc->bqc", weights, values).reshape(*x.shape[:3], values.shape[-1])
        if self.output is not None:
            attended = self.output(attended, train=train)
        return x + self.gate[...].astype(self.dtype) * attended

    def attention_map(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Returns the weights (B, H W, M), float32: row q says how much query pixel q takes from each key pixel.

        M is H W for the plain kind, and H/2 W/2 (row by row of the pooled map) for the pooled kind.
        """
        queries = _pixels(self.query(x, train=train))
        keys = _pixels(self._pool(self.key(x, train=train)))
        scores = jnp.einsum("bqc,bkc->bqk", queries, keys, preferred_element_type=jnp.float32)
        if self.span < 0:
            return jax.nn.softmax(scores, axis=self.axis)
        blocked = window_mask(x.shape[1], x.shape[2], self.span)[None]
        empty = blocked.all(axis=self.axis, keepdims=True)
        # Equal scores where nothing is left to attend to; the others leave the softmax altogether.
        scores = jnp.where(empty, 0.0, jnp.where(blocked, -jnp.inf, scores))
        return jax.nn.softmax(scores, axis=self.axis)

    def _pool(self, x: jax.Array) -> jax.Array:
        return max_pool(x) if self.pooled else x


_AXES = {"key": -1, "query": -2}


def window_mask(height: int, width: int, span: int) -> jax.Array:
    """Returns bool (H W, H W): True where two pixels are at most `span` apart along both sides."""
    pixels = jnp.arange(height * width)
    rows, columns = pixels // width, pixels % width
    row_distance = jnp.abs(rows[:, None] - rows[None, :])
    column_distance = jnp.abs(columns[:, None] - columns[None, :])
    return jnp.maximum(row_distance, column_distance) <= span


def _pixels(x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0], -1, x.shape[-1])  # (B, H W, C)


def _check(channels: int, kind: str, span: int, normalize_axis: str) -> None:
    if channels < 8 or channels % 8:
        raise ValueError(f"`channels` (={channels}) of self-attention must be a multiple of 8.")
    if kind not in ("pooled", "plain"):
        raise ValueError(f"`kind` (={kind!r}) of self-attention must be pooled or plain.")
    if span >= 0 and kind != "plain":
        raise ValueError(f"`span` (={span}) masks plain attention only; set kind='plain' or span=-1.")
    if normalize_axis not in _AXES:
        raise ValueError(f"`normalize_axis` (={normalize_axis!r}) must be key or query.")
