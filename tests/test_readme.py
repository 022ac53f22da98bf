"""What the README tells people to type works."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_own_networks_train_as_written(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    code, count = re.subn(r"total_steps=[\d_]+", "total_steps=3", code)
    assert count == 1 and len(code.splitlines()) <= 25
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

    fields = config_lib.flatten(config_lib.Config())
    for name in re.findall(r"--config\.([\w.]+)=", README):
        assert name in fields, name
