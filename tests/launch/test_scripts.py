"""What the launch scripts would do, and what they do: against programs that only take notes."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LAUNCH = ROOT / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), LAUNCH / "slurm.sbatch"])
CLOUD = ("tpu_vm.sh", "gpu_vm.sh")
FLAGS = ("--config=configs/digits.py", "--config.data.source=folder:/a b")

STUB = """#!/usr/bin/env bash
printf '%q ' "$(basename "$0")" "$@" >> "$NOTES"; echo >> "$NOTES"
case "$*" in
    *describe*) cat "$STATE" 2>/dev/null || exit 1 ;;
    *create*) echo "$CREATED" > "$STATE" ;;
    *" start "*) echo RUNNING > "$STATE" ;;
    *delete*) rm "$STATE" ;;
    *jaxgan-status*) cat "$DONE" 2>/dev/null || true ;;
esac
"""


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """A folder of programs that note their arguments; returns a function that runs a script and gives the notes."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("gcloud", "srun", "scontrol"):
        (programs / name).write_text(STUB)
        (programs / name).chmod(0o755)
    notes = tmp_path / "notes"
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for name, value in {"NOTES": notes, "STATE": tmp_path / "state", "DONE": tmp_path / "done"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("CREATED", "ACTIVE")

    def run(script, *args, status=0, **more):
        notes.write_text("")
        done = subprocess.run(
            ["bash", str(LAUNCH / script), *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | more,
        )
        assert done.returncode == status, done.stdout + done.stderr
        noted = notes.read_text()
        return [shlex.split(line) for line in join_quoted(noted)], done.stdout + done.stderr

    run.folder = tmp_path
    return run


def join_quoted(text):
    """Lines of commands; bash quotes line breaks as $'\\n', which shlex does not know."""
    return [line.replace("$'", "'").replace("\\'", "") for line in text.splitlines() if line]


def test_every_script_is_executable_strict_and_explains_itself():
    assert {path.name for path in SCRIPTS} >= {"local.sh", "tpu_vm.sh", "gpu_vm.sh", "slurm.sbatch", "keep_running.sh"}
    for script in SCRIPTS:
        if script.name == "lib.sh":
            continue
        assert script.suffix == ".sbatch" or os.access(script, os.X_OK), script
        assert "\nset -euo pipefail\n" in script.read_text(), script
        shown = subprocess.run(["bash", script, "--help"], capture_output=True, text=True, timeout=30)
        assert shown.returncode == 0 and len(shown.stdout) > 300, script
        wrong = subprocess.run(["bash", script], capture_output=True, text=True, timeout=30)
        assert wrong.returncode == 2, script


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck (requirements-dev.txt)")
def test_shellcheck_finds_nothing():
    done = subprocess.run(
        ["shellcheck", "-x", "--exclude=SC1091", *map(str, SCRIPTS), str(ROOT / ".ci" / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", CLOUD)
@pytest.mark.parametrize("command", ["create", "status", "setup", "run", "logs", "ssh", "stop", "delete", "keep"])
def test_a_dry_run_prints_and_does_nothing(cloud, script, command):
    place = ("--name=n", "--zone=z", "--accelerator=v5litepod-16", "--spot")
    place = place if script == "tpu_vm.sh" else ("--name=n", "--zone=z", "--spot")
    notes, said = cloud(script, command, *place, "--dry_run", "--", *FLAGS)
    assert notes == [] and "gcloud compute " in said and "--zone=z" in said
    assert not list(cloud.folder.glob("state"))


def test_a_tpu_slice_from_create_to_delete(cloud):
    place = ("--name=n", "--zone=z", "--project=p")
    (_, create), _ = cloud("tpu_vm.sh", "create", *place, "--accelerator=v5litepod-16", "--spot")
    assert create[:6] == ["gcloud", "compute", "tpus", "queued-resources", "create", "n"]
    assert {"--spot", "--accelerator-type=v5litepod-16", "--node-id=n", "--zone=z", "--project=p"} <= set(create)
    notes, said = cloud("tpu_vm.sh", "create", *place, "--accelerator=v5litepod-16")
    assert len(notes) == 1 and "describe" in notes[0] and "n exists already: ACTIVE" in said
    (copy, install), _ = cloud("tpu_vm.sh", "setup", *place, "--nfs=10.0.0.2:/runs")
    assert copy[3:5] == ["tpu-vm", "scp"] and "--worker=all" in copy and "--worker=all" in install
    assert "jaxgan[tpu]" in install[-1] and "10.0.0.2:/runs" in install[-1]
    (start,), _ = cloud("tpu_vm.sh", "run", *place, "--", *FLAGS)
    assert "--worker=all" in start and "keep_running.sh" in start[-1] and "--stopped_status=75" in start[-1]
    (logs,), _ = cloud("tpu_vm.sh", "logs", *place, "--worker=3")
    assert "--worker=3" in logs and "journalctl" in logs[-1]
    (stop,), _ = cloud("tpu_vm.sh", "stop", *place)
    assert "systemctl stop jaxgan" in stop[-1]
    _, said = cloud("tpu_vm.sh", "delete", *place, status=2)
    assert "pass --yes" in said
    notes, _ = cloud("tpu_vm.sh", "delete", *place, "--yes")
    assert [note[4] for note in notes] == ["describe", "delete"] and "--force" in notes[1]
    notes, said = cloud("tpu_vm.sh", "delete", *place, "--yes")
    assert len(notes) == 1 and "does not exist" in said


def test_a_tpu_slice_that_was_taken_away_is_asked_for_again(cloud):
    (cloud.folder / "state").write_text("SUSPENDED\n")
    (cloud.folder / "done").write_text("0\n")
    place = ("--name=n", "--zone=z", "--accelerator=v5litepod-16", "--poll=0")
    _, said = cloud("tpu_vm.sh", "create", *place, status=2)
    assert "machines are gone" in said
    notes, said = cloud("tpu_vm.sh", "keep", *place, "--", *FLAGS)
    verbs = [note[4] for note in notes if note[4] != "describe"]
    assert verbs == ["delete", "create", "scp", "ssh", "ssh", "ssh"]
    assert "ended with status 0; the machines still cost" in said


@pytest.mark.parametrize(("script", "ready"), [("tpu_vm.sh", "ACTIVE"), ("gpu_vm.sh", "RUNNING")])
def test_machines_that_cannot_be_set_up_are_given_up_and_said_to_cost(cloud, script, ready):
    (cloud.folder / "state").write_text(f"{ready}\n")
    stub = cloud.folder / "programs" / "gcloud"
    stub.write_text(STUB + 'case "$*" in *scp*) exit 1 ;; esac\n')
    notes, said = cloud(script, "keep", "--name=n", "--zone=z", "--poll=0", "--", *FLAGS, status=2)
    assert sum("scp" in note for note in notes) == 10 and not any("ssh" in note for note in notes)
    assert f"could not be set up in 10 attempts; it still costs: launch/{script} delete" in said


def test_a_gpu_machine_from_create_to_delete(cloud):
    place = ("--name=n", "--zone=z")
    (_, create), _ = cloud("gpu_vm.sh", "create", *place, "--spot", "--machine=a2-highgpu-8g", CREATED="RUNNING")
    assert {"--provisioning-model=SPOT", "--instance-termination-action=STOP", "--maintenance-policy=TERMINATE"} <= set(
        create
    )
    assert "--machine-type=a2-highgpu-8g" in create
    _, said = cloud("gpu_vm.sh", "create", *place)
    assert "n exists already: RUNNING" in said
    (cloud.folder / "state").write_text("TERMINATED\n")  # taken away: its disk is still there
    (cloud.folder / "done").write_text("2\n")
    notes, said = cloud("gpu_vm.sh", "keep", *place, "--poll=0", "--", *FLAGS, status=2)
    verbs = [note[2] if note[2] in ("ssh", "scp") else note[3] for note in notes]
    assert [verb for verb in verbs if verb != "describe"] == ["start", "scp", "ssh", "ssh", "ssh"]
    assert "ended with status 2; the machines still cost" in said
    notes, _ = cloud("gpu_vm.sh", "delete", *place, "--yes")
    assert notes[1][3] == "delete"


@pytest.mark.parametrize("script", CLOUD)
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("fly", "--name=n"), "there is no command 'fly'"),
        (("create", "--zone=z"), "--name is missing"),
        (("create", "--name=n"), "--zone is missing"),
        (("create", "--name=n", "--zone=z", "--sopt"), "unknown argument '--sopt'"),
        (("run", "--name=n", "--zone=z"), "the flags of jaxgan.main are missing"),
    ],
)
def test_mistakes_are_named(cloud, script, args, said):
    notes, text = cloud(script, *args, status=2)
    assert said in text and not any("create" in note for note in notes)


def test_what_is_started_remotely_is_a_script_without_mistakes(tmp_path):
    """The text that goes to the other side is run here, with programs that do nothing."""
    home, programs = tmp_path / "home", tmp_path / "programs"
    (home / "jaxgan" / "launch").mkdir(parents=True)
    (home / "jaxgan-env" / "bin").mkdir(parents=True)
    programs.mkdir()
    shutil.copy(LAUNCH / "keep_running.sh", home / "jaxgan" / "launch")
    python = home / "jaxgan-env" / "bin" / "python"
    python.write_text('#!/bin/sh\nfor a in "$@"; do echo "[$a]"; done > "$HOME/flags"; exit 2\n')
    python.chmod(0o755)
    (programs / "systemctl").write_text("#!/bin/sh\nexit 3\n")
    (programs / "sudo").write_text('#!/bin/bash\n[ "$1" = systemctl ] && exit 0\ncd "$HOME/jaxgan"; exec "${!#}"\n')
    for path in programs.iterdir():
        path.chmod(0o755)
    shown = subprocess.run(
        ["bash", "-c", 'dry_run=false; . launch/lib.sh; remote_run "$@"', "x", *FLAGS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    env = {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", shown.stdout], cwd=home, env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2, done.stderr
    assert (home / "jaxgan-status").read_text() == "2\n"
    flags = (home / "flags").read_text().split("\n")
    assert flags[:-1] == ["[-m]", "[jaxgan.main]", "[--stopped_status=75]", *(f"[{flag}]" for flag in FLAGS)]


def test_slurm_queues_again_what_was_stopped_and_nothing_else(cloud, tmp_path):
    srun = tmp_path / "programs" / "srun"
    for status, restarts, expected, requeued in (
        (75, 0, 0, True),
        (1, 3, 0, True),
        (2, 0, 2, False),
        (75, 20, 75, False),
    ):
        srun.write_text(STUB + f"exit {status}\n")
        env = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarts)}
        notes, _ = cloud("slurm.sbatch", *FLAGS, status=expected, **env)
        assert notes[0][:2] == ["srun", "--kill-on-bad-exit=1"] and notes[0][-1] == "--stopped_status=75"
        assert (["scontrol", "requeue", "7"] in notes) == requeued
    srun.write_text(STUB)
    notes, _ = cloud("slurm.sbatch", *FLAGS)
    assert len(notes) == 1
    notes, said = cloud("slurm.sbatch", "--dry_run", *FLAGS)
    assert notes == [] and said.startswith("srun ")
    text = (LAUNCH / "slurm.sbatch").read_text()
    assert "#SBATCH --requeue\n" in text and "#SBATCH --signal=TERM@120\n" in text


def local(*args, **env):
    done = subprocess.run(
        ["bash", str(LAUNCH / "local.sh"), "--port=1234", "--dry_run", *args],
        capture_output=True,
        text=True,
        env=os.environ | env,
        timeout=30,
    )
    return done.returncode, done.stdout, done.stderr


def test_local_divides_the_gpus():
    code, out, _ = local("--processes=2", "--gpus=4,5,6,7", "--", *FLAGS)
    first, second = out.splitlines()
    assert code == 0 and "CUDA_VISIBLE_DEVICES=4\\,5 " in first and "CUDA_VISIBLE_DEVICES=6\\,7 " in second
    for i, line in enumerate((first, second)):
        assert f"--coordinator=localhost:1234 --num_processes=2 --process_id={i} --stopped_status=75" in line
        assert "folder:/a\\ b" in line
    assert "=1,2" not in local("--processes=1", "--", *FLAGS, CUDA_VISIBLE_DEVICES="")[1]
    code, _, err = local("--processes=2", "--", *FLAGS, CUDA_VISIBLE_DEVICES="1,2,3")
    assert code == 2 and "3 GPUs (1,2,3) cannot be divided among --processes (=2)" in err
    assert local("--processes=zero", "--", *FLAGS)[0] == 2 and local("--processes=2")[0] == 2


def keep(*args, code, tmp_path, env=None):
    """Runs keep_running.sh on a Python program that finds out how often it was started."""
    program = tmp_path / "program.py"
    program.write_text(f"import pathlib, signal, sys, time\nlog = pathlib.Path({str(tmp_path / 'log')!r})\n{code}")
    return subprocess.Popen(
        ["bash", str(LAUNCH / "keep_running.sh"), "--wait=0", *args, "--", sys.executable, "-S", str(program)],
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )


COUNT = "n = len(log.read_text()) if log.exists() else 0\nlog.write_text('x' * (n + 1))\n"


@pytest.mark.parametrize(
    ("statuses", "starts", "expected"),
    [([75, 1, 0], 3, 0), ([2], 1, 2), ([1, 1, 1, 1], 3, 1), ([-9, 0], 2, 0)],
)
def test_keep_running_starts_again_until_it_is_done_or_hopeless(tmp_path, statuses, starts, expected):
    code = f"{COUNT}s = {statuses}[n]\nimport os\nos.kill(os.getpid(), 9) if s == -9 else sys.exit(s)"
    process = keep("--max_restarts=2", code=code, tmp_path=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == expected, err
    assert len((tmp_path / "log").read_text()) == starts
    assert err.count("starting again") == starts - 1


# Bash gives kill back only when the program has ended: a stop may be as quick as that.
SLOW_KILL = {"BASH_FUNC_kill%%": '() { builtin kill "$@"; local status=$?; sleep 0.5; return $status; }'}


@pytest.mark.parametrize("more", [{}, SLOW_KILL], ids=["running", "ended"])
def test_keep_running_hands_a_stop_on_and_does_not_start_again(tmp_path, more):
    code = f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n{COUNT}time.sleep(60)"
    process = keep(code=code, tmp_path=tmp_path, env=os.environ | more)
    while not (tmp_path / "log").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and (tmp_path / "log").read_text() == "x", err
