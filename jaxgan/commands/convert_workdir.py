"""Converted weights become a workdir: settings, facts and a checkpoint that every command opens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan import config_rules, config_tree
from jaxgan.commands.errors import CommandError
from jaxgan.commands.output import output_folder
from jaxgan.config import Config
from jaxgan.core import checksum
from jaxgan.core.checkpoint import Checkpointer
from jaxgan.core.state import Average, TrainState
from jaxgan.data.spec import DataSpec
from jaxgan.methods.base import initial_state
from jaxgan.methods.registry import build_method
from jaxgan.training import workdir as workdir_lib


@dataclasses.dataclass(frozen=True)
class Converted:
    """Networks of another program in this one's terms."""

    config: Config  # whose model builds exactly these networks
    num_classes: int
    step: int  # finished updates of G
    networks: Mapping[str, Mapping[str, Any]]  # name -> {"params", "stats"}; a network that is absent starts anew
    origin: Mapping[str, Any]  # where they come from; goes to run.json


def write_workdir(converted: Converted, workdir: Path, *, overwrite: bool) -> None:
    """Writes `config.json`, `run.json` and one checkpoint; nothing is left behind where it fails.

    Optimizers start anew, and moving averages, where the settings have any, start as the weights themselves.

    Args:
      converted: what to write.
      workdir: must be absent or empty, unless `overwrite`.
      overwrite: replace settings, facts and checkpoints there; other files stay.

    Raises:
      CommandError: `workdir` holds something, or the networks do not fit their settings.
      ConfigError, CheckpointError: the settings are invalid, or there is no room.
    """
    config = converted.config
    if workdir.is_dir() and any(workdir.iterdir()) and not overwrite:
        raise CommandError(f"{workdir} exists and is not empty; choose another --workdir, or pass --overwrite.")
    config_rules.validate(config)
    data = _data_spec(converted)
    with output_folder(workdir, overwrite=overwrite) as folder:
        state = _make_state(converted)
        described = workdir_lib.describe_data(data)
        checkpointer = Checkpointer(folder / "checkpoints", config.checkpoint)
        try:
            checkpointer.save(converted.step, state, {"config": config_tree.to_dict(config), "data": described})
            checkpointer.wait()
        finally:
            checkpointer.close()
        workdir_lib.write_json(folder / "config.json", config_tree.to_dict(config))
        facts = workdir_lib.describe_run(data) | {"converted": dict(converted.origin)}
        workdir_lib.write_json(folder / "run.json", facts)


def _data_spec(converted: Converted) -> DataSpec:
    height, width = converted.config.data.height_width
    return DataSpec(
        height=height,
        width=width,
        channels=converted.config.data.channels,
        num_classes=converted.num_classes,
        class_names=tuple(str(class_id) for class_id in range(converted.num_classes)),
        num_images=0,
        fingerprint="",
    )


def _make_state(converted: Converted) -> TrainState:
    config = converted.config
    method = build_method(config, _data_spec(converted))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state, _ = initial_state(method, seed=config.seed, sharding=device)
    nets, ema = dict(state.nets), dict(state.ema)
    for name, variables in converted.networks.items():
        fresh = {"params": nets[name].params, "stats": nets[name].stats}
        variables = jax.device_put(jax.tree.map(jnp.asarray, dict(variables)), device)
        wanted, given = checksum.shapes(fresh), checksum.shapes(variables)
        if wanted != given:
            different = sorted(set(wanted.items()) ^ set(given.items()))
            raise CommandError(f"network {name} is none that the settings read off it build: {different[0]} differs.")
        nets[name] = nets[name].replace(params=variables["params"], stats=variables["stats"])
        if name in ema:
            ema[name] = Average(params=variables["params"], stats=variables["stats"])
    return state.replace(step=jnp.asarray(converted.step, jnp.int32), nets=nets, ema=ema)
