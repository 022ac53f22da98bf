"""The benchmark of evaluations: extrapolation and shares in closed form, the parts' work, and a short run."""

import json

import numpy as np
import pytest

from benchmarks import evaluation
from benchmarks.cases import load_case

SMALL = ["model.g_widths=8", "model.d_widths=8", "data.resolution=8", "batch_size=8"]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_first_batch_is_not_timed_and_the_last_one_counts_whole():
    clock, numbers = Clock(), []

    def batch(number):
        clock.now += 50.0 if not numbers else 2.0
        numbers.append(number)

    assert evaluation.images_per_second(batch, 25, 10, clock) == pytest.approx(30 / 6.0)
    assert numbers == [0, 0, 1, 2]


def test_what_grows_is_extrapolated():
    seconds = evaluation.summarize(samples=10.0, inception=4.0, moments=2.0, distance=7.0, count=20, of=100)
    assert seconds == {"samples": 10.0, "inception": 25.0, "moments": 10.0, "distance": 7.0, "total": 52.0}
    assert evaluation.share_of_run(50.0, 100, 2.0) == 0.5  # 100 steps take as long


def test_samples_are_those_of_the_preset():
    case = load_case("dcgan64", None, SMALL, None)
    images = evaluation.sampling(case, 3)(0)
    assert images.shape == (3, 8, 8, 3) and images.dtype == np.uint8 and images.std() > 0


def test_command_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(evaluation, "random_inception", lambda size: lambda images: None)
    monkeypatch.setattr(evaluation, "distance_seconds", lambda count: (count / 10, 3.0))
    path = tmp_path / "x.json"
    argv = ["--preset=dcgan64", "--num_images=4", "--batch_size=4", "--of=40", "--steps_per_second=2", "--set", *SMALL]
    assert evaluation.main([*argv, f"--json={path}"]) == 0
    report = json.loads(path.read_text())
    assert report["seconds"]["moments"] == pytest.approx(4.0) and report["seconds"]["distance"] == 3.0
    assert 0 < report["share_of_run"] < 1
    printed = capsys.readouterr().out
    assert "40 images: samples" in printed and "of a run" in printed
    assert evaluation.main(["--set", "batch_size=0"]) == 2
    assert capsys.readouterr().err.startswith("evaluation: config.batch_size")


@pytest.mark.slow
def test_the_parts_do_the_whole_work():
    extractor = evaluation.random_inception(2)
    found = extractor(np.full((2, 32, 32, 3), 7, np.uint8))
    assert found.features.shape == (2, 2048) and np.isfinite(found.features).all() and found.features.any()
    moments, distance = evaluation.distance_seconds(16, dim=8)
    assert moments > 0 and distance > 0
