"""The convolutional generator and discriminator without residual blocks, with the switches of its descendants.

Reference: Radford et al. 2015, "Unsupervised Representation Learning with DCGANs" (arXiv:1511.06434), section 3.
With the arguments in tests/models/test_dcgan.py they are the published networks of torchgan's self-attention tutorial
and of Non-local SAGAN (heykeetae's Self-Attention-GAN with masks), parameter for parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxgan.layers.conv import Conv, ConvTranspose
from jaxgan.layers.init import NORMAL_STD, Init
from jaxgan.layers.norm import BatchNorm
from jaxgan.models.maps import (
    AttentionAtMaps,
    check_images,
    check_latents,
    choose_spectral_norm,
    choose_widths,
    count_doublings,
    leaky_relu,
)


class DCGANGenerator(nnx.Module):
    """k transposed convolutions with batch norm and activation [- attention], one more to the image, tanh.

    The first leads from z to the first map (kernel = that map), the others double it (kernel 4, stride 2, padding 1).

    Args:
      resolution: (H, W) of the images in pixels; min(H, W) = base_size * 2^k, the first map is (H, W) / 2^k.
      out_channels: of the images.
      latent_dim: size of z.
      channels: the map i doublings before the output is 2^i times as wide.
      widths: overrides that rule: the k hidden maps, the first one first, such as (256, 128, 64, 32).
      base_size: shorter side of the first map in pixels.
      attention_resolutions: shorter sides of the hidden maps that get self-attention.
      attention_kind: pooled | plain, see `SelfAttention`.
      attention_span: see `SelfAttention`.
      attention_bias: see `SelfAttention`.
      attention_spectral_norm: whether attention's convolutions share `spectral_norm`.
      spectral_norm: all | hidden (all but the last layer) | none.
      sn_iters: power iterations per forward.
      sn_eps: of spectral norm.
      sn_axis: out | in, see `ConvTranspose`.
      slope: of the leaky ReLU; 0 = ReLU.
      conv_bias: bias also in front of batch norm, where it has no effect but on parity (the last layer always has it).
      last_activation: False leaves out the activation after the last hidden layer (torchgan's tutorial).
      bn_decay: of the running statistics.
      bn_eps: of batch norm.
      bn_groups: parts of the batch that training normalises apart; see `BatchNorm`.
      bn_scale_mean: mean of batch norm's initial scale, whose deviation is 0.02 for init="normal" and 0 otherwise.
      init: see `Init`.
      dtype: of the computation; images are float32 always.
      rngs: its `params` stream draws the parameters.

    Raises:
      ValueError: for settings that do not fit together.
    """

    def __init__(
        self,
        *,
        resolution: tuple[int, int],
        out_channels: int = 3,
        latent_dim: int = 100,
        channels: int = 64,
        widths: Sequence[int] = (),
        base_size: int = 4,
        attention_resolutions: Sequence[int] = (),
        attention_kind: str = "plain",
        attention_span: int = -1,
        attention_bias: bool = True,
        attention_spectral_norm: bool = False,
        spectral_norm: str = "none",
        sn_iters: int = 1,
        sn_eps: float = 1e-12,
        sn_axis: str = "out",
        slope: float = 0.0,
        conv_bias: bool = False,
        last_activation: bool = True,
        bn_decay: float = 0.9,
        bn_eps: float = 1e-5,
        bn_groups: int = 1,
        bn_scale_mean: float = 1.0,
        init: str = "normal",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        k = count_doublings(resolution, base_size)
        widths = choose_widths(widths, [channels * 2 ** (k - i) for i in range(k)])
        sn, last_sn = choose_spectral_norm(spectral_norm, sn_iters, sn_eps)
        common: dict[str, Any] = dict(init=Init(init, redrawn=("transposed",)), dtype=dtype, rngs=rngs)
        bn: dict[str, Any] = dict(
            decay=bn_decay,
            eps=bn_eps,
            groups=bn_groups,
            scale_mean=bn_scale_mean,
            scale_std=_bn_std(init),
            dtype=dtype,
            rngs=rngs,
        )
        self.latent_dim, self.num_hidden, self.slope, self.last_activation = latent_dim, k, slope, last_activation
        first_map = (resolution[0] // 2**k, resolution[1] // 2**k)
        up: dict[str, Any] = dict(kernel_size=4, stride=2, padding=1, sn_axis=sn_axis, **common)
        first: dict[str, Any] = dict(kernel_size=first_map, sn_axis=sn_axis, **common)
        inputs = (latent_dim, *widths)
        self.convs = nnx.Dict()
        self.norms = nnx.Dict()
        for i in range(k):
            options = up if i else first
            self.convs[str(i)] = ConvTranspose(inputs[i], widths[i], bias=conv_bias, sn=sn, **options)
            self.norms[str(i)] = BatchNorm(widths[i], **bn)
        self.attention = AttentionAtMaps(
            [(base_size * 2**i, width) for i, width in enumerate(widths)], attention_resolutions,
            kind=attention_kind, span=attention_span, bias=attention_bias,
            sn=sn if attention_spectral_norm else None, **common,
        )  # fmt: skip
        self.output = ConvTranspose(widths[-1], out_channels, sn=last_sn, **up)

    def __call__(self, z: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Returns images (B, H, W, out_channels), float32 in [-1, 1], for z (B, latent_dim); labels are ignored."""
        del labels
        return self._generate(z, train=train)

    def attention_maps(self, z: jax.Array, labels: jax.Array | None = None) -> dict[str, jax.Array]:
        """Returns {"32x32": weights (B, queries, keys)} of every attention layer, in evaluation mode."""
        del labels
        weights: dict[str, jax.Array] = {}
        self._generate(z, train=False, weights=weights)
        return weights

    def _generate(self, z: jax.Array, *, train: bool, weights: dict[str, jax.Array] | None = None) -> jax.Array:
        check_latents(z, self.latent_dim)
        x = z[:, None, None, :]
        for i in range(self.num_hidden):
            x = self.norms[str(i)](self.convs[str(i)](x, train=train), train=train)
            if i + 1 < self.num_hidden or self.last_activation:
                x = leaky_relu(x, self.slope)
            x = self.attention(i, x, train=train, weights=weights)
        return jnp.tanh(self.output(x, train=train).astype(jnp.float32))


class DCGANDiscriminator(nnx.Module):
    """k convolutions that halve the map (kernel 4, stride 2, padding 1), one more that covers it; no sigmoid.

    Args:
      resolution: (H, W) of the images in pixels; min(H, W) = base_size * 2^k.
      in_channels: of the images.
      channels: width of the first layer; layer i is 2^i times as wide.
      widths: overrides that rule: the k hidden layers, the first one first.
      base_size: shorter side of the last map in pixels.
      attention_resolutions: shorter sides of the maps that get self-attention.
      attention_kind: pooled | plain, see `SelfAttention`.
      attention_span: see `SelfAttention`.
      attention_bias: see `SelfAttention`.
      attention_spectral_norm: whether attention's convolutions share `spectral_norm`.
      spectral_norm: all | hidden (all but the last layer) | none.
      sn_iters: power iterations per forward.
      sn_eps: of spectral norm.
      slope: of the leaky ReLU; 0 = ReLU.
      batch_norm: none | inner (not after the first layer) | all (never after the last convolution).
      conv_bias: bias also in front of batch norm (the other layers always have it).
      last_activation: False leaves out the activation after the last hidden layer (torchgan's tutorial).
      tanh: on the output (torchgan's tutorial).
      bn_decay: of the running statistics.
      bn_eps: of batch norm.
      bn_scale_mean: as in `DCGANGenerator`.
      init: see `Init`.
      dtype: of the hidden layers; the last convolution and the logits are float32 always.
      rngs: its `params` stream draws the parameters.

    Raises:
      ValueError: for settings that do not fit together.
    """

    def __init__(
        self,
        *,
        resolution: tuple[int, int],
        in_channels: int = 3,
        channels: int = 64,
        widths: Sequence[int] = (),
        base_size: int = 4,
        attention_resolutions: Sequence[int] = (),
        attention_kind: str = "plain",
        attention_span: int = -1,
        attention_bias: bool = True,
        attention_spectral_norm: bool = False,
        spectral_norm: str = "none",
        sn_iters: int = 1,
        sn_eps: float = 1e-12,
        slope: float = 0.2,
        batch_norm: str = "inner",
        conv_bias: bool = False,
        last_activation: bool = True,
        tanh: bool = False,
        bn_decay: float = 0.9,
        bn_eps: float = 1e-5,
        bn_scale_mean: float = 1.0,
        init: str = "normal",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if batch_norm not in ("none", "inner", "all"):
            raise ValueError(f"`batch_norm` (={batch_norm!r}) must be none, inner or all.")
        k = count_doublings(resolution, base_size)
        widths = choose_widths(widths, [channels * 2**i for i in range(k)])
        sn, last_sn = choose_spectral_norm(spectral_norm, sn_iters, sn_eps)
        common: dict[str, Any] = dict(init=Init(init, redrawn=("conv",)), dtype=dtype, rngs=rngs)
        bn: dict[str, Any] = dict(
            decay=bn_decay, eps=bn_eps, scale_mean=bn_scale_mean, scale_std=_bn_std(init), dtype=dtype, rngs=rngs
        )
        self.resolution, self.in_channels, self.num_hidden = resolution, in_channels, k
        self.slope, self.last_activation, self.tanh = slope, last_activation, tanh
        inputs = (in_channels, *widths)
        self.convs = nnx.Dict()
        self.norms = nnx.Dict()
        for i in range(k):
            normed = batch_norm == "all" or (batch_norm == "inner" and i > 0)
            bias = conv_bias or not normed
            options: dict[str, Any] = dict(kernel_size=4, stride=2, padding=1, bias=bias, sn=sn, **common)
            self.convs[str(i)] = Conv(inputs[i], widths[i], **options)
            if normed:
                self.norms[str(i)] = BatchNorm(widths[i], **bn)
        short = min(resolution)
        self.attention = AttentionAtMaps(
            [(short // 2 ** (i + 1), width) for i, width in enumerate(widths)], attention_resolutions,
            kind=attention_kind, span=attention_span, bias=attention_bias,
            sn=sn if attention_spectral_norm else None, **common,
        )  # fmt: skip
        last_map = (resolution[0] // 2**k, resolution[1] // 2**k)
        self.output = Conv(widths[-1], 1, kernel_size=last_map, sn=last_sn, init=common["init"], rngs=rngs)

    def __call__(self, images: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Returns logits (B,), float32, for images (B, H, W, in_channels) in [-1, 1]; labels are ignored."""
        del labels
        return self._discriminate(images, train=train)

    def attention_maps(self, images: jax.Array) -> dict[str, jax.Array]:
        """Returns {"8x8": weights (B, queries, keys)} of every attention layer, in evaluation mode."""
        weights: dict[str, jax.Array] = {}
        self._discriminate(images, train=False, weights=weights)
        return weights

    def _discriminate(
        self, images: jax.Array, *, train: bool, weights: dict[str, jax.Array] | None = None
    ) -> jax.Array:
        check_images(images, self.resolution, self.in_channels)
        x = images
        for i in range(self.num_hidden):
            x = self.convs[str(i)](x, train=train)
            if str(i) in self.norms:
                x = self.norms[str(i)](x, train=train)
            if i + 1 < self.num_hidden or self.last_activation:
                x = leaky_relu(x, self.slope)
            x = self.attention(i, x, train=train, weights=weights)
        logits = self.output(x, train=train)[:, 0, 0, 0]
        return jnp.tanh(logits) if self.tanh else logits


def _bn_std(init: str) -> float:
    return NORMAL_STD if init == "normal" else 0.0
