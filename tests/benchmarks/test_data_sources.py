"""The benchmark of data sources: turns and ratios in closed form, the same images on every side, and a short run."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import data_sources
from benchmarks.data_sources import jaxgan_sides, race, rate, summarize, synthetic_images


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_rate_counts_from_the_first_batch_on():
    clock = Clock()

    def batches():
        clock.now += 100.0  # opening the stream and the first batch
        yield
        while True:
            clock.now += 0.25
            yield

    assert rate(batches, 1.0, 10, clock) == pytest.approx(40.0)


def test_sides_take_turns_in_alternating_order(monkeypatch):
    log = []
    monkeypatch.setattr(data_sources, "rate", lambda batches, seconds, size: log.append(batches) or len(log))
    rates = race({"x": "x", "y": "y"}, rounds=3, seconds=1, batch_size=8)
    assert log == ["x", "y", "y", "x", "x", "y"] and rates == {"x": [1, 4, 5], "y": [2, 3, 6]}
    first, second = summarize(rates)
    assert first["images_per_second"] == 4 and first["ratio"] == {"median": 1, "min": 1, "max": 1}
    assert second["ratio"] == {"median": 1.2, "min": 0.75, "max": 2}


def test_every_side_delivers_the_same_images(tmp_path):
    images = synthetic_images(12, 16)
    sides, _ = jaxgan_sides(tmp_path, images, 12)
    means = {}
    for name, batches in sides.items():
        stream = batches()
        batch = next(stream)["images"]
        stream.close()
        assert batch.shape == (1, 12, 16, 16, 3)
        means[name] = np.sort(batch[0].mean((1, 2, 3)))  # of each image; neither order nor flips matter
    assert {"arrays in memory", "packed:", "packed:, from disk", "folder: of JPEGs"} <= set(means)
    for name, found in means.items():
        np.testing.assert_allclose(found, means["arrays in memory"], atol=1.5 if "JPEG" in name else 0)


def test_images_are_smooth_and_use_the_whole_range():
    images = synthetic_images(20, 32).astype(int)
    assert images.min() < 20 and images.max() > 235
    assert np.abs(np.diff(images, axis=2)).mean() < 20  # of noise: 85


def test_command_line(tmp_path, capsys):
    path = tmp_path / "x.json"
    argv = ["--resolutions", "8", "--num_images=16", "--batch_size=4", "--rounds=1", "--seconds=0.01", f"--json={path}"]
    assert data_sources.main(argv) == 0
    printed = capsys.readouterr().out
    assert "8 x 8" in printed and "arrays in memory" in printed and "tf.data" in printed
    report = json.loads(Path(path).read_text())
    assert report["rounds"] == 1 and report["results"][0]["resolution"] == 8
    rates = [side["images_per_second"] for side in report["results"][0]["sides"]]
    assert len(rates) >= 5 and all(value > 0 for value in itertools.chain(rates))
