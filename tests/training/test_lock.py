"""The lock of a workdir: one training at a time, freed by the operating system."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from jaxgan.training import lock
from jaxgan.training.workdir import WorkdirError


def test_a_second_holder_is_refused_and_told_who_the_first_is(tmp_path):
    with lock.hold(tmp_path / "run") as held:
        assert held
        with pytest.raises(WorkdirError) as error, lock.hold(tmp_path / "run"):
            pass
    who = f"process {os.getpid()} on {socket.gethostname()}"
    assert str(error.value) == (
        f"{tmp_path / 'run'} is being trained in by {who}; stop that one first, or choose another --workdir."
    )
    with lock.hold(tmp_path / "run") as held:
        assert held


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = "import sys, time, pathlib; from jaxgan.training.lock import hold\nwith hold(pathlib.Path(sys.argv[1])): "
    code += "time.sleep(100)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        end = time.monotonic() + 100
        while not (tmp_path / lock.FILE).exists() or not (tmp_path / lock.FILE).read_text():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        with pytest.raises(WorkdirError, match=f"by process {process.pid} on "), lock.hold(tmp_path):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with lock.hold(tmp_path):
        assert json.loads((tmp_path / lock.FILE).read_text())["pid"] == os.getpid()


def test_a_holder_that_has_not_said_its_name(tmp_path):
    with lock.hold(tmp_path):
        (tmp_path / lock.FILE).write_text("")
        with pytest.raises(WorkdirError, match="by another process; stop"), lock.hold(tmp_path):
            pass


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock.hold(tmp_path) as held:
        assert not held


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(WorkdirError, match=r"run is not writable \(File exists\); choose another"):
        with lock.hold(tmp_path / "run"):
            pass
