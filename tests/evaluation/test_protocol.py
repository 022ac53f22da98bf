"""The protocol's text: canonical, readable back, and the differences that matter."""

import dataclasses

import pytest
from absl import logging

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.protocol import Protocol, differences, warn_if_unlike

FULL = Protocol(
    extractor="inception-2015-12-05-6726825d",
    dims=2048,
    resizer="tf1",
    reference="cifar10:data",
    split="train",
    fingerprint="0123456789abcdef",
    preprocessing="crop=none, resolution=32, channels=3",
    num_reference=50_000,
    num_samples=10_000,
    direction="a2b",
    inputs="fedcba9876543210",
    weights="ema",
    bn="standing:64",
    truncation="none",
    seed=0,
    is_splits=10,
    kid_subsets=100,
    kid_subset_size=1000,
    k=5,
    classifier="small",
    notes="one|two",
)


def test_the_text_is_one_line_of_all_fields():
    text = str(FULL)
    assert text.startswith("jaxgan-eval; extractor=inception-2015-12-05-6726825d; dims=2048; resizer=tf1; ")
    assert text.endswith("; version=1") and "\n" not in text
    for field in dataclasses.fields(FULL):
        assert f"; {field.name}=" in text
    folder = Protocol(extractor="x", dims=64, num_samples=7)
    assert str(folder) == "jaxgan-eval; extractor=x; dims=64; num_samples=7; version=1"


@pytest.mark.parametrize("reference", ["folder:a; b=c", "100%3B", "two\nlines\r", "=;%;", "ü; "])
def test_any_text_is_read_back(reference):
    protocol = dataclasses.replace(FULL, reference=reference, split=None)
    assert Protocol.parse(str(protocol)) == protocol
    assert "\n" not in str(protocol)


def test_fields_of_a_newer_version_are_passed_over():
    newer = Protocol.parse(str(FULL).replace("version=1", "version=2; mood=good"))
    assert newer == dataclasses.replace(FULL, version=2)
    assert differences(FULL, newer) == {"version": (1, 2)}


@pytest.mark.parametrize(
    "text",
    ["", "fid 3.2", "jaxgan-eval; dims=3", "other; extractor=x; dims=3; version=1", str(FULL).replace("2048", "x")],
)
def test_other_text_is_refused(text):
    with pytest.raises(EvaluationError, match="is no protocol"):
        Protocol.parse(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("extractor", "inception-00000000"),
        ("dims", 768),
        ("resizer", "clean"),
        ("preprocessing", "crop=center"),
        ("num_reference", 10_000),
        ("num_samples", 50_000),
        ("direction", "b2a"),
        ("inputs", "f" * 16),
        ("weights", "raw"),
        ("bn", "running"),
        ("truncation", "0.5"),
        ("is_splits", 1),
        ("kid_subsets", 1),
        ("kid_subset_size", 50_000),
        ("k", 3),
        ("classifier", "resnet"),
        ("version", 2),
        ("fingerprint", "f" * 16),
    ],
)
def test_what_makes_scores_incomparable(field, value):
    other = dataclasses.replace(FULL, **{field: value})
    assert differences(FULL, other) == {field: (getattr(FULL, field), value)}
    assert differences(FULL, FULL) == {}


def test_what_does_not():
    for change in (
        {"seed": 1},
        {"notes": None},
        {"notes": "three"},
        {"kid_subsets": None},
        {"weights": None, "k": None},
    ):
        assert differences(FULL, dataclasses.replace(FULL, **change)) == {}
    moved = dataclasses.replace(FULL, reference="folder:elsewhere", split="all")
    assert differences(FULL, moved) == {}
    unknown = dataclasses.replace(FULL, fingerprint=None, split="test")
    assert differences(unknown, FULL) == {"split": ("test", "train")}


def test_extraction_is_what_features_of_the_reference_depend_on():
    keys = {FULL.extraction()}
    for change in ({"extractor": "x"}, {"dims": 64}, {"resizer": "clean"}, {"resizer": None}, {"num_reference": 9},
                   {"preprocessing": "crop=center"}, {"version": 2}):  # fmt: skip
        keys.add(dataclasses.replace(FULL, **change).extraction())
    assert len(keys) == 8
    same = dataclasses.replace(FULL, seed=7, k=3, weights="raw", num_samples=5, notes=None, kid_subsets=1)
    assert same.extraction() == FULL.extraction()


def test_unlike_scores_side_by_side_warn(monkeypatch):
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: warnings.append(text % args))
    a = dataclasses.replace(FULL, resizer="clean", num_samples=50_000)
    b = dataclasses.replace(FULL, resizer="bilinear")
    message = warn_if_unlike([FULL, str(a), str(FULL), b])
    assert warnings == [message]
    assert message and "resizer (tf1 / clean / bilinear), num_samples (10000 / 50000);" in message
    assert warn_if_unlike([str(FULL), dataclasses.replace(FULL, seed=3)]) is None
    assert warn_if_unlike([FULL]) is None and warn_if_unlike([]) is None and len(warnings) == 1
