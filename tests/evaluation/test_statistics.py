"""Streaming moments against NumPy, whatever the batches, the merging and the processes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils

from jaxgan.evaluation import statistics
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.statistics import Moments


def moments_of(*batches):
    moments = Moments()
    for batch in batches:
        moments.update(batch)
    return moments


def features(count, dim=5, offset=0.0, seed=0):
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(count, dim)) @ generator.normal(size=(dim, dim)) + offset).astype(np.float64)


def assert_moments(moments, rows, rtol=1e-12):
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=rtol)
    expected = np.cov(rows, rowvar=False)
    np.testing.assert_allclose(moments.covariance, expected, rtol=0, atol=rtol * np.abs(expected).max())


@pytest.mark.parametrize("count", [2, 7, 1024, 2500])
def test_mean_and_covariance_are_those_of_numpy(count):
    rows = features(count)
    assert_moments(moments_of(*np.array_split(rows, max(1, count // 90))), rows)


def test_batches_do_not_change_a_bit(monkeypatch):
    monkeypatch.setattr(statistics, "_BLOCK", 16)
    rows = features(100)
    whole = moments_of(rows)
    for cuts in ([1], [15, 16, 17], [50, 50, 99], list(range(1, 100))):
        pieces = moments_of(*np.split(rows, cuts))
        assert np.array_equal(pieces.mean, whole.mean) and np.array_equal(pieces.covariance, whole.covariance)
    assert_moments(whole, rows)


def test_a_far_mean_does_not_cancel_the_digits():
    # E[x^2] - E[x]^2 would keep no digit: squares of 1e16 against a variance of 1.
    rows = features(3000, offset=1e8)
    assert_moments(moments_of(*np.array_split(rows, 7)), rows, rtol=1e-7)
    exact = np.cov(rows - 1e8, rowvar=False)
    np.testing.assert_allclose(moments_of(rows).covariance, exact, atol=1e-7 * exact.max(), rtol=0)


def test_float16_and_float32_are_accumulated_in_float64():
    rows = features(2000).astype(np.float32)
    assert_moments(moments_of(rows), rows.astype(np.float64))
    assert moments_of(rows.astype(np.float16)).mean.dtype == np.float64


def test_reading_does_not_disturb_and_buffers_may_be_reused():
    rows = features(40)
    buffer, moments = np.empty((10, 5)), Moments()
    for start in range(0, 40, 10):
        buffer[:] = rows[start : start + 10]
        moments.update(buffer)
        if start:
            assert moments.covariance.shape == (5, 5)
    assert_moments(moments, rows)


def test_merging_is_joining(monkeypatch):
    monkeypatch.setattr(statistics, "_BLOCK", 16)
    rows = features(90, offset=3.0)
    a, b, empty = moments_of(rows[:61]), moments_of(rows[61:]), Moments()
    assert_moments(a.merge(b), rows)
    assert_moments(b.merge(a), rows)
    assert_moments(a, rows[:61])
    assert_moments(empty.merge(a), rows[:61])
    assert_moments(a.merge(empty), rows[:61])


def test_one_process_is_all_processes():
    moments = moments_of(features(10))
    assert moments.all_processes() is moments


def test_processes_join_their_rows_in_float64(monkeypatch):
    rows, mine = features(50, offset=1e6), slice(0, 30)
    others = [moments_of(rows[30:]), Moments()]  # one process has seen nothing

    def allgather(x):
        # As in JAX: arrays pass through jnp, which makes float32 of float64.
        if x.nbytes == 8:
            return jnp.stack(
                [jnp.asarray(v) for v in (x, *(np.array([d], np.float64).view(np.uint32) for d in (5, 0)))]
            )
        zeros = np.zeros(31)
        filled = others[0].to_arrays()
        theirs = np.concatenate([filled["count"], filled["mean"], filled["scatter"].ravel()])
        return jnp.stack([jnp.asarray(v) for v in (x, theirs.view(np.uint32), zeros.view(np.uint32))])

    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(multihost_utils, "process_allgather", allgather)
    assert_moments(moments_of(rows[mine]).all_processes(), rows, rtol=1e-9)


def test_arrays_restore_the_same_bits():
    moments = moments_of(features(77))
    again = Moments.from_arrays(moments.to_arrays())
    assert again.count == 77 and np.array_equal(again.covariance, moments.covariance)
    again.update(features(30, seed=1))
    assert_moments(again, np.concatenate([features(77), features(30, seed=1)]))


@pytest.mark.parametrize(
    "change", [{"mean": np.zeros(4)}, {"scatter": np.full((5, 5), np.nan)}, {"count": np.zeros(2)}]
)
def test_arrays_that_are_no_moments_are_refused(change):
    with pytest.raises(EvaluationError, match=r"must be finite \(1,\), \(D,\), \(D, D\)"):
        Moments.from_arrays(moments_of(features(9)).to_arrays() | change)


def test_bad_features_are_named():
    spoiled = features(9)
    spoiled[4, 2], spoiled[6, 0] = np.nan, np.inf
    with pytest.raises(EvaluationError, match=r"features of 2 of 9 images are NaN or infinite \(first: row 4\)"):
        moments_of(spoiled)
    with pytest.raises(EvaluationError, match=r"float64, shape \(5,\)"):
        moments_of(np.zeros(5))
    with pytest.raises(EvaluationError, match="6 dimensions cannot join moments of 5"):
        moments_of(features(9), features(9, dim=6))
    with pytest.raises(EvaluationError, match="6 dimensions cannot join moments of 5"):
        moments_of(features(9)).merge(moments_of(features(9, dim=6)))


def test_too_few_images_are_counted():
    with pytest.raises(EvaluationError, match="a covariance needs at least 2 images and got 1"):
        _ = moments_of(features(1)).covariance
    with pytest.raises(EvaluationError, match="a mean needs at least 1 images and got 0"):
        _ = Moments(5).mean
    with pytest.raises(EvaluationError, match="0 images"):
        _ = Moments().dim


def test_pairs_of_sets_have_one_number_of_features():
    with pytest.raises(EvaluationError, match="generated features of 4 dimensions .* reference features of 5"):
        statistics.feature_pair(features(3), features(3, dim=4))
