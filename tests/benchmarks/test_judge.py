"""The judge, on real digits whose answers are known."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import judge as judge_lib
from benchmarks.judges import NetworkJudge, VectorJudge
from jaxgan.config import DataConfig
from jaxgan.data.errors import DataError
from jaxgan.data.spec import DataSpec
from jaxgan.generation import latents
from jaxgan.generation.images import to_uint8
from jaxgan.generation.run import open_run
from tests.tiny_run import CONFIG, write_run

DATA = DataConfig(resolution=8, channels=1)


@pytest.fixture(scope="module")
def judge():
    parts = (judge_lib.real(f"digits:{part}", DATA) for part in ("train", "test"))
    return NetworkJudge.of(*parts, steps=200, taught_steps=50)


def test_real_images_get_the_answers_of_real_images(judge):
    images, labels = judge.test
    figures = judge_lib.judge_samples(judge, images, labels)
    assert judge.accuracy > 0.9 and figures["as_asked"] == pytest.approx(judge.accuracy)
    assert figures["as_asked_lowest"] <= figures["as_asked"]
    assert figures["recognised"] > 0.8 and figures["recognised_real"] == figures["recognised"]
    np.testing.assert_allclose(figures["shares"], np.bincount(labels) / len(labels), atol=0.03)
    assert figures["variety"] == pytest.approx(1, abs=0.05)


def test_real_images_teach_what_real_images_teach(judge):
    whole = len(judge.train[0])
    figures = judge_lib.teach(judge, *(part[:500] for part in judge.train))
    assert figures["taught"] == figures["taught_by_real"] > 0.7
    assert judge.taught_by_real(10**6) == judge.taught_by_real(whole) == judge.taught_by(*judge.train)
    longer = dataclasses.replace(judge, taught_steps=judge.steps)  # then as the judge itself learnt
    assert longer.taught_by_real(whole) == judge.accuracy == longer.taught_by(*judge.train)


def test_a_class_asked_for_in_vain_is_found(judge):
    images, labels = judge.test
    wrong = np.where(labels == 3, 4, labels)
    figures = judge_lib.judge_samples(judge, images, wrong)
    assert figures["as_asked"] == pytest.approx(judge.accuracy - np.mean(labels == 3), abs=0.03)
    assert figures["as_asked_lowest"] == pytest.approx(np.mean(labels[wrong == 4] == 4), abs=0.1)


def test_noise_is_not_recognised_and_without_classes_none_is_asked_for(judge):
    flat = np.full((64, 8, 8, 1), 128, np.uint8)
    figures = judge_lib.judge_samples(judge, flat, None)
    assert set(figures) == {"recognised", "recognised_real", "shares"} and max(figures["shares"]) == 1
    assert figures["recognised"] == 0 and figures["recognised_real"] > 0.8


def test_the_command_judges_runs_and_writes_it_down_once(tmp_path, capsys):
    spec = DataSpec(8, 8, 1, 10, tuple("0123456789"), 1_347, "0123456789abcdef")
    runs = [str(write_run(tmp_path / name, CONFIG, spec)) for name in ("a", "b")]
    flags = ["--train=digits:train", "--test=digits:test", "--num=40", "--judge_steps=5", "--taught_steps=2"]
    flags += ["--taught_num=60"]
    for _ in range(2):
        assert judge_lib.main([*runs, *flags]) == 0
    lines = (tmp_path / "b" / "judgements.jsonl").read_text().splitlines()
    assert len(lines) == 1
    record = json.loads(lines[0])
    assert record["step"] == 3 and record["protocol"]["weights"] == "ema" and len(record["shares"]) == 10
    assert record["protocol"] | {"num_samples": 40, "train": "digits:train"} == record["protocol"]
    assert record["protocol"]["taught"] == "2 updates on 60 samples" and sum(record["shares"]) == pytest.approx(1)
    assert capsys.readouterr().out.count('{"workdir"') == 4
    assert judge_lib.main([*runs, "--train=idx:nowhere", "--test=digits:test"]) == 2
    assert capsys.readouterr().err.startswith("judge: ")


def test_wider_latents_are_judged_beside_those_of_training(tmp_path):
    run = str(
        write_run(tmp_path / "run", CONFIG, DataSpec(8, 8, 1, 10, tuple("0123456789"), 1_347, "0123456789abcdef"))
    )
    flags = ["--train=digits:train", "--test=digits:test", "--num=40", "--judge_steps=5", "--taught_steps=2"]
    for more in ([], ["--latent_scale=1.5"]):
        assert judge_lib.main([run, *flags, *more]) == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "judgements.jsonl").read_text().splitlines()]
    assert [record["protocol"].get("latent_scale") for record in records] == [None, 1.5]
    assert records[0]["variety"] < records[1]["variety"]
    opened = open_run(run)
    for scale in (1, 1.5):
        images, labels = judge_lib.draw(opened, 40, 0, scale)
        inputs = latents.draw(opened.latent_dim, 10, 0, 0, 40)
        np.testing.assert_array_equal(labels, inputs["labels"])
        wanted = opened.sample(z=inputs["z"] * np.float32(scale), labels=labels)
        assert np.abs(images.astype(int) - to_uint8(wanted)).max() <= 1
    for wrong in ("0", "-1", "nan", "inf", "wide"):
        with pytest.raises(SystemExit):
            judge_lib.main([run, *flags, f"--latent_scale={wrong}"])


def test_older_judgements_survive_a_stop_while_a_new_one_is_written(tmp_path, monkeypatch):
    judge_lib.write(tmp_path, {"step": 1, "protocol": {}})
    before = (tmp_path / "judgements.jsonl").read_text()

    def stopped(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(judge_lib.os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        judge_lib.write(tmp_path, {"step": 2, "protocol": {}})
    assert (tmp_path / "judgements.jsonl").read_text() == before


def test_a_class_of_one_image_has_no_variety(judge):
    images, labels = judge.test
    first = {label: images[labels == label][:1] for label in range(10)}
    repeated = np.concatenate([np.repeat(first[label], 5, axis=0) for label in range(10)])
    assert judge_lib.judge_samples(judge, repeated, np.repeat(np.arange(10), 5))["variety"] == 0


def test_the_vector_machine_reads_digits_of_any_size():
    for resolution in (8, 16):
        data = DataConfig(resolution=resolution, channels=1)
        svc = VectorJudge(judge_lib.real("digits:train", data), judge_lib.real("digits:test", data))
        assert svc.accuracy > 0.98 and svc.num_classes == 10
        assert svc.taught_by(*svc.train) == svc.taught_by_real(10**6) == svc.accuracy
        classes, confidence = svc.assign(svc.test[0])
        assert confidence is None and np.mean(classes == svc.test[1]) == svc.accuracy
    with pytest.raises(DataError, match="12x12 of 1 channels; take --judge=network"):
        VectorJudge((np.zeros((2, 12, 12, 1), np.uint8), np.arange(2)), svc.test)


@pytest.mark.parametrize(
    ("source", "without"), [("idx:/a/b:test", "idx:test"), ("digits", "digits"), ("folder:/a:b/c", "folder")]
)
def test_a_source_without_the_folders_of_one_machine(source, without):
    assert judge_lib.without_folders(source) == without
