"""Reading what a run wrote, also while it is writing; and pictures within their budget of bytes."""

import base64
import io
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from jaxgan.commands.report_pictures import enlarge, picture
from jaxgan.commands.report_records import finite, group_protocols, read_evaluations, read_metrics
from jaxgan.commands.report_samples import _spread


def test_metrics_line_by_line(tmp_path):
    assert read_metrics(tmp_path) == {} and read_evaluations(tmp_path) == []
    lines = [
        '{"step": 1, "a": 2, "b": "NaN", "text": "no number", "flag": true, "list": [1]}',
        "not json",
        "[1, 2]",
        '{"a": 5}',
        '{"step": "3", "a": 5}',
        '{"step": 2, "a": -0.5, "b": "-Infinity"}',
        '{"step": 3, "a": 1',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    found = read_metrics(tmp_path)
    assert set(found) == {"a", "b"} and found["a"] == [(1, 2.0), (2, -0.5)]
    assert math.isnan(found["b"][0][1]) and found["b"][1] == (2, -math.inf)
    assert finite(found["b"]) == [] and finite(found["a"]) == found["a"]


def test_evaluations_by_step(tmp_path):
    rows = [
        {"step": 20, "fid": 3.5, "is_std": 0.5, "protocol": "p", "other": 1},
        {"step": 10, "fid": 4, "unknown": 5, "protocol": "q"},
        {"step": 30, "fid": None, "protocol": "p"},
        {"step": 40, "fid": 1},
    ]
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_evaluations(tmp_path)
    assert [(row["step"], row["scores"]) for row in found] == [
        (10, {"fid": 4}),
        (20, {"fid": 3.5, "is_std": 0.5}),
        (30, {}),
    ]
    assert [row["protocol"] for row in found] == ["q", "p", "p"]


def test_protocols_that_can_be_compared_share_a_group():
    text = "jaxgan-eval; extractor=e; dims=64; num_samples={}; seed={}; version=1"
    protocols = [text.format(10, 0), "free words", text.format(20, 0), text.format(10, 7), "free words", "others"]
    assert group_protocols(protocols) == [[0, 3], [1, 4], [2], [5]]


def decode(element):
    kind, text = re.search(r'src="data:image/(\w+);base64,([^"]*)"', element).groups()
    data = base64.b64decode(text)
    return kind, len(data), Image.open(io.BytesIO(data))


def test_small_pictures_keep_their_bits(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    kind, _, image = decode(picture(pixels, "alt", budget=10_000))
    assert kind == "png" and np.array_equal(np.asarray(image), pixels)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    element = picture(tmp_path / "a.png", 'a "b" <c>', budget=10_000, attributes='data-step="3"')
    assert base64.b64encode((tmp_path / "a.png").read_bytes()).decode() in element
    assert 'alt="a &quot;b&quot; &lt;c&gt;" width="20" height="12" data-step="3">' in element


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_large_pictures_are_brought_within_the_budget(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (512, 640, channels), np.uint8)
    element = picture(pixels, "noise", budget=40_000)
    kind, size, image = decode(element)
    assert kind == "webp" and size <= 40_000 and 'width="640" height="512"' in element
    assert image.size[0] * 4 == image.size[1] * 5, "the proportions stay"
    smooth = np.broadcast_to(np.linspace(0, 255, 640)[None, :, None], (512, 640, 3)).round().astype(np.uint8)
    kind, size, image = decode(picture(smooth, "ramp", budget=1000))
    shown = np.asarray(image.resize((640, 512)).convert("RGB")).astype(int)
    assert kind == "webp" and np.abs(shown - smooth).mean() < 6


def test_a_file_that_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(OSError):
        picture(tmp_path / "a.png", "alt", budget=1000)


def test_enlarging_repeats_pixels():
    images = np.arange(12, dtype=np.uint8).reshape(1, 2, 3, 2)
    large = enlarge(images, 5)
    assert large.shape == (1, 6, 9, 2)
    np.testing.assert_array_equal(large[:, 1::3, 1::3], images)
    assert enlarge(images, 1) is not None and enlarge(images, 1).shape == images.shape


def test_steps_are_spread_evenly():
    assert _spread([1, 2, 3], 5) == [1, 2, 3] and _spread([], 5) == []
    assert _spread(range(101), 5) == [0, 25, 50, 75, 100]
