"""Everything that stands before the first step: data, method, devices, state, compiled step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import config_rules
from jaxgan.config import Config
from jaxgan.core import sharding as sharding_lib
from jaxgan.core.compilation import compiler_options
from jaxgan.core.network import Network
from jaxgan.core.state import TrainState
from jaxgan.data.spec import DataSpec
from jaxgan.methods.base import Method, initial_state
from jaxgan.methods.checks import Calling, check_networks
from jaxgan.methods.registry import build_method
from jaxgan.training.step import make_step


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the loop works with."""

    config: Config
    method: Method
    networks: Mapping[str, Network]
    mesh: jax.sharding.Mesh
    state: TrainState  # of step 0
    root_key: jax.Array
    metric_names: tuple[str, ...]  # entries of the vector that the step returns, phase by phase
    lower: Callable[[], Any]  # the step, traced and lowered for these shapes; `.compile()` makes it run


def validate(config: Config, *, own_method: bool = False) -> None:
    """Checks the settings against this machine; raises ConfigError listing every problem."""
    config_rules.validate(
        config, num_devices=len(jax.devices()), num_processes=jax.process_count(), own_method=own_method
    )


def prepare(config: Config, data: DataSpec, own: Method | None = None) -> Setup:
    """Builds the state of step 0 and the step function.

    Args:
      config: validated settings.
      data: shape and classes of the data.
      own: what to train, given from Python; None = what `config` describes.

    Raises:
      ConfigError: the settings describe no network, or do not fit the data.
      MethodError: networks of the user's own break the rules of their method.
    """
    method = build_method(config, data) if own is None else own
    mesh = sharding_lib.make_mesh(config.mesh)
    replicated, batched = sharding_lib.replicated(mesh), sharding_lib.batch_sharding(mesh)
    state, networks = initial_state(method, seed=config.seed, sharding=replicated)
    if isinstance(own, Calling):
        check_networks(own, networks, state.nets, data, config.batch_size)
    unroll = sharding_lib.unroll_d_steps(config.mesh.unroll_d_steps)
    step = make_step(method, networks, scaling=config.data.scaling, unroll=unroll)
    names: list[str] = []

    def packed_step(state: TrainState, batch: Any, root: jax.Array) -> tuple[TrainState, jax.Array]:
        state, metrics = step(state, batch, root)
        names[:] = metrics  # in the order of the phases, which a dictionary returned through jit would lose
        return state, jnp.stack([metrics[name].astype(jnp.float32) for name in names])

    jitted = jax.jit(
        packed_step,
        in_shardings=(replicated, batched, replicated),
        out_shardings=replicated,
        donate_argnums=(0,),
        compiler_options=compiler_options(),
    )
    # Made by a program, as `device_put` refuses typed keys where some devices belong to other processes.
    root_key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=replicated)()
    batch = batch_shape(config, data)
    jax.eval_shape(packed_step, state, batch, root_key)  # fills `names`
    return Setup(
        config=config,
        method=method,
        networks=networks,
        mesh=mesh,
        state=state,
        root_key=root_key,
        metric_names=tuple(names),
        lower=lambda: jitted.lower(state, batch, root_key),
    )


def batch_shape(config: Config, data: DataSpec) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of the global batch of one step."""
    lead = (config.num_d_steps, config.batch_size)
    images = jax.ShapeDtypeStruct((*lead, data.height, data.width, data.channels), np.uint8)
    if data.has_domains:
        return {"a": images, "b": images}
    return {"images": images, "labels": jax.ShapeDtypeStruct(lead, np.int32)}
