"""The residual generator and discriminator of SNGAN-projection, SAGAN and their unconditional forms.

Reference: Zhang et al. 2019 (arXiv:1805.08318); architecture as in self-attention-gan and in BigGAN-PyTorch's SAGAN
script. With attention at 64 (or 32), 1000 classes, 128 x 128 and everything else at its default these are the SAGAN
of the paper; `wide=False, attention_kind="plain"` are nnabla's SAGAN, `spectral_norm="none"` in G and
`wide=False` in D SNGAN-projection's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxgan.layers.conv import Conv
from jaxgan.layers.init import Init
from jaxgan.layers.linear import Linear
from jaxgan.layers.norm import BatchNorm
from jaxgan.layers.projection import ProjectionHead
from jaxgan.models.maps import (
    AttentionAtMaps,
    check_images,
    check_latents,
    choose_spectral_norm,
    choose_widths,
    count_doublings,
)
from jaxgan.models.remat import run_block
from jaxgan.models.resnet_blocks import DiscriminatorBlock, FirstDiscriminatorBlock, GeneratorBlock

_MAX_FACTOR = 16  # widest block over `channels`


class ResNetGenerator(nnx.Module):
    """linear - reshape - k up-blocks [- attention] - batch norm - ReLU - conv3x3 - tanh.

    Args:
      resolution: (H, W) of the images in pixels; min(H, W) = base_size * 2^k, the first map is (H, W) / 2^k.
      out_channels: of the images.
      latent_dim: size of z.
      num_classes: 0 = unconditional (plain batch norm instead of class-conditional).
      channels: width of the last block; the map i doublings before the output is min(2^i, 16) times as wide.
      widths: overrides that rule: (first map, block 1, ..., block k).
      base_size: shorter side of the first map in pixels.
      attention_resolutions: shorter sides of the maps that get self-attention, after the block that makes them.
      attention_kind: pooled | plain, see `SelfAttention`.
      attention_span: see `SelfAttention`.
      spectral_norm: all | hidden (all but the last convolution) | none; never on batch norm's tables.
      sn_iters: power iterations per forward.
      sn_eps: of spectral norm.
      bn_decay: of the running statistics.
      bn_eps: of batch norm.
      bn_groups: parts of the batch that training normalises apart; see `BatchNorm`.
      remat: training computes the activations within each block again in the backward pass.
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
        latent_dim: int = 128,
        num_classes: int = 0,
        channels: int = 64,
        widths: Sequence[int] = (),
        base_size: int = 4,
        attention_resolutions: Sequence[int] = (),
        attention_kind: str = "pooled",
        attention_span: int = -1,
        spectral_norm: str = "all",
        sn_iters: int = 1,
        sn_eps: float = 1e-12,
        bn_decay: float = 0.9,
        bn_eps: float = 1e-5,
        bn_groups: int = 1,
        remat: bool = False,
        init: str = "glorot",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        k = count_doublings(resolution, base_size)
        widths = choose_widths(widths, [channels * min(2 ** (k - i), _MAX_FACTOR) for i in range(k + 1)])
        sn, last_sn = choose_spectral_norm(spectral_norm, sn_iters, sn_eps)
        common: dict[str, Any] = dict(init=Init(init), dtype=dtype, rngs=rngs)
        self.latent_dim, self.num_blocks, self.remat = latent_dim, k, remat
        self.first_map = (resolution[0] // 2**k, resolution[1] // 2**k, widths[0])
        self.linear = Linear(latent_dim, self.first_map[0] * self.first_map[1] * widths[0], sn=sn, **common)
        bn: dict[str, Any] = dict(bn_decay=bn_decay, bn_eps=bn_eps, bn_groups=bn_groups)
        options: dict[str, Any] = dict(num_classes=num_classes, sn=sn, **bn, **common)
        self.blocks = nnx.Dict({str(i): GeneratorBlock(widths[i - 1], widths[i], **options) for i in range(1, k + 1)})
        self.attention = AttentionAtMaps(
            [(base_size * 2**i, width) for i, width in enumerate(widths)], attention_resolutions,
            kind=attention_kind, span=attention_span, bias=False, sn=sn, **common,
        )  # fmt: skip
        self.norm = BatchNorm(widths[-1], decay=bn_decay, eps=bn_eps, groups=bn_groups, dtype=dtype, rngs=rngs)
        self.conv = Conv(widths[-1], out_channels, kernel_size=3, padding=1, sn=last_sn, **common)

    def __call__(self, z: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Returns images (B, H, W, out_channels), float32 in [-1, 1].

        Args:
          z: (B, latent_dim), of N(0, I) in training.
          labels: class ids int (B,) or mixtures float (B, num_classes); ignored by an unconditional generator.
          train: batch statistics, running statistics and spectral vectors move; else nothing changes.
        """
        return self._generate(z, labels, train=train)

    def attention_maps(self, z: jax.Array, labels: jax.Array | None = None) -> dict[str, jax.Array]:
        """Returns {"64x64": weights (B, queries, keys)} of every attention layer, in evaluation mode."""
        weights: dict[str, jax.Array] = {}
        self._generate(z, labels, train=False, weights=weights)
        return weights

    def _generate(
        self,
        z: jax.Array,
        labels: jax.Array | None,
        *,
        train: bool,
        weights: dict[str, jax.Array] | None = None,
    ) -> jax.Array:
        check_latents(z, self.latent_dim)
        x = self.linear(z, train=train).reshape(z.shape[0], *self.first_map)
        x = self.attention(0, x, train=train, weights=weights)
        for i in range(1, self.num_blocks + 1):
            x = run_block(self.blocks[str(i)], x, labels, train=train, remat=self.remat)
            x = self.attention(i, x, train=train, weights=weights, remat=self.remat)
        x = self.conv(jax.nn.relu(self.norm(x, train=train)), train=train)
        return jnp.tanh(x.astype(jnp.float32))


class ResNetDiscriminator(nnx.Module):
    """first block - blocks [- attention] - ReLU - sum over the map - linear (+ projection of the class).

    Args:
      resolution: (H, W) of the images in pixels.
      in_channels: of the images.
      num_classes: 0 = unconditional, no projection.
      channels: width of block 0; block i is min(2^i, 16) times as wide.
      widths: overrides that rule: (block 0, ..., last block); the first `num_down` of them halve the map.
      base_size: shorter side of the last map in pixels, where num_down = 0.
      num_down: blocks that halve the map; 0 = down to base_size. One block without halving follows, or as many as
        `widths` says (SNGAN on CIFAR-10: widths=(128, 128, 128, 128), num_down=2).
      wide: see `DiscriminatorBlock`.
      pool: sum | mean over the last map.
      attention_resolutions: shorter sides of the maps that get self-attention, after the first block that makes them.
      attention_kind: pooled | plain, see `SelfAttention`.
      attention_span: see `SelfAttention`.
      spectral_norm: all | hidden (all but the linear layer and the projection) | none.
      sn_iters: power iterations per forward.
      sn_eps: of spectral norm.
      remat: training computes the activations within each block again in the backward pass.
      init: see `Init`.
      dtype: of the computation; pooling, linear layer, projection and logits are float32 always.
      rngs: its `params` stream draws the parameters.

    Raises:
      ValueError: for settings that do not fit together.
    """

    def __init__(
        self,
        *,
        resolution: tuple[int, int],
        in_channels: int = 3,
        num_classes: int = 0,
        channels: int = 64,
        widths: Sequence[int] = (),
        base_size: int = 4,
        num_down: int = 0,
        wide: bool = True,
        pool: str = "sum",
        attention_resolutions: Sequence[int] = (),
        attention_kind: str = "pooled",
        attention_span: int = -1,
        spectral_norm: str = "all",
        sn_iters: int = 1,
        sn_eps: float = 1e-12,
        remat: bool = False,
        init: str = "glorot",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        num_down = _count_down_blocks(resolution, base_size, num_down, widths)
        widths = tuple(widths or (channels * min(2**i, _MAX_FACTOR) for i in range(num_down + 1)))
        sn, last_sn = choose_spectral_norm(spectral_norm, sn_iters, sn_eps)
        if pool not in ("sum", "mean"):
            raise ValueError(f"`pool` (={pool!r}) must be sum or mean.")
        common: dict[str, Any] = dict(init=Init(init), dtype=dtype, rngs=rngs)
        self.resolution, self.in_channels, self.pool, self.num_blocks = resolution, in_channels, pool, len(widths)
        self.remat = remat
        self.first_block = FirstDiscriminatorBlock(in_channels, widths[0], sn=sn, **common)
        self.blocks = nnx.Dict(
            {
                str(i): DiscriminatorBlock(widths[i - 1], widths[i], down=i < num_down, wide=wide, sn=sn, **common)
                for i in range(1, len(widths))
            }
        )
        sides = [min(resolution) // 2 ** min(i + 1, num_down) for i in range(len(widths))]
        self.attention = AttentionAtMaps(
            list(zip(sides, widths, strict=True)), attention_resolutions,
            kind=attention_kind, span=attention_span, bias=False, sn=sn, **common,
        )  # fmt: skip
        self.head = ProjectionHead(widths[-1], num_classes, sn=last_sn, init=common["init"], rngs=rngs)

    def __call__(self, images: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Returns logits (B,), float32.

        Args:
          images: (B, H, W, in_channels) in [-1, 1].
          labels: class ids int (B,) or mixtures float (B, num_classes); ignored by an unconditional discriminator.
          train: spectral vectors move; else nothing changes.
        """
        h = self._features(images, train=train)
        return self.head(h, labels, train=train)

    def attention_maps(self, images: jax.Array) -> dict[str, jax.Array]:
        """Returns {"64x64": weights (B, queries, keys)} of every attention layer, in evaluation mode."""
        weights: dict[str, jax.Array] = {}
        self._features(images, train=False, weights=weights)
        return weights

    def _features(self, images: jax.Array, *, train: bool, weights: dict[str, jax.Array] | None = None) -> jax.Array:
        check_images(images, self.resolution, self.in_channels)
        x = run_block(self.first_block, images, train=train, remat=self.remat)
        x = self.attention(0, x, train=train, weights=weights, remat=self.remat)
        for i in range(1, self.num_blocks):
            x = run_block(self.blocks[str(i)], x, train=train, remat=self.remat)
            x = self.attention(i, x, train=train, weights=weights, remat=self.remat)
        x = jax.nn.relu(x).astype(jnp.float32)
        return x.sum(axis=(1, 2)) if self.pool == "sum" else x.mean(axis=(1, 2))


def _count_down_blocks(resolution: tuple[int, int], base_size: int, num_down: int, widths: Sequence[int]) -> int:
    if not num_down:
        num_down = count_doublings(resolution, base_size)
    elif any(side % 2**num_down for side in resolution):
        raise ValueError(
            f"`num_down` (={num_down}) halvings do not divide `resolution` (={resolution[0]} x {resolution[1]})."
        )
    if widths and len(widths) < num_down:
        raise ValueError(f"`widths` (={tuple(widths)}) must have at least {num_down} entries, one per halving.")
    return num_down
