"""Features of all images, whatever the batches and processes; files of features and what can be wrong with them."""

import types

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.extraction import Keep, extract, read_features
from jaxgan.evaluation.features import CallableExtractor

RNG = np.random.default_rng(1)
IMAGES = RNG.integers(0, 256, (13, 3, 3, 1), np.uint8)
LABELS = np.arange(13, dtype=np.int32) % 4
WEIGHTS = RNG.normal(size=(9, 5)).astype(np.float32)
ALL = Keep(features=True, logits=True, images=True)


def project(images):
    features = images.reshape(len(images), -1).astype(np.float32) @ WEIGHTS
    return features, -features[:, :2]


EXTRACTOR = CallableExtractor("projection", project)


def image_set(num_classes=4):
    def batches(size):
        return ((IMAGES[i : i + size], LABELS[i : i + size]) for i in range(0, len(IMAGES), size))

    return types.SimpleNamespace(name="mine", num=13, num_classes=num_classes, class_names=(), batches=batches)


def test_all_that_was_asked_for_is_kept():
    seen = []
    found = extract(image_set(), EXTRACTOR, ALL, batch_size=5, progress=seen.append)
    np.testing.assert_allclose(found.features, project(IMAGES)[0], rtol=1e-5)
    np.testing.assert_allclose(found.logits, project(IMAGES)[1], rtol=1e-5)
    assert np.array_equal(found.images, IMAGES) and np.array_equal(found.labels, LABELS) and seen == [5, 5, 3]
    np.testing.assert_allclose(found.moments.covariance, np.cov(project(IMAGES)[0], rowvar=False), rtol=1e-5)


def test_nothing_else_is_kept():
    found = extract(image_set(), EXTRACTOR, Keep(), batch_size=5)
    assert (found.features, found.logits, found.images, found.labels) == (None, None, None, None)
    assert found.moments.count == 13
    assert extract(image_set(0), EXTRACTOR, ALL, batch_size=5).labels is None, "zeros that mean nothing"


def test_images_without_a_network():
    found = extract(image_set(), None, Keep(images=True), batch_size=5)
    assert found.moments.count == 0 and found.features is None
    assert np.array_equal(found.images, IMAGES) and np.array_equal(found.labels, LABELS)


def test_logits_that_are_missing():
    extractor = CallableExtractor("half", lambda images: project(images)[0])
    with pytest.raises(EvaluationError, match="half gives no logits, which the metric `is` needs"):
        extract(image_set(), extractor, Keep(logits=True), batch_size=5)


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_processes_share_each_batch(monkeypatch, processes):
    """Every process runs its part; together the parts are the batch, in order."""
    calls = []

    def gather(values):  # what the other processes would have sent, by running them here
        index, parts = jax.process_index(), []
        calls.append(len(values))
        size = len(values)
        for other in range(processes):
            rows = np.minimum(other * size + np.arange(size), len(IMAGES) - 1)
            parts.append(project(IMAGES[rows])[0 if values.shape[1] == 5 else 1])
        np.testing.assert_allclose(parts[index], values, rtol=1e-5)
        return np.stack(parts)

    monkeypatch.setattr(jax, "process_count", lambda: processes)
    monkeypatch.setattr(multihost_utils, "process_allgather", gather)
    for index in range(processes):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        found = extract(image_set(), EXTRACTOR, ALL, batch_size=13)
        np.testing.assert_allclose(found.features, project(IMAGES)[0], rtol=1e-5)
        np.testing.assert_allclose(found.logits, project(IMAGES)[1], rtol=1e-5)
    assert set(calls) == {-(-13 // processes)}, "no process runs the whole batch"


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_files_of_features(tmp_path):
    features = RNG.normal(size=(6, 3)).astype(np.float32)
    path = save(tmp_path / "a.npz", features=features, logits=features[:, :2], labels=np.arange(6), more=features)
    found, fingerprint = read_features(path)
    assert np.array_equal(found.features, features) and np.array_equal(found.logits, features[:, :2])
    assert found.labels.tolist() == list(range(6)) and found.moments.count == 6
    np.testing.assert_allclose(found.moments.mean, features.mean(0), rtol=1e-5)
    assert read_features(save(tmp_path / "b.npz", features=features))[1] != fingerprint
    assert read_features(save(tmp_path / "c.npz", features=features + 1))[1] != fingerprint


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"pixels": np.zeros((3, 2))}, "has no array `features`; write it with"),
        ({"features": np.zeros(3)}, r"`features` in .* has shape \(3,\)"),
        ({"features": np.zeros((3, 2)), "logits": np.zeros((4, 2))}, r"`logits` in .* one row for each of 3 images"),
        ({"features": np.zeros((3, 2)), "labels": np.zeros((3, 1))}, r"`labels` in .* has shape \(3, 1\)"),
        ({"features": np.full((3, 2), np.nan)}, r"`features` in .* of 3 of 3 images are NaN"),
    ],
)
def test_files_of_something_else(tmp_path, arrays, text):
    with pytest.raises(EvaluationError, match=text):
        read_features(save(tmp_path / "a.npz", **arrays))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(EvaluationError, match="does not exist; give an .npz file"):
        read_features(tmp_path / "absent.npz")
    whole = save(tmp_path / "whole.npz", features=np.ones((99, 9))).read_bytes()
    for content in (b"", b"text", whole[:500]):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(EvaluationError, match=r"a.npz cannot be read as .npz \("):
            read_features(tmp_path / "a.npz")
    np.save(tmp_path / "one.npy", np.ones(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(EvaluationError, match="cannot be read as .npz"):
        read_features(tmp_path / "one.npz")
