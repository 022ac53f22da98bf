"""Two real processes train together and one of them ends: killed, stopped politely, or by a mistake of its own."""

import re
import signal
import subprocess
import sys
import time

import pytest

from tests.processes import ROOT, TINY, arrays, environment, free_port

ARGS = (*TINY, "--config.batch_size=8", "--config.sample.every_steps=0", "--config.checkpoint.every_steps=4")


def start_two(workdir, *args, folders=(ROOT, ROOT)):
    place = (f"--coordinator=localhost:{free_port()}", "--num_processes=2", "--start_timeout=120")
    return [
        subprocess.Popen(
            [sys.executable, "-m", "jaxgan.main", *ARGS, f"--workdir={workdir}", *place, f"--process_id={i}", *args],
            cwd=folders[i],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]


def ends(processes, timeout=200):
    """Returns the exit statuses and what was said."""
    try:
        said = [process.communicate(timeout=timeout)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], said


def steps(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*") if path.name.isdigit())


def train_beyond(processes, workdir, step):
    end = time.monotonic() + 200
    while not any(found > step for found in steps(workdir)):
        dead = [process for process in processes if process.poll() is not None]
        assert not dead and time.monotonic() < end, dead and dead[0].stderr.read()
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_either_may_be_killed_or_stopped_and_the_run_goes_on_as_if_nothing_had_happened(tmp_path):
    workdir, reached = tmp_path / "run", 0
    for victim in (1, 0):
        both = start_two(workdir, "--config.total_steps=1000000")
        train_beyond(both, workdir, reached)
        both[victim].kill()
        began = time.monotonic()
        statuses, said = ends(both)
        assert time.monotonic() - began < 60  # bounded; JAX's own heartbeats would take 100 seconds
        assert statuses[victim] == -signal.SIGKILL
        reached = steps(workdir)[-1]
        news = f"jaxgan: process {victim} of 2 ended; the newest checkpoint is step"
        # When process 0 ends, JAX's own service may end the other one a moment earlier than we do.
        assert (statuses[1 - victim] == 75 and news in said[1 - victim]) or (
            victim == 0 and statuses[1] == -signal.SIGABRT
        ), said

    both = start_two(workdir, "--config.total_steps=1000000", "--stopped_status=75")
    train_beyond(both, workdir, reached)
    both[1].terminate()
    statuses, said = ends(both)
    assert statuses == [75, 75], said
    (stopped,) = re.findall(r"stopped by SIGTERM and saved at step ([\d,]+)", said[0])
    reached = int(stopped.replace(",", ""))
    assert steps(workdir)[-1] == reached

    total = f"--config.total_steps={reached + 2}"
    for folder in (workdir, tmp_path / "straight"):
        statuses, said = ends(start_two(folder, total, "--stopped_status=75"))
        assert statuses == [0, 0], said
    one, other = arrays(workdir, reached + 2), arrays(tmp_path / "straight", reached + 2)
    assert one.keys() == other.keys() and len(one) > 50
    assert [name for name in one if one[name].tobytes() != other[name].tobytes()] == []


@pytest.mark.slow
def test_what_one_lacks_ends_both_with_its_sentence(tmp_path):
    from PIL import Image

    (tmp_path / "has" / "images").mkdir(parents=True)
    (tmp_path / "lacks").mkdir()
    for i in range(8):
        Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / "has" / "images" / f"{i}.png")
    flags = ("--config.data.source=folder:images", "--config.model.conditional=false")
    statuses, said = ends(start_two(tmp_path / "run", *flags, folders=(tmp_path / "has", tmp_path / "lacks")))
    assert statuses == [2, 2], said
    assert "jaxgan: folder:images" in said[1] or "images" in said[1].splitlines()[-1]
    assert "jaxgan: process 1 of 2 failed: " in said[0] and "Traceback" not in "".join(said)
