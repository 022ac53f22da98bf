"""What can be read off a file of weights: the layout of residual networks, and the settings that build them here."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxgan.commands.errors import CommandError


@dataclasses.dataclass(frozen=True)
class GeneratorLayout:
    """Sizes of a `ResNetGenerator`."""

    latent_dim: int
    num_classes: int
    image_channels: int
    base_size: int  # pixels, side of the first map
    widths: tuple[int, ...]  # first map, block 1, ..., block k
    attention: tuple[int, ...]  # numbers of the maps with attention; map i comes from block i
    spectral_norm: bool

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.base_size * 2 ** (len(self.widths) - 1)


@dataclasses.dataclass(frozen=True)
class DiscriminatorLayout:
    """Sizes of a `ResNetDiscriminator`."""

    num_classes: int
    image_channels: int
    widths: tuple[int, ...]  # of the blocks
    num_down: int  # the first ones, which halve the map
    wide: bool
    attention: tuple[int, ...]  # numbers of the blocks with attention after them, from 0
    spectral_norm: bool


def model_fields(g: GeneratorLayout, d: DiscriminatorLayout | None) -> dict[str, Any]:
    """Returns the fields of `ModelConfig` that build exactly these networks.

    Args:
      g: of the generator.
      d: of the discriminator; None = one that fits `g`, as wide as G's last block.

    Raises:
      CommandError: the two do not belong together, or D has attention where D here cannot have it.
    """
    g_sides = {g.base_size * 2**i for i in g.attention}
    fields: dict[str, Any] = {
        "conditional": True,
        "latent_dim": g.latent_dim,
        "base_size": g.base_size,
        "g_widths": g.widths,
        "g_spectral_norm": "all" if g.spectral_norm else "none",
    }
    if d is None:
        d_sides = {side for side in g_sides if side < g.resolution}
        fields["d_channels"] = -(-g.widths[-1] // 8) * 8  # attention needs a multiple of 8
    else:
        _check_pair(g, d)
        d_sides = _attention_sides(g.resolution, d)
        fields |= {
            "d_widths": d.widths,
            "d_num_down": 0 if d.num_down == len(g.widths) - 1 else d.num_down,
            "d_wide": d.wide,
            "d_spectral_norm": "all" if d.spectral_norm else "none",
        }
    both = g_sides & d_sides
    return fields | {
        "attention_resolutions": tuple(sorted(both)),
        "g_attention_resolutions": tuple(sorted(g_sides - both)),
        "d_attention_resolutions": tuple(sorted(d_sides - both)),
    }


def _check_pair(g: GeneratorLayout, d: DiscriminatorLayout) -> None:
    for what, ours, theirs in (
        ("classes", g.num_classes, d.num_classes),
        ("image channels", g.image_channels, d.image_channels),
    ):
        if ours != theirs:
            raise CommandError(
                f"the generator has {ours} {what} and the discriminator {theirs}; give the files of one run."
            )
    # The last map has base_size pixels where one block does not halve, and twice that where two do not (32 x 32 images
    # in BigGAN-PyTorch). D itself takes images of any size, so nothing else tells of which size its own were.
    if g.resolution != g.base_size * (len(d.widths) - d.num_down) * 2**d.num_down:
        raise CommandError(
            f"the discriminator (={d.num_down} halvings in {len(d.widths)} blocks) is not one for the generator's "
            f"{g.resolution} x {g.resolution} pixels; give the files of one run."
        )


def _attention_sides(resolution: int, d: DiscriminatorLayout) -> set[int]:
    for block in d.attention:
        if block >= d.num_down:
            raise CommandError(
                f"the discriminator has attention after block {block}, which does not halve its map; jaxgan's has it "
                "after the first block that makes a map of a size only, so convert the generator alone."
            )
    return {resolution // 2 ** (block + 1) for block in d.attention}
