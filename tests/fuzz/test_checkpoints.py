"""Checkpoints with damaged files beside their arrays: the state that was saved, or one CheckpointError or RunError."""

import shutil

import pytest
from hypothesis import strategies as st

from jaxgan.core.checkpoint import CheckpointError
from jaxgan.generation.errors import RunError
from jaxgan.generation.run import open_run
from tests.fuzz.damage import damaged, examine
from tests.tiny_run import PERCEPTRON, write_run


@pytest.mark.parametrize("count", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_damaged_metadata(tmp_path, count):
    good = write_run(tmp_path / "good", PERCEPTRON)
    good = tmp_path / "good" if good is None else good
    files = {
        path.relative_to(good): path.read_bytes()
        for path in sorted((good / "checkpoints").rglob("*"))
        if path.is_file()
    }
    small = [name for name, data in files.items() if len(data) < 100_000]
    assert any("METADATA" in name.name for name in small) and any("manifest" in name.name for name in small)

    @examine(count, st.sampled_from(small).flatmap(lambda name: st.tuples(st.just(name), damaged(files[name]))))
    def check(change):
        name, data = change
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good, folder)
        (folder / name).write_bytes(data)
        try:
            open_run(folder)
        except (CheckpointError, RunError) as error:
            assert "\n" not in str(error) and len(str(error)) < 2_000
