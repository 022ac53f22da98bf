"""The failures on purpose: their settings are valid, and the page on curves says and shows what is run."""

import json
import re
import shlex
import subprocess
import types
from pathlib import Path

import pytest

from benchmarks import failures
from benchmarks.cases import override
from benchmarks.failures import RUNS, commands, figures, table
from jaxgan import config_rules, config_tree
from jaxgan.config import CheckpointConfig, Config, DataConfig, HealthConfig, LogConfig, ModelConfig, SampleConfig
from jaxgan.recipe import load_recipe
from jaxgan.training.loop import train

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "curves.md").read_text()
RECIPE = load_recipe(ROOT / failures.RECIPE)
FAILURES = [name for name, run in RUNS.items() if name != "healthy" and not run.is_extra]


def typed() -> list[str]:
    """Returns the command lines of the page, each on one line."""
    indented = re.findall(r"^    (.*)$", re.sub(r"\\\n\s*", "", PAGE), re.M)
    return [shlex.join(shlex.split(line, comments=True)) for line in indented if line.startswith("python ")]


@pytest.mark.parametrize("name", RUNS)
def test_settings_are_valid_and_differ_from_the_recipe(name):
    settings = failures.settings_of(RUNS[name])
    config = override(RECIPE, [f"{field}={value}" for field, value in settings.items()])
    config_rules.validate(config)
    before, after = config_tree.flatten(RECIPE), config_tree.flatten(config)
    changed = {field for field in before if before[field] != after[field]}
    assert changed == set(settings)


def test_there_are_five_failures_and_each_has_a_cause_of_its_own():
    assert len(FAILURES) == 5 and RUNS["healthy"].settings == ("total_steps=1800",)
    assert len({run.settings for run in RUNS.values()}) == len(RUNS)
    assert {name for name, run in RUNS.items() if run.is_extra} == {
        "logit_gap_watched", "logit_gap_lr", "logit_gap_hinge", "dead_attention_remedy"
    }  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_the_page_has_every_command_as_it_is_run(name):
    training, report, *drawing = (shlex.join(command) for command in commands(name))
    for command in (training, *drawing):
        assert typed().count(command) == 1, command
    assert typed().count(report.replace(f"/{name}", "/NAME")) == 1


def test_the_page_has_no_other_command():
    run = {shlex.join(command) for name in RUNS for command in commands(name)}
    reports = "python -m jaxgan report --workdir=runs/failures/NAME"
    others = [line for line in typed() if line not in run and line != reports]
    assert others and all(line.startswith("python -m benchmarks.failures") for line in others)
    for line in others:
        arguments = failures._parser().parse_args(shlex.split(line)[3:])
        assert set(arguments.names) <= set(RUNS)


def test_every_picture_is_there_and_small():
    shown = re.findall(r"!\[[^\]]+\]\((curves/[^)]+)\)", PAGE)
    files = {path: path.stat().st_size for path in (ROOT / "docs" / "curves").iterdir()}
    assert {ROOT / "docs" / name for name in shown} == set(files)
    assert len(files) >= len(FAILURES) + 1
    assert max(files.values()) < 150_000 and sum(files.values()) < 1_000_000


def test_every_field_that_the_page_names_exists():
    fields = config_tree.flatten(Config())
    named = re.findall(r"config\.((?:\w+\.)?\w+)", PAGE)
    assert len(named) > 10 and not {name for name in named if name not in fields and name not in ("health",)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of two steps that logs what every run logs."""
    out = tmp_path_factory.mktemp("out")
    config = Config(
        total_steps=2,
        batch_size=8,
        data=DataConfig(resolution=8, channels=1),
        model=ModelConfig(name="mlp", conditional=False, latent_dim=4, g_hidden=(8,), d_hidden=(8,)),
        sample=SampleConfig(every_steps=1, rows=2, columns=2),
        checkpoint=CheckpointConfig(every_steps=100),
        log=LogConfig(every_steps=1),
        health=HealthConfig(diversity_from_step=1, min_diversity=1e-9),
    )
    train(config, out / "healthy")
    return out


def test_every_tag_that_the_page_names_is_logged(tiny):
    lines = [json.loads(line) for line in (tiny / "healthy" / "metrics.jsonl").read_text().splitlines()]
    logged = {name for line in lines for name in line}
    named = set(re.findall(r"`((?:train|health|samples|eval|epoch)/\w+)`", PAGE))
    assert {"train/real_logits", "train/d_grad_norm", "health/diversity"} <= named
    gates = {
        name for name in named if name.endswith("_gate")
    }  # of networks with attention: tests/training/test_gates.py
    assert gates and named - gates <= logged


def test_the_table_of_a_real_run(tiny):
    text = table(tiny, list(RUNS))
    assert text.splitlines()[2].startswith("| healthy | 2 |") and len(text.splitlines()) == 3
    assert "nothing" not in text and "logged anything" in table(tiny / "nowhere", ["healthy"])


def test_figures_in_closed_form(tmp_path):
    lines = [
        {"step": step, "train/d_loss": 0.0, "train/real_logits": step, "train/fake_logits": -1.0,
         "train/d_accuracy": 0.5, "train/d_grad_norm": 2.0 * step, "train/g_grad_norm": 3.0}
        for step in (300, 400, 500)
    ]  # fmt: skip
    lines.insert(1, {"step": 300, "health/diversity": 0.25})
    lines.append({"step": 500, "health/diversity": "NaN"})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert table(tmp_path.parent, [tmp_path.name]).splitlines()[2] == (
        f"| {tmp_path.name} | 500 | 451 | 0.5 | 900 | 3 | nan | 0 | 0 | no |"
    )
    events = ("warning", "cleared", "warning", "rollback", "stopped")
    (tmp_path / "health.jsonl").write_text("".join(json.dumps({"event": event}) + "\n" for event in events))
    found = figures(tmp_path)
    assert (found["warnings"], found["rollbacks"], found["stopped"]) == (2, 1, "yes")


@pytest.fixture
def statuses(monkeypatch):
    """Replaces the running of commands: returns (exit statuses to give, commands that were run)."""
    given, run = [], []

    def fake(command):
        run.append(command)
        return types.SimpleNamespace(returncode=given.pop(0))

    monkeypatch.setattr(subprocess, "run", fake)
    return given, run


def test_a_run_that_its_monitor_stops_is_reported_on(statuses, tmp_path, capsys):
    given, run = statuses
    given += [2, 0, 0, 0]
    assert failures.perform("wrong_statistics", tmp_path) == 0
    expected = commands("wrong_statistics", tmp_path)
    assert [command[1:] for command in run] == [command[1:] for command in expected] and len(run) == 4
    assert all(f"--workdir={tmp_path / 'wrong_statistics'}" in command for command in run)
    printed = capsys.readouterr().err
    assert [line[2:] for line in printed.splitlines() if line[0] == "$"] == [shlex.join(one) for one in expected]
    assert "exit status 2" in printed


@pytest.mark.parametrize(("given_statuses", "status", "count"), [([1], 1, 1), ([-9], -9, 1), ([0, 2], 2, 2)])
def test_what_fails_otherwise_ends_it(statuses, tmp_path, given_statuses, status, count):
    given, run = statuses
    given += given_statuses
    assert failures.main(["collapse", "healthy", f"--out={tmp_path}"]) == status
    assert len(run) == count


def test_a_run_with_a_report_is_left_as_it_is(statuses, tmp_path):
    _, run = statuses
    (tmp_path / "collapse").mkdir()
    (tmp_path / "collapse" / "report.html").touch()
    assert failures.perform("collapse", tmp_path) == 0 and not run


def test_extra_runs_are_run_when_they_are_named(statuses, tmp_path):
    given, run = statuses
    given += [0] * 99
    assert failures.main([f"--out={tmp_path}"]) == 0
    assert [one.name for one in _trained(run)] == ["healthy", *FAILURES]
    run.clear()
    assert failures.main([f"--out={tmp_path}", "--table_only"]) == 0 and not run
    assert failures.main([f"--out={tmp_path}", "logit_gap_lr"]) == 0
    assert [one.name for one in _trained(run)] == ["logit_gap_lr"]


def _trained(run):
    return [Path(command[4].partition("=")[2]) for command in run if command[2] == "jaxgan.main"]


def test_ctrl_c_is_a_sentence(monkeypatch, capsys, tmp_path):
    def interrupted(command):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    assert failures.main([f"--out={tmp_path}"]) == 130
    assert capsys.readouterr().err.endswith("failures: stopped; type the same command to go on.\n")


def test_an_unknown_name_is_a_sentence(statuses, capsys):
    assert failures.main(["logit_gab"]) == 2
    assert "no run 'logit_gab'; choose of healthy" in capsys.readouterr().err and not statuses[1]


@pytest.mark.slow  # three processes that compile
def test_the_clip_takes_hold_of_the_gate(monkeypatch, tmp_path):
    run = RUNS["dead_attention"]
    clip = next(setting for setting in run.settings if setting.startswith("method.weight_clip=")).partition("=")[2]
    shrunk = ("total_steps=3", "batch_size=8", "data.resolution=8", "model.g_widths=8,8", "model.d_widths=8,8",
              "model.attention_resolutions=4", "g_optim.lr=0.1", "d_optim.lr=0.1")  # fmt: skip
    monkeypatch.setitem(RUNS, "dead_attention", failures.Run((*run.settings, *shrunk)))
    monkeypatch.chdir(ROOT)
    assert failures.main(["dead_attention", f"--out={tmp_path}"]) == 0
    report = (tmp_path / "dead_attention" / "report.html").read_text()
    gates = re.findall(r'<th scope="row">d: attention[^<]*</th><td>([-+][.\d]+)</td>', report)
    assert [abs(float(gate)) for gate in gates] == [pytest.approx(float(clip))]  # a step of Adam alone would be 0.1
