"""Devices: the mesh, and where state and batches lie on it.

The mesh has two axes. A batch is divided over both. "fsdp" also divides the large arrays of the state: every device
keeps a part, the parts are gathered where a network is called, and each gradient is reduced to the device that updates
that part. This is fully sharded data parallelism (Zhao et al. 2023, arXiv:2304.11277; ZeRO-3, Rajbhandari et al. 2020,
arXiv:1910.02054), written as shardings for XLA's partitioner (GSPMD, Xu et al. 2021, arXiv:2105.04663).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgan import target
from jaxgan.config import MeshConfig

DATA, FSDP = "data", "fsdp"


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Returns a mesh with the axes "data" and "fsdp".

    Args:
      config: its sizes; `data` = 0 takes as many groups of `fsdp` devices as there are.
      devices: what to make it of, e.g. those of a topology that is not there; None = all devices of all processes.

    Raises:
      ConfigError: the sizes do not fit the devices, or leave some of them out where several processes train together.
    """
    num_processes = jax.process_count() if devices is None else len({device.process_index for device in devices})
    devices = jax.devices() if devices is None else devices
    # The rows of a batch follow the mesh: process by process, as the processes read them.
    devices = sorted(devices, key=lambda device: (device.process_index, device.id))
    data, fsdp = config.shape(len(devices), num_processes)
    grid = np.asarray(devices[: data * fsdp]).reshape(data, fsdp)
    # Auto, not jax.make_mesh's default Explicit: with Explicit a lookup in a class table is a sharding error.
    return Mesh(grid, (DATA, FSDP), axis_types=(AxisType.Auto,) * 2)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Arrays (num_d_steps, batch, ...): the batch is cut into one piece per device."""
    return NamedSharding(mesh, PartitionSpec(None, (DATA, FSDP)))


def items_sharding(mesh: Mesh) -> NamedSharding:
    """Arrays (batch, ...): cut into one piece per device."""
    return NamedSharding(mesh, PartitionSpec((DATA, FSDP)))


def rows_sharding(mesh: Mesh) -> NamedSharding:
    """Images (N, H, W, C): every device holds a band of rows of each; H must be a multiple of the devices."""
    return NamedSharding(mesh, PartitionSpec(None, (DATA, FSDP)))


def state_sharding(mesh: Mesh, tree: Any, min_size: int) -> Any:
    """Returns where each array of a state lies, in the structure of `tree`.

    Of each array of at least `min_size` elements the largest axis that is a multiple of the axis "fsdp" is divided over
    it (of equal ones the last: output features); every other array is whole on every device. Arrays of one shape lie
    alike, so a parameter, its optimizer state and its average are updated without any communication.

    Args:
      mesh: of the training.
      tree: arrays, or their shapes.
      min_size: in elements; small arrays cost more in latency than they save in memory.
    """
    return jax.tree.map(lambda x: NamedSharding(mesh, _divided(x.shape, mesh.shape[FSDP], min_size)), tree)


def _divided(shape: tuple[int, ...], parts: int, min_size: int) -> PartitionSpec:
    if parts == 1 or math.prod(shape) < min_size:
        return PartitionSpec()
    fitting = [axis for axis, size in enumerate(shape) if size and size % parts == 0]
    if not fitting:
        return PartitionSpec()
    best = max(fitting, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*(FSDP if axis == best else None for axis in range(best + 1)))


def host_device() -> Any:
    """Returns a device whose memory is the host's; None where JAX was told to leave the host out."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
    """Makes global arrays from this process's slices (num_d_steps, batch / processes, ...)."""
    sharding = batch_sharding(mesh)
    with jax.transfer_guard_host_to_device("allow"):  # with several processes JAX takes it for an implicit transfer
        return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}


def unroll_d_steps(setting: str) -> bool:
    """Whether the D steps are unrolled: on CPU a scan of convolutions is several times slower than straight code."""
    return setting == "always" or (setting == "auto" and target.platform() == "cpu")
