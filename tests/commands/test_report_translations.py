"""`python -m jaxgan report` of a run that translates: translations of held-out images, scores by direction."""

import dataclasses
import json
import re

import pytest

from jaxgan.__main__ import main
from jaxgan.commands.report_translations import translations
from jaxgan.data.pipeline import open_dataset
from jaxgan.generation.run import open_run
from tests.tiny_run import TRANSLATING, write_run
from tests.two_domains import write_domains

PROTOCOL = "jaxgan-eval; extractor=x; dims=64; direction={}; weights={}; version=1"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp("d"), {"trainA": 6, "trainB": 5, "testA": 3, "testB": 2})


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    data = dataclasses.replace(TRANSLATING.data, source=f"unpaired:{root}")
    config = dataclasses.replace(TRANSLATING, data=data)
    return open_run(write_run(tmp_path_factory.mktemp("run"), config, open_dataset(data).spec))


@pytest.fixture
def report(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("jaxgan.commands.report.open_run", lambda *args, **kwargs: run)

    def call(*args):
        out = tmp_path / "page.html"
        assert main(["report", f"--workdir={run.workdir}", f"--out={out}", "--overwrite", *args]) == 0
        capsys.readouterr()
        return out.read_text()

    return call


def sections(page):
    return re.findall(r'<section id="(\w+)"', page)


def test_the_page(report, run, root):
    records = [
        {"step": 3, "direction": "a2b", "fid": 40.0, "protocol": PROTOCOL.format("a2b", "ema"), "input": {"fid": 99.5}},
        {"step": 3, "direction": "b2a", "fid": 50.0, "protocol": PROTOCOL.format("b2a", "ema")},
    ]
    (run.workdir / "evaluations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    page = report()
    assert sections(page) == ["training", "scores", "history", "translations", "settings", "environment"]
    assert f"unpaired:{root}: 6 images of A, 5 of B" in page and "parameters of g_ab" in page
    assert (
        "A, translated to B, back to A" in page and f"unpaired:{root}:test, with the averaged weights of step 3" in page
    )
    assert "cannot be compared" not in page and "Before they are translated, the images score: a2b fid 99.5." in page
    assert "a2b</span>" in page or ">a2b<" in page, "the lines have the names of the directions"
    assert '<th scope="col">direction</th>' in page

    records.append({"step": 3, "direction": "b2a", "fid": 60.0, "protocol": PROTOCOL.format("b2a", "raw")})
    (run.workdir / "evaluations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    page = report("--data=none")
    assert "differ in weights (ema / raw); evaluate again with one protocol. (b2a)" in page
    assert "a2b protocol 1" in page and "b2a protocol 3" in page
    assert "There are no images to translate: --data none was given." in page


def test_rows_of_the_images_held_out(run, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "jaxgan.commands.report_translations.picture", lambda image, text, budget: seen.update(grid=image) or ""
    )
    translations(run, None)
    scale, padding = 8, 2
    assert seen["grid"].shape == (2 * (8 * scale + padding) + padding, 8 * (12 * scale + padding) + padding, 3)


def test_images_that_are_gone(report):
    page = report("--data=unpaired:/nowhere")
    assert "This part is missing: data.source=&#x27;unpaired:/nowhere&#x27;" in page
