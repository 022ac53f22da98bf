"""CycleGAN's training step in PyTorch, as the peer of a speed comparison; imports nothing of jaxgan.

The work of jaxgan's step: both generators on six translations (one from each domain, one back, one of the target
itself), one Adam for both; then both discriminators on a real image and an earlier or new translation from a pool that
lies on the device. Written for speed like `torch_peer.py`: the discriminators' weights get no gradients in the
generators' phase, real and translated images share one forward (instance norm keeps them apart), fused Adam,
channels_last, TF32, bf16 autocast, and torch.compile where asked.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.torch_cyclegan import PatchDiscriminator, ResnetGenerator
from benchmarks.torch_peer import configure_cuda

_DIRECTIONS = {"g_ab": ("a", "b"), "g_ba": ("b", "a")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleGANPeerConfig:
    """What `CycleGANPeer` is built from."""

    resolution: int  # pixels
    batch_size: int
    image_channels: int = 3
    g_channels: int = 64
    d_channels: int = 64
    num_res_blocks: int = 9
    num_layers: int = 3  # of the discriminators
    gan_weight: float = 1.0
    cycle_weight: float = 10.0
    identity_weight: float = 5.0
    pool_size: int = 50
    g_lr: float = 2e-4
    d_lr: float = 2e-4
    dtype: str = "float32"  # float32 | bfloat16 (autocast)
    device: str = "cpu"
    compile: bool = False  # of the two losses, forward and backward
    channels_last: bool = True
    tf32: bool = True
    cudnn_benchmark: bool = True
    seed: int = 0


class CycleGANPeer:
    """Holds both generators, both discriminators, their optimisers and the pools; trains them step by step."""

    def __init__(self, **settings: Any):
        config = self.config = CycleGANPeerConfig(**settings)
        self.device = torch.device(config.device)
        if self.device.type == "cuda":
            configure_cuda(config.tf32, config.cudnn_benchmark)
        torch.manual_seed(config.seed)
        self.draws = random.Random(config.seed)  # on the host: a draw on the device would be waited for
        self.memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        place: dict[str, Any] = {"device": self.device, "memory_format": self.memory_format}
        g, d = make_generators(config), make_discriminators(config)
        self.nets: dict[str, nn.Module] = {name: net.to(**place) for name, net in (g | d).items()}
        adam: dict[str, Any] = {"betas": (0.5, 0.999), "eps": 1e-8, "fused": True}
        self.g_optim = torch.optim.Adam(self._params(*g), lr=config.g_lr, **adam)
        self.d_optim = torch.optim.Adam(self._params(*d), lr=config.d_lr, **adam)
        side, channels = config.resolution, config.image_channels
        self.pools = {
            domain: torch.zeros(config.pool_size, channels, side, side, device=self.device) for domain in ("a", "b")
        }
        self.filled = 0
        compiled: Callable[..., Any] = torch.compile if config.compile else lambda function, **_: function
        self._g_loss = compiled(self._generator_loss, dynamic=False)
        self._d_loss = compiled(self._discriminator_loss, dynamic=False)

    def step(self, a: np.ndarray | Tensor, b: np.ndarray | Tensor) -> dict[str, Tensor]:
        """Trains both generators, then both discriminators.

        Args:
          a: uint8 (1, B, H, W, C), images of domain a, in host memory or on the device.
          b: of domain b.

        Returns:
          {"g_loss", "d_loss"}: scalars left on the device.
        """
        real = {"a": self._stage(a), "b": self._stage(b)}
        discriminators = [self.nets["d_a"], self.nets["d_b"]]
        for net in discriminators:
            net.requires_grad_(False)
        self.g_optim.zero_grad(set_to_none=True)
        g_loss, fakes = self._g_loss(real["a"], real["b"])
        g_loss.backward()
        self.g_optim.step()
        for net in discriminators:
            net.requires_grad_(True)
        self.d_optim.zero_grad(set_to_none=True)
        shown = {domain: self._exchange(domain, fake.detach()) for domain, fake in fakes.items()}
        self.filled = min(self.filled + self.config.batch_size, self.config.pool_size)
        d_loss = self._d_loss(real["a"], real["b"], shown["a"], shown["b"])
        d_loss.backward()
        self.d_optim.step()
        return {"g_loss": g_loss.detach(), "d_loss": d_loss.detach()}

    def num_params(self) -> dict[str, int]:
        """Returns the trainable parameters of each network."""
        return {name: sum(p.numel() for p in net.parameters()) for name, net in self.nets.items()}

    def synchronize(self) -> None:
        """Waits until the device has done everything submitted."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _params(self, *names: str) -> list[nn.Parameter]:
        return list(itertools.chain.from_iterable(self.nets[name].parameters() for name in names))

    def _stage(self, images: np.ndarray | Tensor) -> Tensor:
        pixels: Tensor = torch.as_tensor(images)
        config = self.config
        expected = (1, config.batch_size, config.resolution, config.resolution, config.image_channels)
        if tuple(pixels.shape) != expected or pixels.dtype != torch.uint8:
            raise ValueError(f"images ({pixels.dtype}, shape {tuple(pixels.shape)}) must be uint8 of shape {expected}.")
        staged = pixels[0].to(self.device, non_blocking=True).movedim(-1, 1)
        return (staged.to(torch.float32) * (2.0 / 255.0) - 1.0).contiguous(memory_format=self.memory_format)

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16")

    def _generator_loss(self, a: Tensor, b: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        config, real, fakes = self.config, {"a": a, "b": b}, {}
        loss = torch.zeros((), device=self.device)
        with self._autocast():
            for name, (source, target) in _DIRECTIONS.items():
                fakes[target] = self.nets[name](real[source])
                logits = self.nets[f"d_{target}"](fakes[target])
                loss = loss + config.gan_weight * (logits - 1.0).square().mean()
            for name, (source, target) in _DIRECTIONS.items():
                back = self.nets[name](fakes[source])
                loss = loss + config.cycle_weight * (back - real[target]).abs().mean()
                if config.identity_weight:
                    same = self.nets[name](real[target])
                    loss = loss + config.identity_weight * (same - real[target]).abs().mean()
        return loss, fakes

    def _discriminator_loss(self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor) -> Tensor:
        loss = torch.zeros((), device=self.device)
        with self._autocast():
            for domain, real, fake in (("a", a, fake_a), ("b", b, fake_b)):
                logits = self.nets[f"d_{domain}"](torch.cat([real, fake]))
                on_real, on_fake = logits.chunk(2)
                loss = loss + 0.5 * ((on_real - 1.0).square().mean() + on_fake.square().mean())
        return loss

    @torch.no_grad()
    def _exchange(self, domain: str, fakes: Tensor) -> Tensor:
        """Returns, for every translation, itself or an earlier one, which it then replaces, each with p = 1/2."""
        pool, shown = self.pools[domain], []
        if not self.config.pool_size:
            return fakes
        for i, fake in enumerate(fakes):
            place = self.filled + i
            if place < self.config.pool_size:  # still filling
                pool[place] = fake
                shown.append(fake)
            elif self.draws.random() < 0.5:
                shown.append(fake)
            else:
                chosen = self.draws.randrange(self.config.pool_size)
                shown.append(pool[chosen].clone())
                pool[chosen] = fake
        return torch.stack(shown).contiguous(memory_format=self.memory_format)


def make_generators(config: CycleGANPeerConfig) -> dict[str, nn.Module]:
    """Returns the generators by their names in jaxgan."""
    return {
        name: ResnetGenerator(config.image_channels, config.g_channels, config.num_res_blocks) for name in _DIRECTIONS
    }


def make_discriminators(config: CycleGANPeerConfig) -> dict[str, nn.Module]:
    """Returns the discriminators by their names in jaxgan."""
    return {
        name: PatchDiscriminator(config.image_channels, config.d_channels, config.num_layers) for name in ("d_a", "d_b")
    }
