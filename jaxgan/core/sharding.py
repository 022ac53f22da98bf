"""Devices: the mesh, and where state and batches lie on it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgan.config import ConfigError, MeshConfig


def make_mesh(config: MeshConfig) -> Mesh:
    """Returns a mesh with the axis "data" over `config.data` devices (0: all devices of all processes)."""
    devices = jax.devices()
    count = config.data or len(devices)
    if count != len(devices) and jax.process_count() > 1:
        raise ConfigError(
            f"config.mesh.data (={count}) must be 0 or the number of devices (={len(devices)}) when several processes "
            "train together; set it to 0."
        )
    # Auto, not jax.make_mesh's default Explicit: with Explicit a lookup in a class table is a sharding error.
    return Mesh(np.asarray(devices[:count]), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Arrays (num_d_steps, batch, ...): the batch is cut into one piece per device."""
    return NamedSharding(mesh, PartitionSpec(None, "data"))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
    """Makes global arrays from this process's slices (num_d_steps, batch / processes, ...)."""
    sharding = batch_sharding(mesh)
    with jax.transfer_guard_host_to_device("allow"):  # with several processes JAX takes it for an implicit transfer
        return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}


def unroll_d_steps(setting: str) -> bool:
    """Whether the D steps are unrolled: on CPU a scan of convolutions is several times slower than straight code."""
    return setting == "always" or (setting == "auto" and jax.default_backend() == "cpu")
