"""The cache of reference statistics: the same bits again, never another set's or protocol's, no harm from damage."""

import os

import numpy as np
import pytest
from absl import logging

from jaxgan.evaluation.reference import Reference, ReferenceCache
from jaxgan.evaluation.statistics import Moments

FEATURES = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
LABELS = np.arange(20, dtype=np.int32) % 3


def reference(features=FEATURES, *, keep_features=False, labels=None):
    moments = Moments()
    moments.update(features)
    return Reference(moments, features if keep_features else None, labels)


class Compute:
    """Counts its calls."""

    def __init__(self, result):
        self.result, self.calls = result, 0

    def __call__(self):
        self.calls += 1
        return self.result


@pytest.fixture
def cache(tmp_path):
    return ReferenceCache(tmp_path / "deep" / "cache")


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: found.append(text % args))
    return found


def test_the_second_time_nothing_is_computed_and_the_bits_are_the_same(cache, warnings):
    compute = Compute(reference(keep_features=True, labels=LABELS))
    cache.get("f", "p", compute)
    again = ReferenceCache(cache.folder).get("f", "p", compute, need_features=True, need_labels=True)
    assert compute.calls == 1 and not warnings
    assert np.array_equal(again.moments.covariance, compute.result.moments.covariance)
    assert np.array_equal(again.moments.mean, compute.result.moments.mean) and again.moments.count == 20
    assert np.array_equal(again.features, FEATURES) and again.features.dtype == np.float32
    assert np.array_equal(again.labels, LABELS)
    assert [name[-4:] for name in os.listdir(cache.folder)] == [".npz"]


def test_another_set_or_protocol_is_computed_anew(cache):
    compute = Compute(reference())
    for _ in range(2):
        for fingerprint, extraction in (("f", "p"), ("g", "p"), ("f", "q"), ("f\nq", "p"), ("", "f\np")):
            cache.get(fingerprint, extraction, compute)
    assert compute.calls == 5


def test_an_entry_under_a_wrong_name_is_not_used(cache, warnings):
    cache.save("f", "p", reference())
    os.replace(cache.path("f", "p"), cache.path("f", "q"))
    assert cache.load("f", "q") is None
    assert "is not used and computed again: it belongs to another reference set, protocol" in warnings[0]


def test_an_entry_without_what_is_needed_is_replaced(cache):
    cache.get("f", "p", Compute(reference()))
    full = Compute(reference(keep_features=True))
    assert cache.get("f", "p", full).features is None and full.calls == 0
    assert cache.get("f", "p", full, need_features=True).features is not None and full.calls == 1
    assert cache.get("f", "p", full, need_features=True).features is not None and full.calls == 1
    labelled = Compute(reference(keep_features=True, labels=LABELS))
    assert cache.get("f", "p", labelled, need_labels=True).labels is not None and labelled.calls == 1


def truncate(data):
    return data[: len(data) // 2]


def flip(data):
    at = data.index(FEATURES.tobytes()[:16])  # in the stored features
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def empty(data):
    return b""


def other(data):
    return b"not a zip at all"


@pytest.mark.parametrize("damage", [truncate, flip, empty, other])
def test_a_damaged_file_is_reported_and_computed_again(cache, warnings, damage):
    compute = Compute(reference(keep_features=True))
    cache.get("f", "p", compute)
    path = cache.path("f", "p")
    path.write_bytes(damage(path.read_bytes()))
    again = cache.get("f", "p", compute)
    assert compute.calls == 2 and len(warnings) == 1 and str(path) in warnings[0]
    assert again is compute.result
    cache.get("f", "p", compute)
    assert compute.calls == 2


@pytest.mark.parametrize(
    "arrays",
    [
        {"mean": np.zeros(3)},
        {"scatter": np.full((4, 4), np.inf)},
        {"features": np.zeros((19, 4))},
        {"labels": np.zeros(19, int)},
        {"header": np.array(["format 0", "f", "p"])},
        {"header": np.array({}, dtype=object)},
    ],
)
def test_a_file_of_wrong_content_is_computed_again(cache, warnings, arrays):
    cache.save("f", "p", reference(keep_features=True, labels=LABELS))
    path = cache.path("f", "p")
    with np.load(path) as file:
        content = dict(file)
    np.savez(path, **(content | arrays))
    assert cache.load("f", "p") is None and len(warnings) == 1


def test_a_disk_that_refuses_costs_only_time(cache, warnings):
    cache.folder.parent.write_text("a file where the folder should be")
    compute = Compute(reference())
    assert cache.get("f", "p", compute) is compute.result
    assert any("cannot be written" in text for text in warnings)


def test_a_write_that_fails_leaves_the_old_entry(cache, warnings, monkeypatch):
    cache.save("f", "p", reference())
    before = cache.path("f", "p").read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    cache.save("f", "p", reference(FEATURES + 1))
    assert "No space left" in warnings[0]
    assert cache.path("f", "p").read_bytes() == before and len(os.listdir(cache.folder)) == 1
