"""`--extractor module:function`: the user's own network judges and matches."""

import json
import sys

import numpy as np
import pytest

from jaxgan import __main__
from jaxgan.data.sources import open_source
from jaxgan.evaluation.fid import frechet_distance
from jaxgan.evaluation.protocol import Protocol
from tests.tiny_run import PERCEPTRON, write_run


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs a command in a folder that holds the module `mine`; returns (exit code, stderr, stdout)."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "NUMBER = 3\n"
        "def means(images):\n"
        "    return images.astype(np.float32).mean(axis=(2, 3))[:, :4] / 255\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(__main__, "_prepare_libraries", lambda: None)

    def run(*args):
        code = __main__.main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return code, captured.err, captured.out

    return run


def test_evaluate(command):
    args = ("evaluate", "--images=digits:test", "--data=digits:train", "--extractor=mine:means")
    code, err, out = command(*args, "--json")
    assert code == 0, err
    found = json.loads(out)
    sources = (open_source(f"digits:{part}") for part in ("test", "train"))
    test, train = (
        np.stack([source.read(i).mean(axis=(1, 2))[:4] / 255 for i in range(len(source))]) for source in sources
    )
    expected = frechet_distance(test.mean(0), np.cov(test.T), train.mean(0), np.cov(train.T))
    assert found["fid"] == pytest.approx(expected, rel=1e-4)
    protocol = Protocol.parse(found["protocol"])
    assert (protocol.extractor, protocol.dims, protocol.resizer) == ("mine:means", 4, None)


def test_match(command, tmp_path):
    workdir = write_run(tmp_path / "run", PERCEPTRON)
    code, err, _ = command(
        "match", f"--workdir={workdir}", "--data=digits", "--any_class", "--extractor=mine:means", "--top_n=3"
    )
    assert code == 0, err
    (path,) = workdir.glob("matched/*/match.json")
    assert Protocol.parse(json.loads(path.read_text())["protocol"]).extractor == "mine:means"


@pytest.mark.parametrize(
    "name, message",
    [
        ("other:means", "other cannot be imported"),
        ("mine:median", "mine has no function 'median'"),
        ("mine:NUMBER", "mine has no function 'NUMBER'"),
    ],
)
def test_mistakes_get_one_sentence(command, name, message):
    code, err, _ = command("evaluate", "--images=digits:test", "--data=digits:train", f"--extractor={name}")
    assert code == 2 and message in err and err.count("\n") == 1


def test_an_unknown_name_of_match(command, tmp_path):
    workdir = write_run(tmp_path / "run", PERCEPTRON)
    code, err, _ = command("match", f"--workdir={workdir}", "--data=digits", "--any_class", "--extractor=pixel")
    assert (
        code == 2 and "--extractor (='pixel') must be inception, classifier, pixels or package.module:function" in err
    )
