"""The same networks and training step in PyTorch, as the peer of a speed comparison; imports nothing of jaxgan.

Written for speed, as a PyTorch user would tune it: a spectral norm of few kernels, fused attention, fused Adam, foreach
EMA, channels_last, TF32, bf16 autocast, no autograd graph of G in D's step, no gradients of D's weights in G's step,
and torch.compile where asked; no CUDA graphs. To be imported from the repository's root as `benchmarks.torch_peer`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_dcgan import DCGANDiscriminator, DCGANGenerator
from benchmarks.torch_sagan import SAGANDiscriminator, SAGANGenerator

_DEFAULTS: dict[str, dict[str, Any]] = {
    "sagan": {"latent_dim": 128, "num_classes": 1000, "g_lr": 1e-4, "d_lr": 4e-4, "b1": 0.0},
    "dcgan": {"latent_dim": 100, "num_classes": 0, "g_lr": 2e-4, "d_lr": 2e-4, "b1": 0.5},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeerConfig:
    """What `TorchPeer` is built from; None = the usual value of the kind."""

    kind: str  # sagan (hinge, one joint D forward) | dcgan (logistic, two D forwards: batch norm must not mix them)
    resolution: int  # pixels, 4 * 2^k
    batch_size: int  # images per update of D
    num_d_steps: int = 1  # updates of D per update of G, each on its own batch
    channels: int = 64  # of G's last hidden map and of D's first
    image_channels: int = 3
    g_widths: Sequence[int] = ()  # 4 x 4 map first; () = the kind's rule from `channels`
    d_widths: Sequence[int] = ()  # first block first; () = the kind's rule from `channels`
    latent_dim: int | None = None  # sagan 128, dcgan 100
    num_classes: int | None = None  # sagan 1000; 0 = unconditional, as dcgan always is
    attention_resolutions: Sequence[int] = (64,)  # sagan only, as the next five: see `torch_sagan.py`
    wide: bool = True
    num_down: int = 0  # blocks of D that halve the map; 0 = down to 4 x 4 pixels
    g_spectral_norm: bool = True
    fused_attention: bool = True
    commute_shortcuts: bool = True
    g_lr: float | None = None  # sagan 1e-4, dcgan 2e-4
    d_lr: float | None = None  # sagan 4e-4, dcgan 2e-4
    ema_decay: float = 0.0  # per step, of G; 0 = no EMA; SAGAN's is 0.9999
    dtype: str = "float32"  # float32 | bfloat16 (autocast; parameters, statistics, logits and losses stay float32)
    device: str = "cpu"
    compile: bool = False  # torch.compile of the two losses, forward and backward, static shapes
    compile_mode: str = "default"  # default | max-autotune-no-cudagraphs
    channels_last: bool = True
    tf32: bool = True  # of the whole process, as the next; only where the device is CUDA
    cudnn_benchmark: bool = True
    seed: int = 0


class TorchPeer:
    """Holds G, D, their optimisers and the EMA of G on one device, and trains them step by step.

    Args:
      **settings: the fields of `PeerConfig`.

    Raises:
      ValueError: for an unknown choice, or sizes that do not fit together.
    """

    def __init__(self, **settings: Any):
        config = self.config = PeerConfig(**settings)
        _check_choice("kind", config.kind, tuple(_DEFAULTS))
        _check_choice("dtype", config.dtype, ("float32", "bfloat16"))
        _check_choice("compile_mode", config.compile_mode, ("default", "max-autotune-no-cudagraphs"))
        given = {name: value for name in _DEFAULTS["sagan"] if (value := getattr(config, name, None)) is not None}
        usual = _DEFAULTS[config.kind] | given
        self.latent_dim = usual["latent_dim"]
        self.num_classes = usual["num_classes"] if config.kind == "sagan" else 0
        self.device = torch.device(config.device)
        if self.device.type == "cuda":
            configure_cuda(config.tf32, config.cudnn_benchmark)
        torch.manual_seed(config.seed)  # of the initial weights
        self.generator = torch.Generator(self.device).manual_seed(config.seed)  # of latents and fake labels
        self.memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        place: dict[str, Any] = {"device": self.device, "memory_format": self.memory_format}
        g, d = _make_networks(config, self.latent_dim, self.num_classes)
        self.g: nn.Module = g.to(**place)
        self.d: nn.Module = d.to(**place)
        self.ema: nn.Module | None = copy.deepcopy(self.g).requires_grad_(False) if config.ema_decay else None
        adam: dict[str, Any] = {"betas": (usual["b1"], 0.999), "eps": 1e-8, "fused": True}
        self.g_optim = torch.optim.Adam(self.g.parameters(), lr=usual["g_lr"], **adam)
        self.d_optim = torch.optim.Adam(self.d.parameters(), lr=usual["d_lr"], **adam)
        self._d_loss: Callable[..., Tensor] = self._discriminator_loss
        self._g_loss: Callable[..., Tensor] = self._generator_loss
        if config.compile:
            self._d_loss = torch.compile(self._discriminator_loss, dynamic=False, mode=config.compile_mode)
            self._g_loss = torch.compile(self._generator_loss, dynamic=False, mode=config.compile_mode)

    def step(self, images: np.ndarray | Tensor, labels: np.ndarray | Tensor | None = None) -> dict[str, Tensor]:
        """Trains D on `num_d_steps` batches and G once, each on fresh latents; then updates the EMA.

        Args:
          images: uint8 (num_d_steps, B, H, W, C) or (num_d_steps, B, C, H, W); for num_d_steps = 1 also without the
            first axis; in host memory or on the device.
          labels: int (num_d_steps, B) or (B,), in [0, num_classes); required if conditional.

        Returns:
          {"d_loss", "g_loss"}: scalars left on the device; reading them waits for it. D's is of its last update.
        """
        real, real_labels = self._stage(images, labels)
        d_loss = torch.zeros(())
        self.d.requires_grad_(True)
        for batch, batch_labels in zip(real, real_labels, strict=True):
            self.d_optim.zero_grad(set_to_none=True)
            d_loss = self._d_loss(batch, batch_labels, *self._draw())
            d_loss.backward()
            self.d_optim.step()
        self.d.requires_grad_(False)
        self.g_optim.zero_grad(set_to_none=True)
        g_loss = self._g_loss(*self._draw())
        g_loss.backward()
        self.g_optim.step()
        self._update_ema()
        return {"d_loss": d_loss.detach(), "g_loss": g_loss.detach()}

    def num_params(self) -> dict[str, int]:
        """Returns the trainable parameters of each network."""
        return {name: sum(p.numel() for p in net.parameters()) for name, net in (("g", self.g), ("d", self.d))}

    def synchronize(self) -> None:
        """Waits until the device has done everything submitted."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _discriminator_loss(self, real: Tensor, labels: Tensor | None, z: Tensor, fake_labels: Tensor | None) -> Tensor:
        real = real.to(torch.float32) * (2.0 / 255.0) - 1.0
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            with torch.no_grad():
                fake = self.g(z, fake_labels)
            if self.config.kind == "dcgan":
                real_logits, fake_logits = self.d(real), self.d(fake)
            else:
                both = None if labels is None or fake_labels is None else torch.cat([labels, fake_labels])
                real_logits, fake_logits = self.d(torch.cat([real, fake]), both).chunk(2)
        if self.config.kind == "dcgan":
            return _bce(real_logits, 1.0) + _bce(fake_logits, 0.0)
        return F.relu(1.0 - real_logits).mean() + F.relu(1.0 + fake_logits).mean()

    def _generator_loss(self, z: Tensor, labels: Tensor | None) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            logits = self.d(self.g(z, labels), labels)
        return _bce(logits, 1.0) if self.config.kind == "dcgan" else -logits.mean()

    def _draw(self) -> tuple[Tensor, Tensor | None]:
        on_device: dict[str, Any] = {"device": self.device, "generator": self.generator}
        z = torch.randn(self.config.batch_size, self.latent_dim, **on_device)
        if not self.num_classes:
            return z, None
        return z, torch.randint(self.num_classes, (self.config.batch_size,), **on_device)

    def _stage(
        self, images: np.ndarray | Tensor, labels: np.ndarray | Tensor | None
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Moves a step's data to the device, as uint8 (B, C, H, W) and int64 (B,) for each update of D."""
        pixels: Tensor = torch.as_tensor(images)
        lead, size = (self.config.num_d_steps, self.config.batch_size), self.config.resolution
        channels = self.config.image_channels
        if self.config.num_d_steps == 1 and pixels.ndim == 4:
            pixels = pixels[None]
        if pixels.shape == (*lead, size, size, channels):
            pixels = pixels.movedim(-1, -3)
        elif pixels.shape != (*lead, channels, size, size):
            raise ValueError(
                f"images (shape {tuple(pixels.shape)}) must be {(*lead, size, size, channels)} or "
                f"{(*lead, channels, size, size)}; reshape the batch or construct TorchPeer for it."
            )
        if pixels.dtype != torch.uint8:
            raise ValueError(f"images (of {pixels.dtype}) must be uint8; the step scales them to [-1, 1] itself.")
        pixels = pixels.to(self.device, non_blocking=True)
        real = [batch.contiguous(memory_format=self.memory_format) for batch in pixels]
        if not self.num_classes:
            return real, [None] * self.config.num_d_steps
        if labels is None:
            raise ValueError(f"labels (=None) must be given for num_classes={self.num_classes}; or set num_classes=0.")
        classes: Tensor = torch.as_tensor(labels).reshape(lead).to(self.device, torch.int64, non_blocking=True)
        return real, list(classes)

    @torch.no_grad()
    def _update_ema(self) -> None:
        if self.ema is None:
            return
        averages: list[Tensor] = list(self.ema.parameters())
        params: list[Tensor] = list(self.g.parameters())
        weight = 1.0 - self.config.ema_decay
        torch._foreach_lerp_(averages, params, weight)  # pyright: ignore[reportPrivateImportUsage]
        buffers, sources = list(self.ema.buffers()), list(self.g.buffers())
        torch._foreach_copy_(buffers, sources)  # pyright: ignore[reportPrivateImportUsage]


def _make_networks(config: PeerConfig, latent_dim: int, num_classes: int) -> tuple[nn.Module, nn.Module]:
    common: dict[str, Any] = {
        "resolution": config.resolution,
        "channels": config.channels,
        "image_channels": config.image_channels,
    }
    g_kwargs: dict[str, Any] = {**common, "latent_dim": latent_dim, "widths": config.g_widths}
    d_kwargs: dict[str, Any] = {**common, "widths": config.d_widths}
    if config.kind == "dcgan":
        return DCGANGenerator(**g_kwargs), DCGANDiscriminator(**d_kwargs)
    shared: dict[str, Any] = {
        "num_classes": num_classes,
        "attention_resolutions": config.attention_resolutions,
        "fused_attention": config.fused_attention,
        "commute_shortcuts": config.commute_shortcuts,
    }
    g = SAGANGenerator(**g_kwargs, **shared, spectral_norm=config.g_spectral_norm)
    return g, SAGANDiscriminator(**d_kwargs, **shared, wide=config.wide, num_down=config.num_down)


def _bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} (={value!r}) must be one of {', '.join(choices)}.")


def configure_cuda(tf32: bool, cudnn_benchmark: bool) -> None:
    torch.backends.cudnn.benchmark = cudnn_benchmark
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
