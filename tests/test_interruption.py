"""Interruptions as they happen: kill -9, SIGTERM, a full disk. Each test is a real process."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from jaxgan.core.checkpoint import Checkpointer
from tests.processes import ROOT, TINY, arrays, environment

ARGS = (*TINY, "--config.batch_size=8", "--config.sample.every_steps=0", "--config.checkpoint.keep=100")


def command(workdir, *args, prelude=""):
    code = f"{prelude}\nimport runpy\nrunpy.run_module('jaxgan.main', run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", code, *ARGS, f"--workdir={workdir}", *args]


def without_cache():
    """For processes that cannot write whole files: they must not leave broken entries to the others."""
    return environment() | {"JAX_ENABLE_COMPILATION_CACHE": "false"}


def run(workdir, *args, prelude=""):
    return subprocess.run(
        command(workdir, *args, prelude=prelude),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def start(workdir, *args):
    return subprocess.Popen(
        command(workdir, *args),
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def assert_same_arrays(a, b):
    assert a.keys() == b.keys() and len(a) > 100
    assert [name for name in a if a[name].tobytes() != b[name].tobytes()] == []


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("straight")
    done = run(workdir, "--config.total_steps=20", "--config.checkpoint.every_steps=10")
    assert done.returncode == 0, done.stderr
    return workdir


def wait_for(condition, process, seconds=200):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_kill_9_at_a_random_moment_and_typing_the_command_again(straight, tmp_path):
    args = ("--config.total_steps=20", "--config.checkpoint.every_steps=2")
    process = start(tmp_path, *args)
    wait_for(lambda: any((tmp_path / "checkpoints").glob("10*")), process)  # begun, perhaps not complete
    time.sleep(random.uniform(0, 0.3))
    process.kill()
    process.communicate()
    before = Checkpointer(tmp_path / "checkpoints").latest_step()
    assert before is not None and before < 20
    again = run(tmp_path, *args)
    assert again.returncode == 0, again.stderr
    assert f"restoring step {before}" in again.stderr
    assert_same_arrays(arrays(tmp_path, 20, "train", "ema"), arrays(straight, 20, "train", "ema"))


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_polite_stop_saves_at_once_and_exits_cleanly(tmp_path, number):
    args = ("--config.total_steps=100000", "--config.checkpoint.every_steps=100000", "--config.log.every_steps=1")
    process = start(tmp_path, *args)
    metrics = tmp_path / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 3, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    step = Checkpointer(tmp_path / "checkpoints").latest_step()
    assert step is not None and f"stopped by {number.name} and saved at step {step:,}; type the same command" in err
    assert "Traceback" not in err
    last = run(tmp_path, f"--config.total_steps={step + 2}")
    assert last.returncode == 0 and f"restoring step {step:,}" in last.stderr


@pytest.mark.parametrize("when", ["before", pytest.param("while", marks=pytest.mark.slow)])
def test_a_full_disk_leaves_the_previous_checkpoint_valid(tmp_path, when):
    first = run(tmp_path, "--config.total_steps=2", "--config.checkpoint.every_steps=2")
    assert first.returncode == 0, first.stderr
    if when == "before":
        full = "import collections, shutil; shutil.disk_usage = lambda _: collections.namedtuple('U', 'free')(9_000)"
    else:  # a limit on the size of files makes every larger write fail, as a disk does that fills up meanwhile
        full = (
            "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))"
        )
    small = ("--config.sample.rows=2", "--config.sample.columns=2")  # only the checkpoint exceeds the limit
    second = run(tmp_path, "--config.total_steps=4", "--config.checkpoint.every_steps=2", *small, prelude=full)
    lines = [line for line in second.stderr.splitlines() if line.startswith("jaxgan: ")]
    assert second.returncode == 2 and len(lines) == 1, second.stderr
    assert "cannot save" in lines[0] and "step 2 stays valid" in lines[0]
    if when == "before":
        assert "0.0 MiB are free" in lines[0] and "Traceback" not in second.stderr
    third = run(tmp_path, "--config.total_steps=4")
    assert third.returncode == 0 and "restoring step 2" in third.stderr, third.stderr


def test_a_truncated_checkpoint_gets_one_sentence(tmp_path):
    assert run(tmp_path, "--config.total_steps=4", "--config.checkpoint.every_steps=2").returncode == 0
    for path in (tmp_path / "checkpoints" / "4" / "train").rglob("d/*"):
        os.truncate(path, path.stat().st_size // 2)
    again = run(tmp_path, "--config.total_steps=6")
    lines = [line for line in again.stderr.splitlines() if line.startswith("jaxgan: ")]
    assert again.returncode == 2 and len(lines) == 1, again.stderr
    assert "Traceback" not in again.stderr
    assert "4 cannot be read" in lines[0] and "delete that folder to go on from step 2" in lines[0]
