"""`--dry_run`: what a run would be, without training it, on these devices or on absent ones."""

from __future__ import annotations

import json
import time
from typing import Any

from jaxgan import config_tree
from jaxgan.config import TRANSLATING, Config
from jaxgan.core.communication import collectives, totals
from jaxgan.core.topology import MEMORY_GIB, absent_devices
from jaxgan.data.errors import DataError
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.spec import DataSpec
from jaxgan.training import setup as setup_lib
from jaxgan.training.recording import parameter_table

_ASSUMED_CLASSES = 1_000  # where the data is not at hand


def describe(config: Config, mesh: str = "") -> str:
    """Returns the resolved settings, the parameter table, and cost and communication of the compiled step as text.

    Data that is not at hand is reported and replaced by an assumption, so that a run can be planned on another machine.

    Args:
      config: the settings.
      mesh: a topology that is not there, to compile for; see `absent_devices`. "" = the devices of this process.

    Raises:
      ConfigError: the settings are wrong, or nothing here compiles for the topology.
    """
    devices = absent_devices(mesh) if mesh else None
    setup_lib.validate(config, devices=devices)
    parts = [json.dumps(config_tree.to_dict(config), indent=2)]
    try:
        data = open_dataset(config.data).spec
        parts.append(f"data: {data.num_images:,} images, {data.num_classes} classes")
    except DataError as error:
        data = assumed_data(config)
        parts.append(f"data: {error}\n      Assumed here: {data.num_classes} classes.")
    setup = setup_lib.prepare(config, data, devices=devices)
    parts.append(parameter_table(setup))
    parts.append(_cost(config, setup))
    return "\n\n".join(parts)


def assumed_data(config: Config) -> DataSpec:
    """Returns what data that is not at hand is taken for."""
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
    start = time.perf_counter()
    compiled = setup.lower().compile()
    seconds = time.perf_counter() - start
    images = config.batch_size * config.num_d_steps
    flops = count_flops(compiled)  # XLA counts the work of one device
    kind = setup.mesh.devices.flat[0].device_kind
    axes = ", ".join(f"{name} {size}" for name, size in setup.mesh.shape.items())
    lines = [
        f"compiled step on {setup.mesh.size} x {kind} (mesh: {axes}), compiled in {seconds:,.0f} s:",
        f"  {flops * setup.mesh.size:.4g} FLOPs per step, {flops * setup.mesh.size / images:.4g} per real image "
        f"({images} images per step), {flops:.4g} per step and device",
    ]
    memory = compiled.memory_analysis()
    if memory is not None:
        lines.append(_memory(memory, MEMORY_GIB.get(kind)))
    if setup.mesh.size > 1:
        lines += _communication(compiled.as_text())
    return "\n".join(lines)


def _memory(memory: Any, available_gib: int | None) -> str:
    mib = 2**20
    parts = {
        "state and batch": memory.argument_size_in_bytes,
        "temporary": memory.temp_size_in_bytes,
        "program": memory.generated_code_size_in_bytes,
    }
    said = ", ".join(f"{size / mib:,.1f} MiB {name}" for name, size in parts.items())
    whole = f"; together {sum(parts.values()) / 2**30:.2f} of {available_gib} GiB" if available_gib else ""
    return f"  memory per device: {said}{whole}"


def _communication(program: str) -> list[str]:
    found = collectives(program)
    lines = [
        f"  {kind}: {count} per step, {size / 2**20:,.2f} MiB" for kind, (count, size) in totals(found).items()
    ] or ["  no communication"]
    sent = sum(one.count * one.sent_bytes for one in found)
    lines.append(f"  sent by each device per step, on a ring: {sent / 2**20:,.2f} MiB")
    if not all(one.count_is_known for one in found):
        lines.append("  (at least: some lie in a loop whose turns the program does not tell, and are counted once)")
    return lines


def count_flops(compiled: Any) -> float:
    """Returns XLA's count of one device's operations; it counts the body of a loop once."""
    analysis = compiled.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis  # a list per program before jax 0.5
    return float((analysis or {}).get("flops", 0.0))
