"""Images from a train state: fixed inputs, raw and averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxgan.core import rng
from jaxgan.core.compilation import compiler_options
from jaxgan.core.network import BoundNetwork, Network
from jaxgan.core.state import Average, NetState
from jaxgan.methods.base import Method

Sampler = Callable[[Mapping[str, NetState | Average], Any], jax.Array]


def make_sampler(method: Method, networks: Mapping[str, Network], *, sharding: jax.sharding.Sharding) -> Sampler:
    """Returns a jitted function (variables of the networks, inputs) -> images float32 (N, H, W, C) in [-1, 1].

    Args:
      method: what was trained.
      networks: the pure functions of its networks.
      sharding: of the images; replicated, so that every process can read them.
    """

    def sample(variables: Mapping[str, NetState | Average], inputs: Any) -> jax.Array:
        nets = {name: BoundNetwork(networks[name], v.params, v.stats) for name, v in variables.items()}
        return method.sample(nets, inputs)

    return jax.jit(sample, out_shardings=sharding, compiler_options=compiler_options())


def fixed_inputs(method: Method, seed: int, rows: int, columns: int, real: Mapping[str, np.ndarray]) -> Any:
    """Returns the inputs of a run's sample grids: the same for every step of the run and for every resumption."""
    return method.sample_inputs(rng.stream(jax.random.key(seed), "samples"), rows, columns, real)


def sample_grids(
    sampler: Sampler, nets: Mapping[str, NetState], ema: Mapping[str, Average], inputs: Any
) -> dict[str, np.ndarray]:
    """Returns {"raw": images, "ema": images}; "ema" only where a network has a moving average."""
    raw = {name: Average(params=net.params, stats=net.stats) for name, net in nets.items()}
    grids = {"raw": sampler(raw, inputs)}
    if ema:
        grids["ema"] = sampler(raw | dict(ema), inputs)
    return {name: np.asarray(jax.device_get(images)) for name, images in grids.items()}
