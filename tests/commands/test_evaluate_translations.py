"""`python -m jaxgan evaluate` of a run that translates: both directions, the images held out, records with both."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxgan import __main__
from jaxgan.config import EvalConfig
from jaxgan.data.pipeline import open_dataset
from jaxgan.evaluation import evaluator as evaluator_lib
from jaxgan.evaluation.features import CallableExtractor
from jaxgan.evaluation.protocol import Protocol
from jaxgan.evaluation.records import read
from tests.tiny_run import PERCEPTRON, TRANSLATING, write_run
from tests.two_domains import write_domains


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp("d"), {"trainA": 6, "trainB": 5, "testA": 9, "testB": 8})


@pytest.fixture(scope="module")
def workdir(root, tmp_path_factory):
    data = dataclasses.replace(TRANSLATING.data, source=f"unpaired:{root}")
    config = dataclasses.replace(TRANSLATING, data=data, eval=EvalConfig(num_samples=4))
    return write_run(tmp_path_factory.mktemp("run"), config, open_dataset(data).spec, steps=(3, 7))


@pytest.fixture
def copy(workdir, tmp_path):
    return Path(shutil.copytree(workdir, tmp_path / "copy"))


@pytest.fixture
def evaluate(monkeypatch, tmp_path, capsys):
    def extractor(**options):
        return CallableExtractor("inception-stand-in", lambda images: images[:, :2, :2, 0].reshape(-1, 4) / 255)

    monkeypatch.setattr(evaluator_lib, "inception_extractor", extractor)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(__main__, "_prepare_libraries", lambda: None)

    def run(*args):
        capsys.readouterr()
        code = __main__.main(["evaluate", *map(str, args)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def mistake(evaluate):
    def run(*args):
        code, out, err = evaluate(*args)
        lines = [line for line in err.splitlines() if line.startswith("jaxgan: ")]
        assert code == 2 and len(lines) == 1 and not out and "Traceback" not in err, err
        return lines[0]

    return run


def test_both_directions_on_the_images_held_out(evaluate, copy, root):
    code, out, err = evaluate(f"--workdir={copy}", "--baseline", "--json")
    assert code == 0 and len(out.splitlines()) == 1, err
    a2b, b2a = json.loads(out)["evaluations"]
    assert [(one["step"], one["direction"], one["num_samples"]) for one in (a2b, b2a)] == [(7, "a2b", 9), (7, "b2a", 8)]
    protocol = Protocol.parse(b2a["protocol"])
    assert (protocol.reference, protocol.split, protocol.direction) == (f"A of unpaired:{root}:test", "test", "b2a")
    assert a2b["input"]["fid"] == pytest.approx(b2a["input"]["fid"]) and a2b["fid"] != b2a["fid"]
    assert read(copy) == [a2b, b2a] and a2b["weights"] == "ema" and "truncation" not in a2b
    assert f"evaluating step 7: 9 translations of A of unpaired:{root}:test against 8 of B of" in err

    code, out, err = evaluate(f"--workdir={copy}", "--direction=a2b", "--step=all", "--weights=raw")
    assert code == 0 and [one["step"] for one in read(copy)] == [7, 7, 3, 7], err
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["step", "direction", "weights", "fid", "samples", "reference", "protocol"]
    assert [line[:3] for line in lines[1:5]] == [
        ["3", "a2b", "raw"], ["7", "a2b", "raw"], ["7", "a2b", "ema"], ["7", "b2a", "ema"],
    ]  # fmt: skip
    assert f"untranslated, a2b: fid {a2b['input']['fid']:.4g}" in out
    code, _, err = evaluate(f"--workdir={copy}", "--step=all", "--weights=raw")
    assert code == 0 and err.count("is evaluated already") == 2 and len(read(copy)) == 6
    _, _, err = evaluate(f"--workdir={copy}", "--step=all", "--weights=raw", "--baseline", "--direction=a2b")
    assert "is evaluated already" not in err, "the baseline was not there"


def test_directions_alone_warn_of_nothing(evaluate, copy, caplog):
    assert evaluate(f"--workdir={copy}")[0] == 0
    assert "cannot be compared" not in caplog.text
    assert evaluate(f"--workdir={copy}", "--weights=raw", "--direction=b2a")[0] == 0
    assert "cannot be compared, their protocols differ in weights (raw / ema)" in caplog.text


def test_other_data(evaluate, copy, root, tmp_path):
    args = (f"--workdir={copy}", f"--data=unpaired:{root}:train", "--num_samples=5", "--num_reference=4", "--json")
    code, out, err = evaluate(*args, "--direction=b2a")
    assert code == 0, err
    found = json.loads(out)
    assert (found["num_samples"], found["num_reference"]) == (5, 4)
    assert Protocol.parse(found["protocol"]).split == "train"


def test_without_held_out_images(evaluate, copy, root, tmp_path):
    fewer = tmp_path / "fewer"
    shutil.copytree(root / "trainA", fewer / "trainA")
    shutil.copytree(root / "trainB", fewer / "trainB")
    config = json.loads((copy / "config.json").read_text())
    config["data"]["source"] = f"unpaired:{fewer}"
    (copy / "config.json").write_text(json.dumps(config))
    code, _, err = evaluate(f"--workdir={copy}")
    assert code == 0 and "has no test images beside it, so the training images are evaluated" in err
    assert {Protocol.parse(one["protocol"]).split for one in read(copy)} == {"train"}


def test_mistakes(mistake, workdir, root, tmp_path, tmp_path_factory):
    at = f"--workdir={workdir}"
    for flag in ("--truncation=0.5", "--bn=running", "--truncation_curve=1,2"):
        assert f"{flag.partition('=')[0]} does not apply, since {workdir} translates images" in mistake(at, flag)
    assert "has one domain, and translations are evaluated on two" in mistake(at, "--data=digits")
    assert "num_samples (=9) must be at most 8" in mistake(at, "--num_samples=9")
    assert "cas needs the classes of the evaluated images, which have none" in mistake(at, "--metrics=cas")
    assert "extractor (='classifier') needs classes" in mistake(at, "--extractor=classifier")
    assert "kid_subset_size (=1000) must be at most 8" in mistake(at, "--metrics=kid")
    assert "does not exist" in mistake(at, "--data=unpaired:/nowhere")
    drawing = write_run(tmp_path_factory.mktemp("drawing"), PERCEPTRON)
    for flag in ("--direction=a2b", "--baseline"):
        text = mistake(f"--workdir={drawing}", flag)
        assert f"{flag.partition('=')[0]} does not apply, since {drawing} draws images from latents" in text
    assert "has two domains, and the run draws images of one" in mistake(
        f"--workdir={drawing}", f"--data=unpaired:{root}", "--num_samples=5"
    )
    assert "--direction belongs to --workdir" in mistake("--images", root / "testA", "--direction=a2b")
    np.testing.assert_equal(read(workdir), [])
