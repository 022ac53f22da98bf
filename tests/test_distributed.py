"""Two real processes train one run together, started as Open MPI would start them, and find that out themselves."""

import random
import subprocess
import sys

import numpy as np
import pytest

from tests.processes import ROOT, SGD, TINY, arrays, environment

ARGS = (*TINY, *SGD, "--config.batch_size=8", "--config.sample.every_steps=2", "--config.checkpoint.every_steps=2")


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
