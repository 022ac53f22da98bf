"""From a configuration to the PyTorch peer with the same networks and step, where there is one."""

from __future__ import annotations

import math
from typing import Any

from jaxgan import config_tree
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
    "num_microbatches": 1,
    "model.bn_groups": 1,
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
    "cyclegan": _COMMON
    | {
        "num_d_steps": 1,
        "model.conv_bias": False,
        "model.g_kernel": 3,
        "model.d_last_stride": 1,
        "method.name": "cyclegan",
        "method.loss": "least_squares",
        "method.paired_l1_weight": 0.0,
        "ema.halflife_images": 0.0,
    },
}


class NoPeer(ValueError):
    """The peer cannot do the same work; the message names the fields."""


def peer_settings(config: Config, num_classes: int) -> dict[str, Any]:
    """Returns the arguments of `TorchPeer`, or of `CycleGANPeer` and its kind, without device and compilation.

    Args:
      config: validated settings.
      num_classes: of a conditional model.

    Raises:
      NoPeer: naming every setting that the peer lacks.
    """
    if problems := _differences(config):
        raise NoPeer(f"the PyTorch peer has no {', '.join(problems)}; jaxgan is timed alone.")
    model, halflife = config.model, config.ema.halflife_images
    if model.name == "cyclegan":
        return _cyclegan_settings(config)
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
            "g_spectral_norm": model.g_spectral_norm == "all",
            "num_down": model.d_num_down,
        }
    return settings


def _cyclegan_settings(config: Config) -> dict[str, Any]:
    model, method = config.model, config.method
    return {
        "kind": "cyclegan",
        "resolution": config.data.resolution,
        "image_channels": config.data.channels,
        "batch_size": config.batch_size,
        "g_channels": model.g_channels,
        "d_channels": model.d_channels,
        "num_res_blocks": model.num_res_blocks,
        "num_layers": model.d_num_layers,
        "gan_weight": method.gan_weight,
        "cycle_weight": method.cycle_weight,
        "identity_weight": method.identity_weight,
        "pool_size": method.pool_size,
        "g_lr": config.g_optim.lr,
        "d_lr": config.d_optim.lr,
        "dtype": config.dtype,
    }


def _differences(config: Config) -> list[str]:
    flat = config_tree.flatten(config)
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
        if config.model.g_spectral_norm not in ("all", "none"):
            problems.append(f"model.g_spectral_norm={config.model.g_spectral_norm!r}")
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
    num_down = config.model.d_num_down or k
    return tuple(g * min(2 ** (k - i), 16) for i in range(k + 1)), tuple(d * min(2**i, 16) for i in range(num_down + 1))
