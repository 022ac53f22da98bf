"""What the folder of a run says of the starts of that run."""

import json

import pytest

from jaxgan.config import Config
from jaxgan.data.spec import DataSpec
from jaxgan.training import workdir as workdir_lib

DATA = DataSpec(num_images=5, height=8, width=8, channels=1, num_classes=0, class_names=(), fingerprint="0")


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts the run at a revision; returns what `run.json` holds then."""

    def start(revision):
        monkeypatch.setattr(workdir_lib, "_git_revision", lambda: revision)
        workdir_lib.claim(tmp_path, Config(), DATA, accept_changes=False, is_primary=True)
        return json.loads((tmp_path / "run.json").read_text())

    return start


def test_earlier_starts_are_kept_where_they_were_others(start):
    first = start("a")
    assert first["earlier"] == [] and first["data"]["num_images"] == 5
    assert start("a")["earlier"] == []
    start("b")
    third = start("c")
    assert third["git_revision"] == "c" and third["data"] == first["data"]
    assert third["earlier"] == [
        {name: value for name, value in first.items() if name not in ("data", "earlier")} | {"git_revision": revision}
        for revision in "ab"
    ]
    again = start("a")  # each revision once, whatever the order
    assert [facts["git_revision"] for facts in (again, *again["earlier"])] == ["a", "b", "c"]


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null", '{"earlier": 3}', '{"earlier": ["x", {}, null]}'])
def test_a_damaged_file_is_written_anew(start, tmp_path, content):
    start("a")
    (tmp_path / "run.json").write_text(content)
    assert start("b")["earlier"] == []
