"""What the image models share: the sizes of their maps, the checks of their settings, and attention at chosen maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxgan.layers.attention import SelfAttention
from jaxgan.layers.init import Init
from jaxgan.layers.spectral_norm import SpectralNorm
from jaxgan.models.remat import run_block


def count_doublings(resolution: tuple[int, int], base_size: int) -> int:
    """Returns k >= 1 with min(resolution) = base_size * 2^k; both sides must be divisible by 2^k.

    Raises:
      ValueError: when there is no such k.
    """
    short = min(resolution)
    k = int(math.log2(max(short // base_size, 1)))
    if k < 1 or short != base_size * 2**k or max(resolution) % 2**k:
        raise ValueError(
            f"`resolution` (={resolution[0]} x {resolution[1]}) must be `base_size` (={base_size}) times a power of "
            "two along its shorter side, and divisible by that power along the other; change either."
        )
    return k


def choose_widths(widths: Sequence[int], rule: Sequence[int]) -> tuple[int, ...]:
    """Returns `widths`, or the rule's where empty. ValueError when their number differs from the rule's."""
    if widths and len(widths) != len(rule):
        raise ValueError(f"`widths` (={tuple(widths)}) must have {len(rule)} entries for this resolution.")
    return tuple(widths or rule)


def choose_spectral_norm(mode: str, num_iters: int, eps: float) -> tuple[SpectralNorm | None, SpectralNorm | None]:
    """Returns the settings of (hidden layers, output layer) for mode all | hidden | none."""
    if mode not in ("all", "hidden", "none"):
        raise ValueError(f"`spectral_norm` (={mode!r}) must be all, hidden or none.")
    sn = SpectralNorm(num_iters, eps)
    return None if mode == "none" else sn, sn if mode == "all" else None


def check_images(images: jax.Array, resolution: tuple[int, int], channels: int) -> None:
    """ValueError unless images are (B, H, W, channels) of the model's resolution."""
    if images.ndim != 4 or images.shape[1:] != (*resolution, channels):
        expected = f"[B, {resolution[0]}, {resolution[1]}, {channels}]"
        raise ValueError(f"`images` (shape {list(images.shape)}) must have the discriminator's shape {expected}.")


def check_latents(z: jax.Array, latent_dim: int) -> None:
    """ValueError unless z is (B, latent_dim)."""
    if z.ndim != 2 or z.shape[1] != latent_dim:
        raise ValueError(f"`z` (shape {list(z.shape)}) must have the generator's shape [B, {latent_dim}].")


class AttentionAtMaps(nnx.Module):
    """Self-attention after those of a network's maps that were asked for by the length of their shorter side.

    Args:
      maps: (shorter side, channels) of the network's maps in order; where several have one size, the first counts.
      resolutions: shorter sides to attend at.

    Raises:
      ValueError: when a resolution is not the size of any map.
    """

    def __init__(
        self,
        maps: Sequence[tuple[int, int]],
        resolutions: Sequence[int],
        *,
        kind: str,
        span: int,
        bias: bool,
        sn: SpectralNorm | None,
        init: Init,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        sides = [side for side, _ in maps]
        for resolution in resolutions:
            if resolution not in sides:
                raise ValueError(
                    f"`attention_resolutions` (={resolution}) is not the shorter side of any map of this network; "
                    f"its maps have {sorted(set(sides))}."
                )
        chosen = sorted({sides.index(resolution) for resolution in resolutions})
        options: dict[str, Any] = dict(kind=kind, span=span, bias=bias, sn=sn, init=init, dtype=dtype, rngs=rngs)
        self.layers = nnx.Dict({str(i): SelfAttention(maps[i][1], **options) for i in chosen})

    def __call__(
        self,
        index: int,
        x: jax.Array,
        *,
        train: bool,
        weights: dict[str, jax.Array] | None = None,
        remat: bool = False,
    ) -> jax.Array:
        """Applies the layer at map number `index`, if there is one; puts its weights into `weights`, if given."""
        if str(index) not in self.layers:
            return x
        layer = self.layers[str(index)]
        if weights is not None:
            weights[f"{x.shape[1]}x{x.shape[2]}"] = layer.attention_map(x, train=False)
        return run_block(layer, x, train=train, remat=remat)


def leaky_relu(x: jax.Array, slope: float) -> jax.Array:
    """max(x, slope * x) for a slope in [0, 1)."""
    return jnp.where(x > 0, x, slope * x) if slope else jax.nn.relu(x)
