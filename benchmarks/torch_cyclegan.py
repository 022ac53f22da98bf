"""CycleGAN in PyTorch (arXiv:1703.10593): the networks of `torch_cyclegan_peer.py`, as in pytorch-CycleGAN-and-pix2pix.

One deviation, which is jaxgan's: no bias in front of instance norm, where it has no effect.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ResnetGenerator(nn.Module):
    """c7s1-64, d128, d256, R256 x n, u128, u64, c7s1-3, tanh: images (B, C, H, W) in [-1, 1] to images."""

    def __init__(self, image_channels: int = 3, channels: int = 64, num_res_blocks: int = 9):
        super().__init__()
        normed: dict[str, Any] = {"bias": False}
        halving: dict[str, Any] = {"kernel_size": 3, "stride": 2, "padding": 1, **normed}
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(image_channels, channels, 7, **normed)]
        for i in range(2):
            layers += [*_norm_relu(2**i * channels), nn.Conv2d(2**i * channels, 2 ** (i + 1) * channels, **halving)]
        layers += _norm_relu(4 * channels)
        layers += [ResidualBlock(4 * channels) for _ in range(num_res_blocks)]
        for i in (1, 0):
            wide, narrow = 2 ** (i + 1) * channels, 2**i * channels
            layers += [nn.ConvTranspose2d(wide, narrow, output_padding=1, **halving), *_norm_relu(narrow)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(channels, image_channels, 7)]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialize)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.layers(images).float())


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), both convolutions 3x3 with reflected borders."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            *_norm_relu(channels),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class PatchDiscriminator(nn.Module):
    """C64-C128-C256-C512: 4x4 convolutions, leaky ReLU 0.2; images (B, C, H, W) to logits (B, h, w), float32."""

    def __init__(self, image_channels: int = 3, channels: int = 64, num_layers: int = 3):
        super().__init__()
        widths = [channels * min(2**i, 8) for i in range(num_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(image_channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False), 1):
            stride = 1 if i == num_layers else 2
            layers += [nn.Conv2d(before, after, 4, stride, 1, bias=False), nn.InstanceNorm2d(after)]
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.apply(_initialize)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).float()[:, 0]


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]


def _initialize(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
