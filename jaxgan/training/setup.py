"""Everything that stands before the first step: data, method, devices, state, compiled step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxgan import config_rules, target
from jaxgan.config import Config
from jaxgan.core import sharding as sharding_lib
from jaxgan.core.compilation import compiler_options
from jaxgan.core.network import Network
from jaxgan.core.parallel import parallel
from jaxgan.core.state import TrainState
from jaxgan.data.spec import DataSpec
from jaxgan.methods.base import Method, initial_state
from jaxgan.methods.checks import Calling, check_networks
from jaxgan.methods.image_pool import ImagePool
from jaxgan.methods.registry import build_method
from jaxgan.training.step import make_step


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the loop works with."""

    config: Config
    method: Method
    networks: Mapping[str, Network]
    mesh: jax.sharding.Mesh
    state: TrainState  # of step 0; shapes with shardings where the devices are absent
    root_key: jax.Array
    metric_names: tuple[str, ...]  # entries of the vector that the step returns, phase by phase
    lower: Callable[[], Any]  # the step, traced and lowered for these shapes; `.compile()` makes it run


def validate(config: Config, *, own_method: bool = False, devices: Sequence[Any] | None = None) -> None:
    """Checks the settings against this machine, or absent devices; raises ConfigError listing every problem."""
    present = devices is None
    config_rules.validate(
        config,
        num_devices=len(jax.devices() if present else devices),
        num_processes=jax.process_count() if present else len({device.process_index for device in devices}),
        own_method=own_method,
    )


def prepare(
    config: Config,
    data: DataSpec,
    own: Method | None = None,
    *,
    devices: Sequence[Any] | None = None,
    platform: str | None = None,
) -> Setup:
    """Builds the state of step 0 and the step function.

    Args:
      config: validated settings.
      data: shape and classes of the data.
      own: what to train, given from Python; None = what `config` describes.
      devices: absent ones that the step is compiled for; it cannot run then, and the state holds shapes alone.
      platform: whose operations the networks take, e.g. "gpu" on simulated devices; None = that of `devices`.

    Raises:
      ConfigError: the settings describe no network, or do not fit the data.
      MethodError: networks of the user's own break the rules of their method.
    """
    method = build_method(config, data) if own is None else own
    mesh = sharding_lib.make_mesh(config.mesh, devices)
    absent = devices is not None
    platform = platform or (mesh.devices.flat[0].platform if absent else None)
    with target.compiling_for(platform):
        return _prepare(config, data, method, mesh, checks=own is not None, absent=absent, platform=platform)


def _prepare(
    config: Config, data: DataSpec, method: Method, mesh: Mesh, *, checks: bool, absent: bool, platform: str | None
) -> Setup:
    replicated, batched = sharding_lib.replicated(mesh), sharding_lib.batch_sharding(mesh)
    if absent:
        state, networks = _shapes(method, config, mesh)
        key = jax.eval_shape(lambda: jax.random.key(config.seed))
        root_key: Any = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=replicated)
    else:
        state, networks = _initial_state(method, config, mesh)
        # Made by a program, as `device_put` refuses typed keys where some devices belong to other processes.
        root_key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=replicated)()
    if checks and isinstance(method, Calling):
        check_networks(method, networks, state.nets, data, config.batch_size)
    placed = _placement(config, mesh)(state)
    called = parallel(networks, mesh)
    unroll = sharding_lib.unroll_d_steps(config.mesh.unroll_d_steps)
    step = make_step(method, called, scaling=config.data.scaling, unroll=unroll)
    names: list[str] = []

    def packed_step(state: TrainState, batch: Any, root: jax.Array) -> tuple[TrainState, jax.Array]:
        state, metrics = step(state, batch, root)
        names[:] = metrics  # in the order of the phases, which a dictionary returned through jit would lose
        return state, jnp.stack([metrics[name].astype(jnp.float32) for name in names])

    jitted = jax.jit(
        packed_step,
        in_shardings=(placed, batched, replicated),
        out_shardings=(placed, replicated),
        donate_argnums=(0,),
        compiler_options=compiler_options(),
    )
    batch = batch_shape(config, data)
    jax.eval_shape(packed_step, state, batch, root_key)  # fills `names`

    def lower() -> Any:
        with target.compiling_for(platform):
            return jitted.lower(state, batch, root_key)

    return Setup(
        config=config,
        method=method,
        networks=networks,
        mesh=mesh,
        state=state,
        root_key=root_key,
        metric_names=tuple(names),
        lower=lower,
    )


def _placement(config: Config, mesh: Mesh) -> Callable[[TrainState], TrainState]:
    """Returns the function from a state, or its shapes, to where each array lies."""

    def own(x: Any) -> Any:
        if isinstance(x, ImagePool) and x.images.shape[1] % mesh.size == 0:
            # Images that come divided by rows of the batch go in by an exchange, where a whole pool would gather them.
            return x.replace(images=sharding_lib.rows_sharding(mesh), count=sharding_lib.replicated(mesh))
        return sharding_lib.state_sharding(mesh, x, config.mesh.fsdp_min_size)

    def place(state: TrainState) -> TrainState:
        placed = sharding_lib.state_sharding(mesh, state, config.mesh.fsdp_min_size)
        return placed.replace(aux=jax.tree.map(own, state.aux, is_leaf=lambda x: isinstance(x, ImagePool)))

    return place


def _initial_state(method: Method, config: Config, mesh: Mesh) -> tuple[TrainState, dict[str, Network]]:
    place = _placement(config, mesh)
    if mesh.shape[sharding_lib.FSDP] == 1:
        return initial_state(method, seed=config.seed, sharding=place)
    with jax.default_device(sharding_lib.host_device()):  # no accelerator needs to hold the whole state at any time
        return initial_state(method, seed=config.seed, sharding=place)


def _shapes(method: Method, config: Config, mesh: Mesh) -> tuple[TrainState, dict[str, Network]]:
    networks: dict[str, Network] = {}

    def build() -> TrainState:
        state, found = initial_state(method, seed=config.seed, sharding=sharding_lib.replicated(mesh))
        networks.update(found)
        return state

    state = jax.eval_shape(build)
    like = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        state,
        _placement(config, mesh)(state),
    )
    return like, networks


def batch_shape(config: Config, data: DataSpec) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of the global batch of one step."""
    lead = (config.num_d_steps, config.batch_size)
    images = jax.ShapeDtypeStruct((*lead, data.height, data.width, data.channels), np.uint8)
    if data.has_domains:
        return {"a": images, "b": images}
    return {"images": images, "labels": jax.ShapeDtypeStruct(lead, np.int32)}
