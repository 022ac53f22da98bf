"""Two real processes train one run together, started as Open MPI would start them, and find that out themselves."""

import os
import random
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
ARGS = (
    "--config=configs/digits.py",
    "--config.data.resolution=8",
    "--config.model.attention_resolutions=4",
    "--config.model.g_widths=8,8",
    "--config.model.d_widths=8,8",
    "--config.batch_size=8",
    "--config.g_optim.name=sgd",  # Adam divides by tiny second moments and so magnifies rounding
    "--config.d_optim.name=sgd",
    "--config.sample.every_steps=2",
    "--config.checkpoint.every_steps=2",
)


def environment(**more):
    flags = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=8", "")
    cache = {"JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir), "PYTHONPATH": str(ROOT)}
    return os.environ | {"XLA_FLAGS": flags} | cache | more


def command(workdir, total_steps, *args):
    return [
        sys.executable, "-m", "jaxgan.main", *ARGS, f"--config.total_steps={total_steps}", f"--workdir={workdir}", *args
    ]  # fmt: skip


def run_two(workdir, total_steps):
    """Returns the standard error of both."""
    job = random.randrange(4096)  # JAX's rules for Open MPI listen at port 61440 plus this
    processes = []
    for rank in range(2):
        mpi = {
            "OMPI_MCA_orte_hnp_uri": f"{job * 4096}.0;tcp://127.0.0.1:1",
            "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_RANK": str(rank),
            "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
        }
        processes.append(
            subprocess.Popen(
                command(workdir, total_steps),
                cwd=ROOT,
                env=environment(**mpi),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    said = [process.communicate(timeout=400)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    return said


def run_one(workdir, total_steps):
    done = subprocess.run(
        command(workdir, total_steps), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def arrays(workdir, step):
    """Every array of a checkpoint by name, whatever devices wrote it."""
    import orbax.checkpoint as ocp

    path = workdir / "checkpoints" / str(step) / "train"
    with ocp.PyTreeCheckpointer() as reader:
        names = reader.metadata(path).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), names)
        tree = reader.restore(path, restore_args=as_numpy)
    return {jax.tree_util.keystr(name): leaf for name, leaf in jax.tree.leaves_with_path(tree)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_two_processes_train_as_one_and_either_goes_on_from_the_other(tmp_path):
    primary, other = run_two(tmp_path / "two", 2)
    assert "done: 2 steps" in primary and "done:" not in other
    run_one(tmp_path / "one", 2)
    two, one = arrays(tmp_path / "two", 2), arrays(tmp_path / "one", 2)
    assert two.keys() == one.keys()
    for name, expected in one.items():
        np.testing.assert_allclose(two[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    assert "restoring step 2" in run_one(tmp_path / "two", 3)
    assert "restoring step 3" in run_two(tmp_path / "two", 4)[0]
    assert {path.name for path in (tmp_path / "two" / "samples").glob("step_*4.png")} == {"step_00000004.png"}
