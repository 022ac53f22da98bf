"""Networks whose calls are divided over the devices: whole parameters, parts of the batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from jaxgan.core.network import Network, Params, Stats
from jaxgan.core.sharding import items_sharding, replicated


def parallel(networks: Mapping[str, Network], mesh: Mesh) -> Mapping[str, Network]:
    """Returns networks that tell XLA's partitioner how to divide each call, for use inside a jitted step.

    Each device takes its part of the batch: latents are drawn on all devices alike, and what is made of them alone (a
    G phase) would else be computed on all devices alike. And it takes it through the whole network: parameters that
    are divided over the axis "fsdp" are gathered at the call, where the partitioner, left to itself, might divide a
    convolution by its output features and send activations around.

    Args:
      networks: the pure functions of a method's networks; on a mesh of one device they are returned as they are.
      mesh: of the training. Inputs whose first axis is no multiple of its size are left alone.
    """
    if mesh.size == 1:
        return networks
    return {name: _parallel(network, mesh) for name, network in networks.items()}


@dataclasses.dataclass(frozen=True)
class _ParallelNetwork(Network):
    mesh: Mesh

    def __call__(self, params: Params, stats: Stats, *args: Any, train: bool) -> tuple[Any, Stats]:
        params = jax.lax.with_sharding_constraint(params, replicated(self.mesh))
        return super().__call__(params, stats, *jax.tree.map(self._divide, args), train=train)

    def _divide(self, x: Any) -> Any:
        if jax.numpy.ndim(x) == 0 or x.shape[0] % self.mesh.size:
            return x
        return jax.lax.with_sharding_constraint(x, items_sharding(self.mesh))


def _parallel(network: Network, mesh: Mesh) -> _ParallelNetwork:
    fields = {field.name: getattr(network, field.name) for field in dataclasses.fields(network)}
    return _ParallelNetwork(**fields, mesh=mesh)
