"""`--dry_run`: what a run would be, without training it."""

from __future__ import annotations

import json
from typing import Any

from jaxgan import config as config_lib
from jaxgan.config import TRANSLATING, Config
from jaxgan.data.errors import DataError
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.spec import DataSpec
from jaxgan.training import setup as setup_lib
from jaxgan.training.recording import parameter_table

_ASSUMED_CLASSES = 1_000  # where the data is not at hand


def describe(config: Config) -> str:
    """Returns the resolved settings, the parameter table, and FLOPs and memory of the compiled step as text.

    Data that is not at hand is reported and replaced by an assumption, so that a run can be planned on another machine.

    Raises:
      ConfigError: the settings are wrong.
    """
    setup_lib.validate(config)
    parts = [json.dumps(config_lib.to_dict(config), indent=2)]
    try:
        data = open_dataset(config.data).spec
        parts.append(f"data: {data.num_images:,} images, {data.num_classes} classes")
    except DataError as error:
        data = _assumed(config)
        parts.append(f"data: {error}\n      Assumed here: {data.num_classes} classes.")
    setup = setup_lib.prepare(config, data)
    parts.append(parameter_table(setup))
    parts.append(_cost(config, setup))
    return "\n\n".join(parts)


def _assumed(config: Config) -> DataSpec:
    height, width = config.data.height_width
    return DataSpec(
        height=height,
        width=width,
        channels=config.data.channels,
        num_classes=_ASSUMED_CLASSES if config.model.conditional and config.method.name not in TRANSLATING else 0,
        class_names=(),
        num_images=0,
        fingerprint="",
        num_images_b=int(config.method.name in TRANSLATING),
    )


def _cost(config: Config, setup: setup_lib.Setup) -> str:
    compiled = setup.lower().compile()
    images = config.batch_size * config.num_d_steps
    flops = _flops(compiled) * setup.mesh.size  # XLA counts the work of one device
    memory = compiled.memory_analysis()
    lines = [
        f"compiled step on {setup.mesh.size} x {setup.mesh.devices.flat[0].device_kind}:",
        f"  {flops:.4g} FLOPs per step, {flops / images:.4g} per real image ({images} images per step)",
    ]
    if memory is not None:
        mib = 2**20
        lines.append(
            f"  memory per device: {memory.argument_size_in_bytes / mib:,.1f} MiB state and batch, "
            f"{memory.temp_size_in_bytes / mib:,.1f} MiB temporary"
        )
    return "\n".join(lines)


def _flops(compiled: Any) -> float:
    analysis = compiled.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis  # a list per program before jax 0.5
    return float((analysis or {}).get("flops", 0.0))
