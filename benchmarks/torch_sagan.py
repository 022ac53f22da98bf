"""SAGAN in PyTorch with pooled attention, written for speed: the networks of `torch_peer.py`.

The architecture of self-attention-gan and BigGAN-PyTorch (SAGAN, arXiv:1805.08318): spectral norm on every convolution
and linear map and on D's embedding (one power iteration per training forward), class-conditional batch norm, sum
pooling, projection. Maps are NCHW, channels_last if the module was converted to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def generator_widths(resolution: int, channels: int) -> tuple[int, ...]:
    """Returns the channels of the maps from 4 x 4 pixels up: level i of k has channels * min(2^(k-i), 16)."""
    k = num_levels(resolution)
    return tuple(channels * min(2 ** (k - i), 16) for i in range(k + 1))


def discriminator_widths(resolution: int, channels: int, num_down: int = 0) -> tuple[int, ...]:
    """Returns the channels after each of SAGAN's D blocks: block i has channels * min(2^i, 16)."""
    return tuple(channels * min(2**i, 16) for i in range((num_down or num_levels(resolution)) + 1))


def num_levels(resolution: int) -> int:
    k = int(math.log2(max(resolution, 1) / 4))
    if k < 1 or 4 * 2**k != resolution:
        raise ValueError(f"resolution (={resolution}) must be 4 times a power of two; try 32, 64 or 128.")
    return k


def batch_norm(channels: int, *, affine: bool = True) -> nn.BatchNorm2d:
    """Returns nn.BatchNorm2d without its counter of batches: a kernel launch each, for nothing."""
    norm = nn.BatchNorm2d(channels, affine=affine)
    norm.num_batches_tracked = None
    return norm


def check_widths(name: str, widths: Sequence[int], count: int) -> tuple[int, ...]:
    if len(widths) != count:
        raise ValueError(f"{name} (={tuple(widths)}) must have {count} entries, one for each map at this resolution.")
    return tuple(widths)


class _Spectral(nn.Module):
    """A weight divided by its spectral norm: one power iteration per training forward, constants to autodiff."""

    u: Tensor

    def init_spectral(self, weight: Tensor) -> None:
        self.register_buffer("u", torch.randn(weight.shape[0]))

    def normalized(self, weight: Tensor) -> Tensor:
        # (out, fan_in), the fan-in in memory order: flattening a channels_last kernel in NCHW order would copy it.
        matrix = weight.flatten(1) if weight.is_contiguous() else weight.permute(0, 2, 3, 1).flatten(1)
        with torch.autocast(weight.device.type, enabled=False):
            with torch.no_grad():
                v = F.normalize(torch.mv(matrix.t(), self.u), dim=0, eps=1e-12)
                u = F.normalize(torch.mv(matrix, v), dim=0, eps=1e-12)
                if self.training:
                    self.u = u  # not in place: a compiled backward may recompute from the old vector
            return weight / torch.dot(u, torch.mv(matrix, v))


class SNConv(_Spectral):
    """k x k convolution with "same" padding and stride 1; `spectral` False: an ordinary one."""

    def __init__(self, in_channels: int, out_channels: int, size: int, *, bias: bool = True, spectral: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, size, size))
        nn.init.xavier_uniform_(self.weight)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.spectral = spectral
        if spectral:
            self.init_spectral(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.normalized(self.weight) if self.spectral else self.weight
        return F.conv2d(x, weight, self.bias, padding=self.weight.shape[-1] // 2)


class SNLinear(_Spectral):
    def __init__(self, in_features: int, out_features: int, *, spectral: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.xavier_uniform_(self.weight)
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.spectral = spectral
        if spectral:
            self.init_spectral(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalized(self.weight) if self.spectral else self.weight, self.bias)


class Projection(_Spectral):
    """linear(h) + <embedding(labels), h>, in float32: (B, C) -> (B,)."""

    def __init__(self, features: int, num_classes: int):
        super().__init__()
        self.linear = SNLinear(features, 1)
        self.table = nn.Parameter(torch.empty(num_classes, features)) if num_classes else None
        if self.table is not None:
            nn.init.xavier_uniform_(self.table)
            self.init_spectral(self.table)

    def forward(self, h: Tensor, labels: Tensor | None) -> Tensor:
        row = self.linear.normalized(self.linear.weight)  # (1, C)
        if self.table is not None:
            assert labels is not None, "a conditional discriminator needs labels"
            row = row + F.embedding(labels, self.normalized(self.table))  # (B, C)
        return (h * row).sum(dim=1) + self.linear.bias


class ConditionalBatchNorm(nn.Module):
    """Batch norm with a gain and a bias per class (tables of ones and zeros); plain affine for num_classes = 0."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.norm = batch_norm(channels, affine=not num_classes)
        self.gain = nn.Parameter(torch.ones(num_classes, channels)) if num_classes else None
        self.bias = nn.Parameter(torch.zeros(num_classes, channels)) if num_classes else None

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = self.norm(x)
        if self.gain is None or self.bias is None:
            return x
        assert labels is not None, "a conditional generator needs labels"
        gain, bias = (F.embedding(labels, table).to(x.dtype)[:, :, None, None] for table in (self.gain, self.bias))
        return torch.addcmul(bias, x, gain)


class PooledAttention(nn.Module):
    """x + gate * out(softmax(theta phi^T) g): phi and g are max-pooled 2 x 2, scores are not scaled, no biases."""

    def __init__(self, channels: int, *, fused: bool = True, spectral: bool = True):
        super().__init__()
        kind = {"bias": False, "spectral": spectral}
        self.theta, self.phi = (SNConv(channels, channels // 8, 1, **kind) for _ in range(2))
        self.g = SNConv(channels, channels // 2, 1, **kind)
        self.out = SNConv(channels // 2, channels, 1, **kind)
        self.gate = nn.Parameter(torch.zeros(()))
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        queries = self.theta(x).flatten(2).transpose(1, 2)  # (B, N, C/8)
        keys = F.max_pool2d(self.phi(x), 2).flatten(2).transpose(1, 2)  # (B, N/4, C/8)
        values = F.max_pool2d(self.g(x), 2).flatten(2).transpose(1, 2)  # (B, N/4, C/2)
        if self.fused:
            queries, keys, values = (t.unsqueeze(1) for t in (queries, keys, values))
            mixed = F.scaled_dot_product_attention(queries, keys, values, scale=1.0).squeeze(1)
        else:
            mixed = torch.bmm(torch.softmax(torch.bmm(queries, keys.transpose(1, 2)), dim=-1), values)
        mixed = mixed.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        return x + self.gate.to(x.dtype) * self.out(mixed)


class GeneratorBlock(nn.Module):
    """CBN, ReLU, nearest x2, conv, CBN, ReLU, conv; the shortcut is nearest x2, 1x1 conv."""

    def __init__(self, in_channels: int, out_channels: int, num_classes: int, commute: bool, spectral: bool):
        super().__init__()
        self.norm1 = ConditionalBatchNorm(in_channels, num_classes)
        self.norm2 = ConditionalBatchNorm(out_channels, num_classes)
        self.conv1 = SNConv(in_channels, out_channels, 3, spectral=spectral)
        self.conv2 = SNConv(out_channels, out_channels, 3, spectral=spectral)
        self.shortcut = SNConv(in_channels, out_channels, 1, spectral=spectral)
        self.commute = commute

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        h = self.conv1(F.interpolate(F.relu(self.norm1(x, labels)), scale_factor=2, mode="nearest"))
        h = self.conv2(F.relu(self.norm2(h, labels)))
        if self.commute:
            return h + F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")
        return h + self.shortcut(F.interpolate(x, scale_factor=2, mode="nearest"))


class DiscriminatorBlock(nn.Module):
    """[ReLU,] conv, ReLU, conv[, average pool]; `first`: no ReLU before, and the shortcut pools before its 1x1 conv."""

    def __init__(self, in_channels: int, out_channels: int, *, first: bool, down: bool, wide: bool, commute: bool):
        super().__init__()
        hidden = out_channels if wide or first else in_channels
        self.conv1 = SNConv(in_channels, hidden, 3)
        self.conv2 = SNConv(hidden, out_channels, 3)
        self.shortcut = SNConv(in_channels, out_channels, 1) if down or in_channels != out_channels else None
        self.first, self.down, self.pool_first = first, down, first or commute

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.down:
            h = F.avg_pool2d(h, 2)
        if self.down and self.pool_first:
            x = F.avg_pool2d(x, 2)
        if self.shortcut is not None:
            x = self.shortcut(x)
        if self.down and not self.pool_first:
            x = F.avg_pool2d(x, 2)
        return h + x


class SAGANGenerator(nn.Module):
    """(z (B, latent_dim), labels (B,) or None) -> images (B, C, H, W) in [-1, 1].

    Args:
      commute_shortcuts: compute 1x1 shortcuts on the smaller map, as jaxgan does: a 1x1 convolution commutes with
        nearest up-sampling, so the images are the same at a quarter of the cost. False = the references' order.
    """

    def __init__(
        self,
        resolution: int = 128,
        channels: int = 64,
        num_classes: int = 1000,
        *,
        attention_resolutions: Sequence[int] = (64,),
        latent_dim: int = 128,
        image_channels: int = 3,
        widths: Sequence[int] = (),
        fused_attention: bool = True,
        commute_shortcuts: bool = True,
        spectral_norm: bool = True,
    ):
        super().__init__()
        widths = check_widths("g_widths", widths or generator_widths(resolution, channels), num_levels(resolution) + 1)
        self.linear = SNLinear(latent_dim, widths[0] * 16, spectral=spectral_norm)
        self.blocks = nn.ModuleList()
        self.attention = nn.ModuleDict()
        for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
            self.blocks.append(GeneratorBlock(before, after, num_classes, commute_shortcuts, spectral_norm))
            if 8 * 2**i in attention_resolutions:
                self.attention[str(i)] = PooledAttention(after, fused=fused_attention, spectral=spectral_norm)
        self.norm = batch_norm(widths[-1])
        self.out = SNConv(widths[-1], image_channels, 3, spectral=spectral_norm)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.linear(z).view(z.shape[0], -1, 4, 4)
        for i, block in enumerate(self.blocks):
            h = block(h, labels)
            if str(i) in self.attention:
                h = self.attention[str(i)](h)
        return torch.tanh(self.out(F.relu(self.norm(h))).float())


class SAGANDiscriminator(nn.Module):
    """(images (B, C, H, W) in [-1, 1], labels (B,) or None) -> logits (B,), float32.

    Args:
      num_down: blocks that halve the map; 0 = down to 4 x 4 pixels.
      wide: blocks widen in their first convolution (SAGAN) or in their second (SNGAN, nnabla's SAGAN).
      commute_shortcuts: as in `SAGANGenerator` (average pooling commutes with a 1x1 convolution too).
    """

    def __init__(
        self,
        resolution: int = 128,
        channels: int = 64,
        num_classes: int = 1000,
        *,
        attention_resolutions: Sequence[int] = (64,),
        num_down: int = 0,
        wide: bool = True,
        image_channels: int = 3,
        widths: Sequence[int] = (),
        fused_attention: bool = True,
        commute_shortcuts: bool = True,
    ):
        super().__init__()
        widths = tuple(widths) or discriminator_widths(resolution, channels, num_down)
        levels = num_down or num_levels(resolution)
        if len(widths) < levels:
            raise ValueError(f"d_widths (={widths}) must have at least {levels} entries, one for each halved map.")
        self.blocks = nn.ModuleList()
        self.attention = nn.ModuleDict()
        for i, (before, after) in enumerate(zip((image_channels, *widths), widths, strict=False)):
            down = i < levels
            block = DiscriminatorBlock(before, after, first=not i, down=down, wide=wide, commute=commute_shortcuts)
            self.blocks.append(block)
            if down and resolution // 2 ** (i + 1) in attention_resolutions:
                self.attention[str(i)] = PooledAttention(after, fused=fused_attention)
        self.head = Projection(widths[-1], num_classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        h = images
        for i, block in enumerate(self.blocks):
            h = block(h)
            if str(i) in self.attention:
                h = self.attention[str(i)](h)
        return self.head(F.relu(h).float().sum(dim=(2, 3)), labels)
