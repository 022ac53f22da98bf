"""Devices that are not there, for which a step can be compiled all the same."""

from __future__ import annotations

import os
from typing import Any

import jax
from jax.experimental import topologies

from jaxgan.config import ConfigError

# Memory of one device, in GiB as the vendor states it; https://cloud.google.com/tpu/docs/v5e, v5p, v6e.
MEMORY_GIB = {"TPU v5 lite": 16, "TPU v5": 95, "TPU v6 lite": 32}

_FORMS = "tpu:v5e:4x4 (16 chips), tpu:v5p:4x4x4 (64 chips), tpu:v6e:4x4 (16 chips) or cpu:8 (simulated devices)"
# Questions that the TPU compiler asks a TPU's host when it is loaded; here there is none.
_ANSWERS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


def absent_devices(spec: str) -> list[Any]:
    """Returns the devices of a topology; programs can be compiled for them, and not run.

    Args:
      spec: `tpu:` and a name such as `v5e:4x4`, the chips along each axis; or `cpu:N`, which needs to be asked for
        before JAX has looked at the devices of this process.

    Raises:
      ConfigError: no such topology, or nothing here compiles for it.
    """
    kind, _, name = spec.partition(":")
    if kind == "cpu" and name.isdecimal() and int(name) > 0:
        return _simulated(int(name))
    if kind == "tpu" and name:
        return _tpus(name)
    if kind in ("gpu", "cuda", "rocm"):
        raise ConfigError(
            f"--mesh (={spec}): JAX compiles for GPUs only where there is one; run --dry_run without --mesh on such a "
            "machine, or count communication with --mesh=cpu:N."
        )
    raise ConfigError(f"--mesh (={spec}) must be of the form {_FORMS}.")


def _simulated(count: int) -> list[Any]:
    try:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # JAX has looked at the devices: what there is must do
        pass
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise ConfigError(
            f"--mesh (=cpu:{count}) needs {count} simulated devices and this process has {len(devices)}; unset "
            f"XLA_FLAGS, or set it to --xla_force_host_platform_device_count={count}."
        )
    return devices[:count]


def _tpus(name: str) -> list[Any]:
    if not os.environ.get("JAX_PLATFORMS"):
        jax.config.update("jax_platforms", "cpu")  # planning shall not occupy an accelerator
    for variable, answer in _ANSWERS.items():  # the same for every topology: they describe this host alone
        os.environ.setdefault(variable, answer)
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=name).devices)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, (ImportError, AttributeError)) or "not installed" in reason:
            raise ConfigError(
                f"--mesh (=tpu:{name}) needs the TPU compiler, which is not installed; `pip install "
                f"'jax[tpu]=={jax.__version__}'` brings it, on any machine with Linux."
            ) from error
        raise ConfigError(f"--mesh (=tpu:{name}) is no topology ({reason}); it has the form {_FORMS}.") from error
