"""KID against the definition written as loops, and torch-fidelity where installed."""

import numpy as np
import pytest

from jaxgan.evaluation import kid as kid_lib
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.kid import kid


def features(count, dim=6, shift=0.0, seed=0):
    return (np.random.default_rng(seed).normal(size=(count, dim)) + shift).astype(np.float32)


def plain_mmd2(x, y):
    """Unbiased squared MMD: sums over pairs of different rows, one by one."""

    def kernel(a, b):
        return (float(np.dot(a.astype(np.float64), b)) / len(a) + 1.0) ** 3

    m, n = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    xy = sum(kernel(a, b) for a in x for b in y) / (m * n)
    return xx + yy - 2 * xy


@pytest.mark.parametrize("block", [3, 7, 2048])
def test_whole_sets_against_the_definition(block, monkeypatch):
    monkeypatch.setattr(kid_lib, "_BLOCK", block)
    x, y = features(17), features(13, shift=0.5, seed=1)
    rows = []
    value, std = kid(x, y, subsets=1, subset_size=17, progress=rows.append)
    assert value == pytest.approx(plain_mmd2(x, y), rel=1e-12) and std == 0.0
    assert sum(rows) == 17 + 13 and max(rows) <= block


def test_whole_sets_have_no_order():
    x, y = features(40), features(40, shift=0.2, seed=1)
    order = np.random.default_rng(2).permutation(40)
    whole = {"subsets": 1, "subset_size": 10_000}
    assert kid(x[order], y, **whole)[0] == pytest.approx(kid(x, y[order], **whole)[0], rel=1e-12)
    assert kid(x, y, **whole, seed=1) == kid(x, y, **whole, seed=2)


def test_subsets_are_the_draws_of_one_generator_the_generated_set_first():
    x, y = features(30), features(25, shift=0.3, seed=1)
    draws, values, done = np.random.RandomState(7), [], []
    for _ in range(4):
        fake = y[draws.choice(25, 10, replace=False)]
        values.append(plain_mmd2(x[draws.choice(30, 10, replace=False)], fake))
    found = kid(x, y, subsets=4, subset_size=10, seed=7, progress=done.append)
    assert found == pytest.approx((np.mean(values), np.std(values)), rel=1e-10)
    assert done == [1, 1, 1, 1]
    assert kid(x, y, subsets=4, subset_size=10, seed=8) != found


def test_it_is_unbiased():
    # Sets of one distribution: the mean over many subsets is near zero on both sides of it.
    value, std = kid(features(3000), features(3000, seed=1), subsets=50, subset_size=100)
    assert abs(value) < 4 * std / np.sqrt(50)
    values = [kid(features(60, seed=s), features(60, seed=s + 50), subsets=1, subset_size=60)[0] for s in range(40)]
    assert min(values) < 0 < max(values)


def test_sums_are_taken_in_float64():
    x, y = features(500, dim=64, shift=3.0), features(500, dim=64, shift=3.0, seed=1)
    exact = kid(x.astype(np.float64), y.astype(np.float64), subsets=1, subset_size=500)
    assert kid(x, y, subsets=1, subset_size=500) == exact


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset_size": 26}, r"kid_subset_size \(=26\) must be at most 25.*kid_subset_size 30\)"),
        ({"subsets": 0}, "at least 1 subset of 2 images"),
        ({"subset_size": 1}, "at least 1 subset of 2 images"),
        ({"subsets": 1, "subset_size": 29}, "must be at most 25"),
    ],
)
def test_bad_subsets_are_refused(options, message):
    with pytest.raises(EvaluationError, match=message):
        kid(features(30), features(25, seed=1), **options)


def test_sets_of_other_features_or_one_image_are_refused():
    with pytest.raises(EvaluationError, match="same extractor"):
        kid(features(30), features(30, dim=5), subset_size=10)
    with pytest.raises(EvaluationError, match="and 1 images needs"):
        kid(features(30), features(1), subsets=1)


def test_against_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    torch = pytest.importorskip("torch")
    x, y = features(300), features(200, shift=0.2, seed=1)
    expected = metric.kid_features_to_metric(
        torch.tensor(y).double(), torch.tensor(x).double(), kid_subsets=5, kid_subset_size=100, verbose=False
    )
    names = ("kernel_inception_distance_mean", "kernel_inception_distance_std")
    assert kid(x, y, subsets=5, subset_size=100) == pytest.approx([expected[name] for name in names], rel=1e-9)
