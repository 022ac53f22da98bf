"""Every row of the results can be typed, and what is typed is what the row says."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import judge, reproduce, results
from benchmarks.row_commands import commands, place
from benchmarks.rows import ROWS
from jaxgan import __main__, config_rules, config_tree, main
from jaxgan.commands import evaluate

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ROWS)
def test_the_training_that_is_typed_is_the_rows(name, monkeypatch, run_main, tmp_path):
    seen = []
    monkeypatch.setattr(main, "_train", lambda config, workdir: seen.append((config, workdir)))
    row = ROWS[name]
    expected = results.expected_config(row)
    config_rules.validate(expected, num_devices=1)
    for _, *arguments in commands(name, "/images", tmp_path)[: len(row.seeds)]:
        # the suite simulates eight devices, which no batch of one image fits
        code, err, _ = run_main(
            *(part.replace("=configs/", f"={ROOT}/configs/") for part in arguments), "--config.mesh.data=1"
        )
        assert code == 0, err
    assert [config.seed for config, _ in seen] == list(row.seeds)
    for config, workdir in seen:
        assert set(config_tree.differences(expected, config)) <= {"seed", "data.source", "mesh.data"}
        assert config.data.source == expected.data.source.replace("{data}", "/images")
        assert config.total_steps == expected.total_steps
        assert workdir == tmp_path / f"{name}_{config.seed}"


@pytest.mark.parametrize("name", ROWS)
def test_what_follows_the_training_is_understood(name, monkeypatch, tmp_path):
    followed = [
        command for command in commands(name, "/images", tmp_path, docs=tmp_path) if command[0] != "jaxgan.main"
    ]
    seen = []
    monkeypatch.setattr(evaluate, "run", seen.append)
    monkeypatch.setattr(judge, "_judge", lambda arguments, data: pytest.fail("before the runs are opened"))
    assert followed[-1][:4] == ["benchmarks.results", f"--docs={tmp_path}", "add", name]
    for module, *arguments in followed:
        if module == "jaxgan":
            assert __main__.main(arguments) == 0
        else:
            assert {"benchmarks.judge": judge, "benchmarks.results": results}[module].main(
                arguments
            ) == 2  # no run there
    assert len(seen) == len(ROWS[name].seeds) * len(ROWS[name].evaluations)
    assert ROWS[name].judge or seen


@pytest.mark.parametrize("name", ROWS)
def test_a_target_is_one_of_a_score_that_the_row_takes(name):
    row = ROWS[name]
    taken = {"recognised", "as_asked", "taught", "least share", "largest share"} if row.judge else set()
    taken |= {"fid-768", "fid-768 a2b", "fid-768 b2a", "fid-2048", "is"} if row.evaluations else set()
    assert {target.score for target in row.targets} <= taken


@pytest.mark.parametrize("name", ROWS)
def test_the_page_has_the_command(name):
    row = ROWS[name]
    command = f"python -m benchmarks.reproduce {name}" + (f" --data={place(row)}" if row.needs else "")
    (line,) = (
        line for line in (ROOT / "docs" / "reproduce.md").read_text().splitlines() if line.startswith(f"| {name} |")
    )
    assert f"| `{command}` |" in line and line.endswith(f"{row.hardware} |")


def ended(workdir, done=4):
    workdir.mkdir(parents=True)
    (workdir / "config.json").write_text('{"total_steps": 4}')
    (workdir / "metrics.jsonl").write_text(
        f'{{"step": {done}, "images_per_second": 1}}\n{{"step": {done}, "eval": 1}}\n'
    )


@pytest.fixture
def ran(monkeypatch):
    """Replaces the running of commands: a training writes down that it ended, the judge fails; returns the modules."""
    modules = []

    def run(command):
        modules.append(command[2])
        if command[2] == "jaxgan.main":
            ended(Path(next(part for part in command if part.startswith("--workdir=")).partition("=")[2]))
        return subprocess.CompletedProcess(command, 3 if command[2] == "benchmarks.judge" else 0)

    monkeypatch.setattr(subprocess, "run", run)
    return modules


def test_it_runs_the_commands_until_one_fails_and_passes_over_finished_runs(ran, tmp_path, capsys):
    ended(tmp_path / "digits_1")
    assert reproduce.main(["digits", f"--out={tmp_path}"]) == 3
    assert ran == ["jaxgan.main", "jaxgan.main", "benchmarks.judge"]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4 and all(line.startswith("$ python -m ") for line in said)
    ran.clear()
    assert reproduce.main(["digits", f"--out={tmp_path}", "--print"]) == 0 and not ran
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_a_training_that_is_stopped_is_not_evaluated(monkeypatch, tmp_path, capsys):
    """A stop ends a training with status 0, as a finished one."""
    stopped = []

    def run(command):
        stopped.append(command)
        ended(tmp_path / "digits_0", done=2)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    assert reproduce.main(["digits", f"--out={tmp_path}"]) == 130 and len(stopped) == 1
    assert capsys.readouterr().err == "reproduce: the training was stopped; type the same command to go on.\n"


def test_ctrl_c_is_a_sentence(monkeypatch, tmp_path, capsys):
    def interrupted(command):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    assert reproduce.main(["digits", f"--out={tmp_path}"]) == 130
    assert capsys.readouterr().err == "reproduce: stopped; type the same command to go on.\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sagan_mnist"], "needs the folder with the four files of MNIST; add --data=PATH."),
        (["digits", "--data=x"], "needs no images of yours; leave --data out."),
        (["digits", "--seeds", "7"], "--seeds makes another row than the project's; add --docs=FOLDER for it."),
    ],
)
def test_what_is_asked_wrongly_is_said(arguments, says, capsys):
    assert reproduce.main(arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_the_shortest_row_comes_out_again(tmp_path, monkeypatch):
    """The row `digits` with one of its seeds, as docs/reproduce.md says."""
    monkeypatch.delenv("XLA_FLAGS")  # one device, and a program that is optimized: it runs for minutes
    where = [f"--out={tmp_path / 'runs'}", f"--docs={tmp_path / 'docs'}"]
    assert reproduce.main(["digits", "--seeds", "0", *where]) == 0
    scores = json.loads((tmp_path / "docs" / "results.json").read_text())["digits"]["scores"]
    assert scores["as_asked"]["values"][0] > 0.96 and scores["taught"]["values"][0] > 0.94
    assert "## digits" in (tmp_path / "docs" / "results.md").read_text()
