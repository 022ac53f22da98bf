"""The judge, on real digits whose answers are known."""

import json

import numpy as np
import pytest

from benchmarks import judge as judge_lib
from jaxgan.config import DataConfig
from jaxgan.data.spec import DataSpec
from tests.tiny_run import CONFIG, write_run

DATA = DataConfig(resolution=8, channels=1)


@pytest.fixture(scope="module")
def judge():
    return judge_lib.Judge.of(judge_lib.real("digits:train", DATA), judge_lib.real("digits:test", DATA), steps=200)


def test_real_images_get_the_answers_of_real_images(judge):
    images, labels = judge.test
    figures = judge_lib.judge_samples(judge, images, labels, steps=50)
    assert judge.accuracy > 0.9 and figures["as_asked"] == pytest.approx(judge.accuracy)
    assert figures["as_asked_lowest"] <= figures["as_asked"]
    assert figures["recognised"] > 0.8
    np.testing.assert_allclose(figures["shares"], np.bincount(labels) / len(labels), atol=0.03)
    assert figures["taught"] > 0.7 and figures["taught_by_real"] > 0.7


def test_a_class_asked_for_in_vain_is_found(judge):
    images, labels = judge.test
    wrong = np.where(labels == 3, 4, labels)
    figures = judge_lib.judge_samples(judge, images, wrong, steps=1)
    assert figures["as_asked"] == pytest.approx(judge.accuracy - np.mean(labels == 3), abs=0.03)
    assert figures["as_asked_lowest"] == pytest.approx(np.mean(labels[wrong == 4] == 4), abs=0.1)


def test_noise_is_not_recognised_and_without_classes_none_is_asked_for(judge):
    flat = np.full((64, 8, 8, 1), 128, np.uint8)
    figures = judge_lib.judge_samples(judge, flat, None, steps=1)
    assert set(figures) == {"recognised", "shares"} and max(figures["shares"]) == 1


def test_the_command_judges_runs_and_writes_it_down_once(tmp_path, capsys):
    spec = DataSpec(8, 8, 1, 10, tuple("0123456789"), 1_347, "0123456789abcdef")
    runs = [str(write_run(tmp_path / name, CONFIG, spec)) for name in ("a", "b")]
    flags = ["--train=digits:train", "--test=digits:test", "--num=40", "--judge_steps=5", "--taught_steps=2"]
    for _ in range(2):
        assert judge_lib.main([*runs, *flags]) == 0
    lines = (tmp_path / "b" / "judgements.jsonl").read_text().splitlines()
    assert len(lines) == 1
    record = json.loads(lines[0])
    assert record["step"] == 3 and record["protocol"]["weights"] == "ema" and len(record["shares"]) == 10
    assert record["protocol"] | {"num_samples": 40, "train": "digits:train", "judge_steps": 5} == record["protocol"]
    assert capsys.readouterr().out.count('{"workdir"') == 4
    assert judge_lib.main([*runs, "--train=idx:nowhere", "--test=digits:test"]) == 2
    assert capsys.readouterr().err.startswith("judge: ")
