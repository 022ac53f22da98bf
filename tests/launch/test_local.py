"""launch/local.sh, really: two processes on this machine, one of them killed once."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import ROOT, TINY, environment


@pytest.mark.slow
def test_local_starts_all_again_when_one_was_killed(tmp_path):
    workdir = tmp_path / "run"
    process = subprocess.Popen(
        [
            "bash", "launch/local.sh", f"--python={sys.executable}", f"--logs={tmp_path / 'logs'}", "--gpus=",
            "--max_restarts=1", "--", *TINY, "--config.batch_size=8", "--config.sample.every_steps=0",
            "--config.checkpoint.every_steps=10", "--config.total_steps=100", f"--workdir={workdir}",
        ],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    end = time.monotonic() + 200
    while not (workdir / "checkpoints" / "10").exists():
        assert process.poll() is None and time.monotonic() < end, process.stdout.read()
        time.sleep(0.02)
    victim = next(
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"--process_id=1" in (words := _words(path)) and f"--workdir={workdir}".encode() in words
    )
    os.kill(victim, signal.SIGKILL)
    try:
        said = process.communicate(timeout=300)[0]
    finally:
        process.terminate()  # it hands the stop on
    assert process.returncode == 0, said
    assert said.count("starting again") == 1 and "process 1 of 2 ended" in said
    assert re.search(r"restoring step \d+", said) and "done: 100 steps" in said
    assert "done:" not in (tmp_path / "logs" / "process_1.log").read_text()


def _words(path):
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return []
