"""DCGAN in PyTorch (arXiv:1511.06434): the networks of `torch_peer.py`, as in pytorch/examples (dcgan)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.torch_sagan import batch_norm, check_widths, num_levels


class DCGANGenerator(nn.Module):
    """z (B, latent_dim) -> images (B, C, H, W) in [-1, 1].

    Transposed convolutions: 4x4 from the latent, then k4 s2 p1 per doubling; batch norm and ReLU on all but the last,
    which has a bias. Widths (4 x 4 map first) default to channels * 2^(k-1), ..., channels for a resolution of 4 * 2^k.
    """

    def __init__(
        self,
        resolution: int = 64,
        channels: int = 64,
        *,
        latent_dim: int = 100,
        image_channels: int = 3,
        widths: Sequence[int] = (),
    ):
        super().__init__()
        levels = num_levels(resolution)
        widths = check_widths("g_widths", widths or [channels * 2**i for i in reversed(range(levels))], levels)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], 4, 1, 0, bias=False)]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [batch_norm(before), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
        layers += [
            batch_norm(widths[-1]),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(widths[-1], image_channels, 4, 2, 1),
        ]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialize)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.tanh(self.layers(z[:, :, None, None]).float())


class DCGANDiscriminator(nn.Module):
    """images (B, C, H, W) in [-1, 1] -> logits (B,), float32.

    Convolutions k4 s2 p1 down to 4 x 4, leaky ReLU 0.2, batch norm on all but the first and the last, which have
    biases. Widths (first convolution first) default to channels, ..., channels * 2^(k-1).
    """

    def __init__(
        self, resolution: int = 64, channels: int = 64, *, image_channels: int = 3, widths: Sequence[int] = ()
    ):
        super().__init__()
        levels = num_levels(resolution)
        widths = check_widths("d_widths", widths or [channels * 2**i for i in range(levels)], levels)
        layers: list[nn.Module] = [nn.Conv2d(image_channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [
                nn.Conv2d(before, after, 4, 2, 1, bias=False),
                batch_norm(after),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 0))
        self.apply(_initialize)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(images).float().flatten()


def _initialize(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
