"""What tests of real processes share: the smallest recipe, their environment, and reading what they saved."""

import os
import socket
from pathlib import Path

import jax
import numpy as np

ROOT = Path(__file__).parent.parent
TINY = (
    f"--config={ROOT}/configs/digits.py",
    "--config.data.resolution=8",
    "--config.model.attention_resolutions=4",
    "--config.model.g_widths=8,8",
    "--config.model.d_widths=8,8",
)
SGD = ("--config.g_optim.name=sgd", "--config.d_optim.name=sgd")  # Adam divides by tiny moments: rounding grows


def environment(num_devices=1, **more):
    """That of the suite, with another number of simulated devices."""
    flag = "--xla_force_host_platform_device_count="
    simulated = f"{flag}{num_devices}" if num_devices > 1 else ""
    own = {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace(f"{flag}8", simulated), "PYTHONPATH": str(ROOT)}
    if cache := jax.config.jax_compilation_cache_dir:
        own["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    return os.environ | own | more


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def arrays(workdir, step, *items):
    """Every array of these items of a checkpoint (default: train) by name, whatever devices wrote it."""
    import orbax.checkpoint as ocp

    found = {}
    for item in items or ("train",):
        path = Path(workdir) / "checkpoints" / str(step) / item
        with ocp.PyTreeCheckpointer() as reader:
            names = reader.metadata(path).item_metadata.tree
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), names)
            tree = reader.restore(path, restore_args=as_numpy)
        found |= {item + jax.tree_util.keystr(name): leaf for name, leaf in jax.tree.leaves_with_path(tree)}
    return found
