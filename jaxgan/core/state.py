"""The train state: a pytree of arrays and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct

from jaxgan.core import network as network_lib
from jaxgan.core import rng
from jaxgan.core.network import Network, Params, Stats


class NetState(struct.PyTreeNode):
    """One network: its weights, its other variables, and its optimizer's state."""

    params: Params
    stats: Stats
    opt_state: optax.OptState


class Average(struct.PyTreeNode):
    """The moving average of a network's parameters and stats, ready to be sampled from."""

    params: Params
    stats: Stats


class TrainState(struct.PyTreeNode):
    """Everything that a resumed run needs. No keys (they follow from seed and step), no functions, no configuration."""

    step: jax.Array  # int32 scalar: finished steps, i.e. updates of G
    nets: dict[str, NetState]
    ema: dict[str, Average]
    aux: Any  # the method's own state, e.g. an image pool


def init_state(
    builders: Mapping[str, Callable[[nnx.Rngs], nnx.Module]],
    optimizers: Mapping[str, optax.GradientTransformation],
    averaged: tuple[str, ...],
    init_aux: Callable[[Mapping[str, Average]], Any],
    *,
    seed: int,
    sharding: jax.sharding.Sharding | Callable[[TrainState], Any],
) -> tuple[TrainState, dict[str, Network]]:
    """Builds all networks and the state of step 0, placed by `sharding`.

    Every process draws the same weights from the same seed, so no weights travel between processes.

    Args:
      builders: module of each network, from `nnx.Rngs`.
      optimizers: of each network.
      averaged: names of the networks that have a moving average.
      init_aux: from the variables of all networks to the method's own state.
      seed: of the run.
      sharding: of every leaf, or a function from the state (its shapes are read) to the sharding of each leaf.
    """
    networks, variables = {}, {}
    for name, build in builders.items():
        networks[name], params, stats = network_lib.create(build, rng.stream(jax.random.key(seed), f"init/{name}"))
        variables[name] = Average(params=params, stats=stats)

    # One compilation for all optimizers. Weak types, which a user's `jnp.full` leaves, would trace the step twice.
    @jax.jit
    def finish(variables: dict[str, Average]) -> TrainState:
        variables = jax.tree.map(_strongly_typed, variables)
        aux = jax.tree.map(_strongly_typed, init_aux(variables))
        nets = {
            name: NetState(params=v.params, stats=v.stats, opt_state=optimizers[name].init(v.params))
            for name, v in variables.items()
        }
        ema = {name: variables[name] for name in averaged}
        return TrainState(step=jnp.zeros((), jnp.int32), nets=nets, ema=ema, aux=aux)

    # Donating the state requires that no two of its leaves share a buffer.
    state = jax.tree.map(jnp.copy, finish(variables))
    return jax.device_put(state, sharding(state) if callable(sharding) else sharding), networks


def _strongly_typed(x: jax.Array) -> jax.Array:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return x
    return jax.lax.convert_element_type(x, x.dtype)
