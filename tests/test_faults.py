"""Faults as they happen to runs of days. What each costs is told in docs/reliability.md; kill -9 at one moment, polite
stops and the full disk of a checkpoint are in test_interruption.py, training that goes wrong in test_rollback.py."""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jaxgan
from jaxgan.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    EvalConfig,
    LogConfig,
    MeshConfig,
    ModelConfig,
    SampleConfig,
)
from jaxgan.core.checkpoint import Checkpointer, CheckpointError
from jaxgan.data.errors import DataError
from jaxgan.generation import images as images_lib
from jaxgan.training import writers
from jaxgan.training.loop import train
from jaxgan.training.workdir import WorkdirError
from tests.processes import ROOT, arrays, environment

CONFIG = Config(
    total_steps=12,
    batch_size=4,
    data=DataConfig(source="digits", resolution=8, channels=1),
    model=ModelConfig(name="mlp", conditional=False, latent_dim=4, g_hidden=(4,), d_hidden=(4,)),
    checkpoint=CheckpointConfig(every_steps=2),
    sample=SampleConfig(every_steps=4, rows=2, columns=2),
    log=LogConfig(every_steps=1),
    mesh=MeshConfig(data=1),
)


def change(config=CONFIG, **fields):
    return dataclasses.replace(config, **fields)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def at(step, act):
    """An evaluation every second step that does something to the world when it has come to `step`."""

    def evaluate(state, networks):
        if int(state.step) == step:
            act()
        return {}

    return {"config": change(eval=EvalConfig(every_steps=2)), "evaluate": evaluate}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("straight")
    return workdir, train(CONFIG, workdir)


# Starts a fresh process for every line of its input, which names the step to train to, and answers with its id and, at
# its end, its status. Importing once makes twenty kills cheap; no backend is running when it forks.
STARTER = """
import os, sys
from pathlib import Path
from tests.test_faults import CONFIG, CheckpointConfig, SampleConfig, change, train
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        sys.stderr = os.fdopen(os.open(sys.argv[1] + ".said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), "w", buffering=1)
        checkpoint, sample = CheckpointConfig(every_steps=int(sys.argv[2]), keep=2), SampleConfig(every_steps=0)
        train(change(total_steps=int(line), checkpoint=checkpoint, sample=sample), sys.argv[1])
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Starter:
    def __init__(self, workdir: Path, every_steps: int):
        self.workdir = workdir
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", STARTER, str(workdir), str(every_steps)],
            cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def begin(self, total_steps: int) -> int:
        self.process.stdin.write(f"{total_steps}\n")
        return int(self.process.stdout.readline())

    def end(self) -> int:
        return int(self.process.stdout.readline())

    def said(self) -> str:
        said = Path(f"{self.workdir}.said")
        return said.read_text() if said.exists() else ""

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_kill_9_at_twenty_random_moments(tmp_path):
    workdir, rng = tmp_path / "killed", random.Random()
    starter = Starter(workdir, every_steps=2)
    newest = 0
    for kill in range(20):
        before = len(starter.said())
        pid = starter.begin(10**6)
        if kill % 4:  # one of four may be hit while it starts; the others while they train and save
            deadline = time.monotonic() + 120
            while _latest(workdir) <= newest:
                assert time.monotonic() < deadline, starter.said()
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.4))
        else:
            time.sleep(rng.uniform(0, 3))
        os.kill(pid, signal.SIGKILL)
        assert starter.end() == -signal.SIGKILL, starter.said()
        restored = [line for line in starter.said()[before:].splitlines() if line.startswith("restoring step")]
        if restored:
            assert restored == [f"restoring step {newest:,} ..."], "the newest complete one, and nothing older"
        assert _latest(workdir) >= newest
        newest = _latest(workdir)
    assert newest >= 20
    starter.begin(newest + 3)
    assert starter.end() == 0, starter.said()
    starter.close()
    once = Starter(tmp_path / "once", every_steps=10**6)
    once.begin(newest + 3)
    assert once.end() == 0, once.said()
    once.close()
    killed, uninterrupted = arrays(workdir, newest + 3), arrays(tmp_path / "once", newest + 3)
    assert killed.keys() == uninterrupted.keys() and len(killed) > 5
    assert [name for name in killed if killed[name].tobytes() != uninterrupted[name].tobytes()] == []


def _latest(workdir: Path) -> int:
    names = os.listdir(workdir / "checkpoints") if (workdir / "checkpoints").is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=0)


def full_disk(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("what", ["metrics", pytest.param("samples", marks=pytest.mark.slow)])
def test_a_disk_that_is_full_for_metrics_or_samples(straight, tmp_path, monkeypatch, what):
    with monkeypatch.context() as patch:

        def fill():
            if what == "metrics":
                patch.setattr(writers.json, "dumps", full_disk)
            else:
                patch.setattr(images_lib, "write_png", full_disk)

        with pytest.raises(WorkdirError) as error:
            train(workdir=tmp_path, **at(6, fill))
    # The save of step 6 is complete; the line of step 6, or the grid of step 8, is not.
    assert str(error.value).startswith(
        f"cannot write to {tmp_path} (No space left on device); the last good checkpoint"
    )
    assert "Make room and type the same command to go on" in str(error.value)
    assert same(train(CONFIG, tmp_path), straight[1])


@pytest.mark.slow
def test_a_file_system_that_becomes_read_only(straight, tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch, pytest.raises(WorkdirError, match=r"\(Read-only file system\); the last good"):
        train(workdir=tmp_path, **at(4, lambda: patch.setattr(images_lib, "write_png", read_only)))
    assert same(train(CONFIG, tmp_path), straight[1])


@pytest.mark.parametrize("workdir", ["/proc/jaxgan", "/dev/null/run"])
def test_a_workdir_that_cannot_be_written(workdir):
    with pytest.raises(WorkdirError, match=rf"workdir {workdir} is not writable \(.*\); choose another with --workdir"):
        train(CONFIG, workdir)


@pytest.fixture
def folder(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "images" / f"{number:02}.png")
    return tmp_path / "images"


def test_a_dataset_that_disappears_and_comes_back(folder, tmp_path):
    data = DataConfig(source=f"folder:{folder}", resolution=8, channels=1)
    away = folder.with_name("away")
    hooks = at(4, lambda: folder.rename(away))
    hooks["config"] = change(hooks["config"], data=data)
    with pytest.raises(DataError, match=r"images/\d\d\.png.*No such file"):
        train(workdir=tmp_path / "run", **hooks)
    assert Checkpointer(tmp_path / "run" / "checkpoints").latest_step() in (4, 6, 8), "what was read ahead is used"
    with pytest.raises(DataError, match="does not exist"):
        train(change(data=data), tmp_path / "run")
    away.rename(folder)
    resumed = train(change(data=data), tmp_path / "run")
    assert same(resumed, train(change(data=data), tmp_path / "straight"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the storage layer's own coroutines
def test_a_checkpoint_without_one_of_its_files(straight, tmp_path):
    train(change(total_steps=8), tmp_path)
    largest = max((tmp_path / "checkpoints" / "8" / "train").rglob("d/*"), key=lambda path: path.stat().st_size)
    largest.unlink()
    with pytest.raises(CheckpointError, match=r"8 cannot be read .*; delete that folder to go on from step 6\."):
        train(CONFIG, tmp_path)
    assert Checkpointer(tmp_path / "checkpoints").steps() == [6, 8], "nothing is thrown away unasked"
    shutil.rmtree(tmp_path / "checkpoints" / "8")
    assert same(train(CONFIG, tmp_path), straight[1])


@pytest.mark.slow
def test_a_clock_that_jumps_by_years(straight, tmp_path, monkeypatch, capfd):
    year, real = 3.2e7, time.time

    def jumping(state, networks):
        if int(state.step) > 2:  # not while a save is under way: the storage layer would take it for a timeout
            saved, deadline = tmp_path / "checkpoints" / str(int(state.step) - 2), time.monotonic() + 60
            while not saved.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            monkeypatch.setattr(time, "time", lambda: real() + year * (-1) ** (int(state.step) // 2))
        return {}

    state = train(change(eval=EvalConfig(every_steps=2)), tmp_path, evaluate=jumping)
    assert same(state, straight[1])
    shown = [line for line in capfd.readouterr().err.splitlines() if "ETA" in line]
    assert all(" d " not in line and "-" not in line.split("ETA")[1] for line in shown), "no days, no negative time"
    assert Checkpointer(tmp_path / "checkpoints").steps() == [10, 12]
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == sorted(path.name for path in (straight[0] / "samples").iterdir())


def test_two_trainings_in_one_workdir(straight, tmp_path):
    refused, drawn = [], []

    def second():
        with pytest.raises(WorkdirError, match=rf"is being trained in by process {os.getpid()} on "):
            train(CONFIG, tmp_path)
        refused.append(True)
        drawn.append(jaxgan.open_run(tmp_path).sample(2).shape)  # reading stays allowed

    with jax.transfer_guard("allow"):
        state = train(workdir=tmp_path, **at(6, second))
    assert refused and drawn == [(2, 8, 8, 1)]
    assert same(state, straight[1])


@pytest.mark.slow
def test_memory_and_files_do_not_grow():
    """500 steps here; the 2,000 of docs/reliability.md are `python -m benchmarks.memory_growth`."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory_growth", "--steps=500", "--every=50"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    growth = done.stdout.splitlines()[-1]
    mib, files, live = (float(part.split()[0]) for part in growth.partition(": ")[2].split(", "))
    # A save in the background has some files open and holds one copy of the state, 98 arrays; a leak of one array per
    # step would be 350.
    assert mib < 64 and files <= 8 and live <= 98, growth
