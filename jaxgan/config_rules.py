"""The rules that settings must obey, checked before anything is compiled or read.

`jaxgan/config.py` is the schema; here is what its values may be, alone and together.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from jaxgan.config import TRANSLATING, Config, ConfigError
from jaxgan.config_tree import flatten

_CHOICES = {
    "dtype": ("float32", "bfloat16"),
    "data.scaling": ("symmetric", "nnabla"),
    "data.channels": (1, 3, 4),
    "model.name": ("resnet", "dcgan", "mlp", "cyclegan", "unet"),
    "model.g_spectral_norm": ("none", "hidden", "all"),
    "model.d_spectral_norm": ("none", "hidden", "all"),
    "model.attention_kind": ("pooled", "plain"),
    "model.init": ("glorot", "glorot_sqrt2", "orthogonal", "normal", "torch", "torchgan"),
    "model.d_pool": ("sum", "mean"),
    "model.d_batch_norm": ("none", "inner", "all"),
    "model.sn_axis": ("out", "in"),
    "model.g_kernel": (3, 4),
    "model.d_last_stride": (1, 2),
    "method.name": ("adversarial", "cyclegan", "pix2pix"),
    "method.direction": ("a2b", "b2a"),
    "method.loss": ("hinge", "non_saturating", "minimax", "least_squares", "wasserstein"),
    "method.penalty": ("none", "wgan_gp", "dragan", "r1", "r2", "r1_r2"),
    "method.fake_labels": ("uniform", "without_replacement", "data"),
    "g_optim.name": ("adam", "rmsprop", "sgd"),
    "d_optim.name": ("adam", "rmsprop", "sgd"),
    "g_optim.schedule": ("constant", "linear", "cosine"),
    "d_optim.schedule": ("constant", "linear", "cosine"),
    "eval.extractor": ("inception", "classifier"),
    "eval.feature_dims": (64, 192, 768, 2048),
    "eval.resizer": ("tf1", "bilinear", "clean"),
    "mesh.unroll_d_steps": ("auto", "always", "never"),
}
_METRICS = ("fid", "is", "kid", "prdc", "intra_fid", "cas")

_POSITIVE = (
    "total_steps", "batch_size", "num_d_steps", "num_microbatches", "data.resolution", "data.num_threads",
    "data.prefetch", "model.latent_dim", "model.g_channels", "model.d_channels", "model.base_size", "model.sn_iters",
    "model.d_num_layers",
    "checkpoint.every_steps", "checkpoint.keep", "sample.rows", "sample.columns", "log.every_steps",
    "log.profile_num_steps", "eval.num_samples", "g_optim.lr", "d_optim.lr", "mesh.fsdp", "model.bn_groups",
    "health.rollback_lr_factor", "health.window", "health.patience", "health.diversity_patience",
)  # fmt: skip
_NOT_NEGATIVE = (
    "seed", "data.width", "model.d_num_down", "method.penalty_weight", "method.weight_clip", "ema.halflife_images",
    "ema.start_step", "checkpoint.keep_every", "checkpoint.keep_best", "sample.every_steps", "log.profile_step",
    "eval.every_steps", "eval.num_reference", "mesh.data", "mesh.fsdp_min_size", "model.num_res_blocks",
    "method.gan_weight", "method.paired_l1_weight", "method.cycle_weight", "method.identity_weight", "method.pool_size",
    "health.max_rollbacks", "health.max_logit_gap", "health.max_grad_norm_ratio", "health.diversity_from_step",
)  # fmt: skip
_FRACTIONS = ("model.bn_decay", "g_optim.b1", "g_optim.b2", "d_optim.b1", "d_optim.b2", "model.g_dropout",
              "health.min_diversity")  # fmt: skip

# Beyond these a run would fail much later, out of memory or of numbers (steps are counted in int32).
_AT_MOST = {"total_steps": 2**31 - 1, "batch_size": 2**20, "num_d_steps": 1_000, "data.resolution": 2**16,
            "data.width": 2**16, "data.num_threads": 1_024, "data.prefetch": 1_024, "sample.rows": 1_000,
            "sample.columns": 1_000}  # fmt: skip

# Fields of `model` that only some families read: setting one elsewhere would have no effect, so it is refused.
_CONV = ("g_channels", "d_channels", "g_widths", "d_widths", "base_size", "g_spectral_norm", "d_spectral_norm",
         "sn_iters", "sn_eps", "attention_resolutions", "g_attention_resolutions", "d_attention_resolutions",
         "attention_kind", "attention_span", "bn_decay", "bn_eps", "bn_groups")  # fmt: skip
_REMAT = ("remat",)  # resnet and cyclegan only
_RESNET = ("d_wide", "d_num_down", "d_pool")
_DCGAN = ("d_batch_norm", "conv_bias", "last_activation", "d_tanh", "bn_scale_mean", "sn_axis")
_SLOPES = ("g_slope", "d_slope")
_MLP = ("g_hidden", "d_hidden")
_CYCLEGAN = ("num_res_blocks", "g_kernel", "d_last_stride")
_UNET = ("g_dropout",)
_TRANSLATION = ("d_num_layers", *_CYCLEGAN, *_UNET)
_LATENT = ("latent_dim", *(name for name in _CONV if name not in ("g_channels", "d_channels")))
_UNUSED = {
    "resnet": _DCGAN + _SLOPES + _MLP + _TRANSLATION,
    "dcgan": _RESNET + _MLP + _TRANSLATION + _REMAT,
    "mlp": _CONV + _RESNET + _DCGAN + _TRANSLATION + _REMAT,
    "cyclegan": _LATENT + _RESNET + tuple(name for name in _DCGAN if name != "conv_bias") + _SLOPES + _MLP + _UNET,
    "unet": _LATENT + _RESNET + _DCGAN + _SLOPES + _MLP + _CYCLEGAN + _REMAT,
}
# The same for fields of `method`, by its name.
_LATENT_METHOD = ("penalty", "penalty_weight", "weight_clip", "joint_forward", "d_stats_in_g_step", "reuse_latents",
                  "fake_labels")  # fmt: skip
_CYCLE_METHOD = ("cycle_weight", "identity_weight", "pool_size")
_UNUSED_BY_METHOD = {
    "adversarial": ("gan_weight", "paired_l1_weight", "direction", *_CYCLE_METHOD),
    "cyclegan": (*_LATENT_METHOD, "direction"),
    "pix2pix": _LATENT_METHOD + _CYCLE_METHOD,
}
_MODELS = {"adversarial": ("resnet", "dcgan", "mlp"), "cyclegan": ("cyclegan",), "pix2pix": ("unet",)}


def validate(config: Config, *, num_devices: int = 1, num_processes: int = 1, own_method: bool = False) -> None:
    """Checks everything that can be known before reading data.

    Args:
      config: the resolved settings.
      num_devices: devices of all processes together.
      num_processes: processes that read data.
      own_method: the networks and losses come from elsewhere, so `config.model` and `config.method` are not read.

    Raises:
      ConfigError: one message that lists every problem found.
    """
    flat = flatten(config)
    problems = _check_values(flat)
    if not own_method:
        problems += _check_model(config)
        problems += _check_method(config)
        problems += _check_parts(config, num_devices)
        problems += _check_translation(config) if config.method.name in TRANSLATING else []
    problems += _check_batch(config, num_devices, num_processes)
    if problems:
        raise ConfigError(" ".join(problems))


def _check_values(flat: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, choices in _CHOICES.items():
        if flat[name] not in choices:
            near = difflib.get_close_matches(str(flat[name]), list(map(str, choices)), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            problems.append(f"config.{name} (={flat[name]!r}) must be one of {', '.join(map(str, choices))}.{hint}")
    problems += [f"config.{n} (={flat[n]}) must be positive." for n in _POSITIVE if not flat[n] > 0]
    problems += [f"config.{n} (={flat[n]}) must not be negative." for n in _NOT_NEGATIVE if not flat[n] >= 0]
    problems += [f"config.{n} (={flat[n]}) must not exceed {m:,}." for n, m in _AT_MOST.items() if flat[n] > m]
    problems += [f"config.{n} (={flat[n]}) must lie in [0, 1)." for n in _FRACTIONS if not 0 <= flat[n] < 1]
    problems += [f"config.{n} (={v}) must be finite." for n, v in flat.items() if _is_not_finite(v)]
    if flat["health.rollback_lr_factor"] > 1:
        problems.append(f"config.health.rollback_lr_factor (={flat['health.rollback_lr_factor']}) must not exceed 1.")
    if 0 < flat["health.max_grad_norm_ratio"] <= 1:
        problems.append(
            f"config.health.max_grad_norm_ratio (={flat['health.max_grad_norm_ratio']}) must exceed 1, which an "
            "ordinary step has; or be 0, which turns it off."
        )
    for network in ("g", "d"):
        if flat[f"{network}_optim.schedule"] in ("linear", "cosine") and flat[f"{network}_optim.decay_steps"] <= 0:
            problems.append(
                f"config.{network}_optim.decay_steps (={flat[f'{network}_optim.decay_steps']}) must be positive for "
                f"schedule {flat[f'{network}_optim.schedule']!r}; set it to the updates that the decay shall take."
            )
    for metric in flat["eval.metrics"] or ("",):
        if metric not in _METRICS:
            problems.append(f"config.eval.metrics (={metric!r}) must be some of {', '.join(_METRICS)}.")
    kind, colon, pixels = flat["data.crop"].partition(":")
    is_number = pixels.isdecimal() and int(pixels) > 0
    if not (kind in ("none", "center") and not colon or kind in ("center", "random") and is_number):
        problems.append(
            f"config.data.crop (={flat['data.crop']!r}) must be none, center or center:N with N pixels, or random:N."
        )
    elif kind == "random" and int(pixels) < flat["data.resolution"]:
        problems.append(
            f"config.data.crop (={flat['data.crop']!r}) must have at least config.data.resolution "
            f"(={flat['data.resolution']}) pixels, out of which a part of that height is cut."
        )
    return problems


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _unused(group: str, chosen: Any, unused: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Names the fields of `config.model` or `config.method` that are set and not read."""
    default = type(chosen)()
    return [
        f"config.{group}.{field} (={getattr(chosen, field)!r}) has no effect for {group}.name={chosen.name!r}; "
        f"leave it at {getattr(default, field)!r}."
        for field in unused.get(chosen.name, ())
        if getattr(chosen, field) != getattr(default, field)
    ]


def _check_model(config: Config) -> list[str]:
    model = config.model
    problems = _unused("model", model, _UNUSED)
    fitting = _MODELS.get(config.method.name, ())
    if model.name in _UNUSED and fitting and model.name not in fitting:
        rule = f"must be {' or '.join(fitting)} for method.name={config.method.name!r}"
        return [f"config.model.name (={model.name!r}) {rule}."]
    if model.name == "mlp" and model.conditional:
        problems.append("config.model.conditional (=True) is not supported by model.name='mlp'; set it to False.")
    if model.name == "dcgan" and model.conditional:
        problems.append("config.model.conditional (=True) is not supported by model.name='dcgan'; set it to False.")
    if model.name in ("resnet", "dcgan") and model.base_size > 0 and config.data.resolution > 0:
        problems += _check_resolution(config)
    return problems


def _check_resolution(config: Config) -> list[str]:
    height, width = config.data.height_width
    short, base = min(height, width), config.model.base_size
    factor = short // base
    if short % base or factor < 2 or factor & (factor - 1) or height % factor or width % factor:
        odd = short
        while odd % 2 == 0 and odd > 8:
            odd //= 2
        nearest = base * 2 ** max(1, round(math.log2(short / base)))
        return [
            f"config.data.resolution (={height} x {width} pixels) must be config.model.base_size (={base}) times a "
            f"power of two; try base_size={odd} or a resolution of {nearest}."
        ]
    num_up = int(math.log2(factor))
    num_down = config.model.d_num_down or num_up
    maps = {
        "g": {base * 2**i for i in range(num_up + (config.model.name == "resnet"))},
        "d": {short // 2**i for i in range(1, min(num_down, 64) + 1)},
    }
    both = maps["g"] & maps["d"]
    fields = {"attention_resolutions": both, "g_attention_resolutions": maps["g"], "d_attention_resolutions": maps["d"]}
    problems = []
    for field, sizes in fields.items():
        for resolution in getattr(config.model, field):
            if resolution not in sizes:
                problems.append(
                    f"config.model.{field} (={resolution}) is not the shorter side of any map there; "
                    f"maps: {', '.join(map(str, sorted(sizes)))}."
                )
    if config.model.attention_span >= 0 and config.model.attention_kind != "plain":
        problems.append(
            f"config.model.attention_span (={config.model.attention_span}) masks plain attention only; "
            "set config.model.attention_kind='plain'."
        )
    return problems


def _check_method(config: Config) -> list[str]:
    problems = _unused("method", config.method, _UNUSED_BY_METHOD)
    if config.data.paired and config.method.name not in TRANSLATING:
        problems.append("config.data.paired (=True) is for methods that translate; set it to False.")
    if config.method.penalty != "none" and config.method.penalty_weight == 0:
        problems.append("config.method.penalty_weight (=0) turns the penalty off; set config.method.penalty='none'.")
    if config.method.penalty != "none" and config.model.name == "dcgan" and config.model.d_batch_norm != "none":
        problems.append(
            f"config.method.penalty (={config.method.penalty!r}) is defined per image, but batch norm in D mixes the "
            "images of a batch; set config.model.d_batch_norm='none'."
        )
    return problems


def _check_parts(config: Config, num_devices: int) -> list[str]:
    """Checks the parts that a batch is cut into beside those of the devices."""
    pieces, model = config.num_microbatches, config.model
    name = f"config.num_microbatches (={pieces})"
    if pieces > 1 and config.method.name in TRANSLATING:
        return [f"{name} must be 1 for method.name={config.method.name!r}."]
    if pieces > 1 and model.name == "dcgan" and model.d_batch_norm != "none":
        return [f"{name} must be 1 where D has batch norm, which needs the whole batch; see config.model.d_batch_norm."]
    devices = config.mesh.data * config.mesh.fsdp or num_devices
    parts = {f"{name} x devices (={devices})": pieces * devices if pieces > 1 else 1}
    parts[f"config.model.bn_groups (={model.bn_groups})"] = model.bn_groups
    return [
        f"config.batch_size (={config.batch_size}) must be a multiple of {what}; try {-(-config.batch_size // n) * n}."
        for what, n in parts.items()
        if n > 0 and config.batch_size % n
    ]


def _check_translation(config: Config) -> list[str]:
    method, data = config.method, config.data
    problems = []
    if config.num_d_steps != 1:
        problems.append(
            f"config.num_d_steps (={config.num_d_steps}) must be 1 for method.name={method.name!r}, which updates both "
            "sides once per step."
        )
    if data.scaling != "symmetric":
        problems.append(f"config.data.scaling (={data.scaling!r}) must be symmetric for method.name={method.name!r}.")
    if method.name == "cyclegan" and any(side % 4 for side in data.height_width):
        problems.append(
            f"config.data.resolution (={data.resolution} x {data.height_width[1]} pixels) must be multiples of 4 for "
            "model.name='cyclegan', which halves its maps twice."
        )
    needs_pairs = "method.name='pix2pix'" if method.name == "pix2pix" else "method.paired_l1_weight"
    if (method.name == "pix2pix" or method.paired_l1_weight) and not data.paired:
        problems.append(f"config.data.paired (=False) must be True for {needs_pairs}, which compares pairs.")
    return problems


def _check_batch(config: Config, num_devices: int, num_processes: int) -> list[str]:
    problems = []
    try:
        devices = math.prod(config.mesh.shape(num_devices, num_processes))
    except ConfigError as problem:
        problems, devices = [str(problem)], 0
    for count, name in ((devices, "devices"), (num_processes, "processes")):
        if count > 0 and config.batch_size > 0 and config.batch_size % count:
            low = config.batch_size // count * count
            options = f"{low} or {low + count}" if low else f"{count}"
            problems.append(
                f"config.batch_size (={config.batch_size}) must be a multiple of the number of {name} (={count}); "
                f"try {options}."
            )
    return problems
