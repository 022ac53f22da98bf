"""From a configuration to the PyTorch peer with the same networks and step, where there is one."""

from __future__ import annotations

import math
from typing import Any

from jaxgan import config as config_lib
from jaxgan.config import Config
from jaxgan.core import ema

# The peer has the fixed value of these fields. What costs nothing may differ: learning rates and their schedules,
# Adam's constants, batch norm's constants, initial weights.
_COMMON: dict[str, Any] = {
    "data.scaling": "symmetric",
    "mesh.data": 1,
    "model.base_size": 4,
    "model.g_attention_resolutions": (),
    "model.d_attention_resolutions": (),
    "method.penalty": "none",
    "method.weight_clip": 0.0,
    "method.d_loss_scale": 1.0,
    "method.d_stats_in_g_step": True,
    "method.reuse_latents": False,
    "method.fake_labels": "uniform",
    "g_optim.name": "adam",
    "d_optim.name": "adam",
    "g_optim.grad_clip_norm": 0.0,
    "d_optim.grad_clip_norm": 0.0,
}
_FIXED: dict[str, dict[str, Any]] = {
    "resnet": _COMMON
    | {
        "model.g_spectral_norm": "all",
        "model.d_spectral_norm": "all",
        "model.sn_iters": 1,
        "model.attention_kind": "pooled",
        "model.d_pool": "sum",
        "method.loss": "hinge",
        "method.joint_forward": True,
    },
    "dcgan": _COMMON
    | {
        "model.g_spectral_norm": "none",
        "model.d_spectral_norm": "none",
        "model.attention_resolutions": (),
        "model.conditional": False,
        "model.g_slope": 0.0,
        "model.d_slope": 0.2,
        "model.d_batch_norm": "inner",
        "model.conv_bias": False,
        "model.last_activation": True,
        "model.d_tanh": False,
        "method.loss": "non_saturating",
        "method.joint_forward": False,
    },
}


class NoPeer(ValueError):
    """The peer cannot do the same work; the message names the fields."""


def peer_settings(config: Config, num_classes: int) -> dict[str, Any]:
    """Returns the arguments of `TorchPeer`, without device and compilation.

    Args:
      config: validated settings.
      num_classes: of a conditional model.

    Raises:
      NoPeer: naming every setting that the peer lacks.
    """
    if problems := _differences(config):
        raise NoPeer(f"the PyTorch peer has no {', '.join(problems)}; jaxgan is timed alone.")
    model, halflife = config.model, config.ema.halflife_images
    g_widths, d_widths = _widths(config)
    settings: dict[str, Any] = {
        "kind": "sagan" if model.name == "resnet" else "dcgan",
        "resolution": config.data.resolution,
        "image_channels": config.data.channels,
        "batch_size": config.batch_size,
        "num_d_steps": config.num_d_steps,
        "g_widths": model.g_widths or g_widths,
        "d_widths": model.d_widths or d_widths,
        "latent_dim": model.latent_dim,
        "g_lr": config.g_optim.lr,
        "d_lr": config.d_optim.lr,
        "ema_decay": ema.decay_of_halflife(halflife, config.batch_size) if halflife else 0.0,
        "dtype": config.dtype,
    }
    if model.name == "resnet":
        settings |= {
            "num_classes": num_classes if model.conditional else 0,
            "attention_resolutions": model.attention_resolutions,
            "wide": model.d_wide,
        }
    return settings


def _differences(config: Config) -> list[str]:
    flat = config_lib.flatten(config)
    if config.model.name not in _FIXED:
        return [f"model.name={config.model.name!r}"]
    fixed = dict(_FIXED[config.model.name])
    if not config.model.attention_resolutions:
        fixed.pop("model.attention_kind", None)  # without effect
    problems = [f"{name}={flat[name]!r}" for name, value in fixed.items() if flat[name] != value]
    resolution = config.data.resolution
    if config.data.width not in (0, resolution):
        problems.append(f"data.width={config.data.width}")
    if config.model.name == "resnet":
        if config.model.d_num_down not in (0, _num_doublings(config)):
            problems.append(f"model.d_num_down={config.model.d_num_down} at {resolution} pixels")
        elif config.model.d_widths and len(config.model.d_widths) != _num_doublings(config) + 1:
            problems.append(f"model.d_widths={config.model.d_widths} at {resolution} pixels")
        if any(side < 8 for side in config.model.attention_resolutions):
            problems.append(f"model.attention_resolutions={config.model.attention_resolutions}")
    return problems


def _num_doublings(config: Config) -> int:
    return int(math.log2(config.data.resolution // config.model.base_size))


def _widths(config: Config) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The channel rules of `jaxgan.models`, restated: a slip shows as unequal parameter counts."""
    k, g, d = _num_doublings(config), config.model.g_channels, config.model.d_channels
    if config.model.name == "dcgan":
        return tuple(g * 2 ** (k - i) for i in range(k)), tuple(d * 2**i for i in range(k))
    return tuple(g * min(2 ** (k - i), 16) for i in range(k + 1)), tuple(d * min(2**i, 16) for i in range(k + 1))
