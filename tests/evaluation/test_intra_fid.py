"""Intra-class FID: FID per class, averaged, with the classes that have none named."""

import numpy as np
import pytest

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.fid import frechet_distance
from jaxgan.evaluation.intra_fid import intra_fid


def features(count, seed, dim=3):
    return np.random.default_rng(seed).normal(size=(count, dim)) + seed


def distance(x, y):
    return frechet_distance(x.mean(axis=0), np.cov(x, rowvar=False), y.mean(axis=0), np.cov(y, rowvar=False))


def test_each_class_is_compared_with_its_own():
    real, fake = features(60, 0), features(45, 1)
    real_labels, fake_labels = np.arange(60) % 3, np.repeat([2, 0, 1], [10, 15, 20])
    steps = []
    found = intra_fid(real, real_labels, fake, fake_labels, progress=steps.append)
    expected = {c: distance(real[real_labels == c], fake[fake_labels == c]) for c in range(3)}
    assert found.per_class == pytest.approx(expected)
    assert found.score == pytest.approx(np.mean(list(expected.values())))
    assert found.left_out == {} and found.notes == () and steps == [1, 1, 1]


def test_classes_shifted_in_opposite_directions_do_not_cancel():
    real, labels = features(400, 0), np.arange(400) % 2
    swapped = real + np.where(labels == 0, 5.0, -5.0)[:, None]
    assert intra_fid(real, labels, swapped, labels).score == pytest.approx(75.0)


def test_classes_with_too_few_images_are_left_out_and_named():
    real_labels = np.repeat([0, 1, 2, 3], [9, 9, 1, 9])
    fake_labels = np.repeat([0, 1, 2, 4], [9, 1, 0, 3])
    real, fake = features(28, 0), features(13, 1)
    found = intra_fid(real, real_labels, fake, fake_labels, class_names=("ant", "bee", "cat", "dog"))
    assert set(found.per_class) == {0}
    assert found.left_out == {
        1: "1 generated images",
        2: "1 reference and 0 generated images",
        3: "0 generated images",
        4: "0 reference images",
    }
    assert found.score == found.per_class[0]
    assert len(found.notes) == 1
    assert "leaves out 4 classes" in found.notes[0] and "bee (1 generated images)" in found.notes[0]
    assert "4 (0 reference images)" in found.notes[0]


def test_many_left_out_classes_are_shortened():
    labels = np.concatenate([np.zeros(4, int), np.arange(1, 9)])
    found = intra_fid(features(12, 0), labels, features(12, 1), labels)
    assert found.notes[0].endswith("5 (1 reference and 1 generated images) and 3 more")


def test_fewer_images_than_features_is_noted():
    labels = np.repeat([0, 1], [3, 30])
    found = intra_fid(features(33, 0), labels, features(33, 1), labels)
    assert len(found.notes) == 1 and "1 of 2 classes have at most 3 images" in found.notes[0]


def test_bad_input_is_refused():
    real, labels = features(4, 0), np.arange(4)
    with pytest.raises(EvaluationError, match="none of 4 has them"):
        intra_fid(real, labels, real, labels)
    with pytest.raises(EvaluationError, match=r"generated labels \(int64, shape \(3,\)\) must be 4 integers"):
        intra_fid(real, labels, real, labels[:3])
    with pytest.raises(EvaluationError, match=r"reference labels \(float64"):
        intra_fid(real, labels * 1.0, real, labels)
    with pytest.raises(EvaluationError, match=r"must be \(D,\)"):
        intra_fid(np.eye(4), labels // 2, np.ones((4, 3)), labels // 2)
