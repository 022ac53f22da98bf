"""The same training on 1 process with 8 devices, 2 with 4 and 4 with 2; and going on elsewhere. Real processes."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
STEPS, HALF = 20, 10
ARGS = (
    "--config=configs/digits.py",
    "--config.data.resolution=8",
    "--config.model.attention_resolutions=4",
    "--config.model.g_widths=8,8",
    "--config.model.d_widths=8,8",
    "--config.batch_size=16",
    "--config.g_optim.name=sgd",  # Adam divides by tiny second moments and so magnifies rounding
    "--config.d_optim.name=sgd",
    "--config.g_optim.lr=0.01",
    "--config.d_optim.lr=0.01",
    f"--config.total_steps={STEPS}",
    f"--config.checkpoint.every_steps={HALF}",
    f"--config.sample.every_steps={STEPS}",
    "--config.log.every_steps=5",
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Sharding info not provided")]


def train(workdir, processes, *args):
    """Trains to the end with eight simulated devices in all; returns what the processes said."""
    flag = "--xla_force_host_platform_device_count="
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"].replace(f"{flag}8", f"{flag}{8 // processes}"),
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.values["jax_compilation_cache_dir"]),
        "PYTHONPATH": str(ROOT),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jaxgan.main", *ARGS, f"--workdir={workdir}", *args]
    if processes > 1:
        command += [f"--coordinator=127.0.0.1:{port}", f"--num_processes={processes}", "--peer_timeout=300"]
    started = [
        subprocess.Popen(
            command + ([f"--process_id={rank}"] if processes > 1 else []),
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(processes)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=500)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * processes, "\n".join(said)
    return said


def result(workdir):
    """Returns the arrays of the last checkpoint, the metrics of each logged step, and the pixels of the samples."""
    import orbax.checkpoint as ocp

    arrays = {}
    for item in ("train", "ema"):
        path = workdir / "checkpoints" / str(STEPS) / item
        with ocp.PyTreeCheckpointer() as reader:
            names = reader.metadata(path).item_metadata.tree
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), names)
            tree = reader.restore(path, restore_args=as_numpy)
        arrays |= {item + jax.tree_util.keystr(name): leaf for name, leaf in jax.tree.leaves_with_path(tree)}
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    keys = ("loss", "grad_norm", "real", "fake")
    metrics = {
        (line["step"], key): value for line in lines for key, value in line.items() if any(part in key for part in keys)
    }
    samples = {
        path.name: np.asarray(Image.open(path), np.int16) for path in (workdir / "samples").glob(f"*{STEPS:08}*.png")
    }
    return arrays, metrics, samples


def assert_same(found, expected):
    arrays, metrics, samples = found
    assert [part.keys() for part in found] == [part.keys() for part in expected] and samples
    assert {step for step, _ in metrics} == {5, 10, 15, 20}
    for name, array in expected[0].items():
        np.testing.assert_allclose(arrays[name], array, rtol=0, atol=1e-5, err_msg=name)
    for name, value in expected[1].items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-5, err_msg=str(name))
    for name, pixels in expected[2].items():
        assert np.abs(samples[name] - pixels).max() <= 1, name  # rounding to whole levels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("topologies")
    train(folder / "1x8", 1)
    train(folder / "4x2", 4)
    return folder


def first_half(folder, name):
    """Copies the run of four processes as it was halfway."""
    shutil.copytree(folder / "4x2", folder / name)
    shutil.rmtree(folder / name / "checkpoints" / str(STEPS))
    return folder / name


def test_four_processes_train_as_one(folder):
    assert_same(result(folder / "4x2"), result(folder / "1x8"))


def test_two_processes_train_as_one(folder):
    train(folder / "2x4", 2)
    assert_same(result(folder / "2x4"), result(folder / "1x8"))


def test_one_process_goes_on_where_four_were_with_a_divided_state(folder):
    workdir = first_half(folder, "on-1x8")
    assert f"restoring step {HALF}" in train(workdir, 1, "--config.mesh.fsdp=4", "--config.mesh.fsdp_min_size=64")[0]
    assert_same(result(workdir), result(folder / "1x8"))


def test_two_processes_go_on_where_four_were_with_a_state_divided_among_them(folder):
    workdir = first_half(folder, "on-2x4")
    assert f"restoring step {HALF}" in train(workdir, 2, "--config.mesh.fsdp=8", "--config.mesh.fsdp_min_size=64")[0]
    assert_same(result(workdir), result(folder / "1x8"))
