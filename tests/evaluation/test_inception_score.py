"""The inception score against closed forms, a plain re-statement, and torch-fidelity where installed."""

import numpy as np
import pytest

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.inception_score import inception_score


def plain(logits, splits):
    """Softmax, marginal and divergence written out, image by image."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p = p[np.random.RandomState(2020).permutation(len(p))]
    scores = []
    for i in range(splits):
        part = p[i * len(p) // splits : (i + 1) * len(p) // splits]
        marginal = sum(part) / len(part)
        divergences = [sum(q * np.log(q / m) for q, m in zip(row, marginal, strict=True)) for row in part]
        scores.append(np.exp(np.mean(divergences)))
    return np.mean(scores), np.std(scores)


@pytest.mark.parametrize(("count", "splits"), [(40, 1), (43, 4), (10, 10)])
def test_against_the_definition(count, splits):
    logits = np.random.default_rng(0).normal(size=(count, 7)) * 3
    np.testing.assert_allclose(inception_score(logits, splits=splits), plain(logits, splits), rtol=1e-12)


def test_undecided_images_score_one_and_decided_ones_the_number_of_classes():
    assert inception_score(np.full((50, 8), 3.0)) == pytest.approx((1.0, 0.0))
    decided = np.tile(np.eye(8) * 1e3, (20, 1))  # exp would overflow
    assert inception_score(decided, splits=1) == pytest.approx((8.0, 0.0))


def test_adding_a_constant_to_an_image_changes_nothing():
    logits = np.random.default_rng(1).normal(size=(30, 5))
    shifted = logits + np.linspace(-5e3, 5e3, 30)[:, None]
    np.testing.assert_allclose(inception_score(shifted), inception_score(logits), rtol=1e-9)


def test_a_set_sorted_by_class_is_shuffled_before_it_is_split():
    decided = np.repeat(np.eye(10) * 100, 100, axis=0)  # unshuffled, each split would hold one class: score 1
    mean, std = inception_score(decided)
    assert 9 < mean < 10 and 0 < std < 0.5


def test_float32_is_computed_in_float64():
    logits = np.random.default_rng(2).normal(size=(60, 9)).astype(np.float32)
    assert inception_score(logits) == inception_score(logits.astype(np.float64))


def test_bad_input_is_refused():
    with pytest.raises(EvaluationError, match=r"IS splits \(=10\) must lie in 1 ... 9"):
        inception_score(np.zeros((9, 4)))
    with pytest.raises(EvaluationError, match="IS splits"):
        inception_score(np.zeros((9, 4)), splits=0)
    with pytest.raises(EvaluationError, match="logits of 9 of 9 images are NaN"):
        inception_score(np.full((9, 4), np.nan), splits=1)


def test_against_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_isc")
    torch = pytest.importorskip("torch")
    logits = np.random.default_rng(3).normal(size=(103, 12)).astype(np.float32) * 2
    expected = metric.isc_features_to_metric(torch.tensor(logits), splits=10)
    found = inception_score(logits)
    assert found == pytest.approx((expected["inception_score_mean"], expected["inception_score_std"]), abs=1e-9)
