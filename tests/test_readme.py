"""What the README tells people to type works."""

import re
from pathlib import Path

from tests.tiny_run import PERCEPTRON, write_run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def python_block(word):
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if word in code)
    return code


def test_a_run_is_sampled_in_three_lines(tmp_path, monkeypatch):
    write_run(tmp_path / "runs" / "digits", PERCEPTRON)
    monkeypatch.chdir(tmp_path)
    code = python_block("open_run").replace('class_id="7"', 'class_id="dog"')
    assert len([line for line in code.splitlines() if line]) == 3
    found = {}
    exec(compile(code, "README.md", "exec"), found)
    assert found["images"].shape == (16, 8, 8, 1)


def test_own_networks_train_as_written(tmp_path, monkeypatch):
    code = python_block("Adversarial")
    monkeypatch.chdir(tmp_path)
    code, count = re.subn(r"total_steps=[\d_]+", "total_steps=3", code)
    assert count == 1 and len([line for line in code.splitlines() if line]) <= 21
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert (tmp_path / "runs" / "own" / "samples" / "step_00000003.png").exists()


def test_the_two_commands_stand_there():
    assert "pip install -r requirements.txt && python -m jaxgan.main --config=configs/digits.py" in README
    assert "pip install -r requirements-test.txt && python -m pytest" in README


def test_every_recipe_and_every_file_named_exists():
    for path in (ROOT / "configs").glob("*.py"):
        assert f"configs/{path.name}" in README
    for name in re.findall(r"\]\(([\w/.-]+)\)", README):
        assert (ROOT / name).exists(), name


def test_every_flag_and_field_named_exists():
    from jaxgan import config as config_lib
    from jaxgan import config_tree

    fields = config_tree.flatten(config_lib.Config())
    for name in re.findall(r"--config\.([\w.]+)=", README):
        assert name in fields, name


def test_every_command_stands_there():
    from jaxgan.__main__ import COMMANDS

    for name in COMMANDS:
        assert re.search(rf"python -m jaxgan {name}|`{name} ", README), name
