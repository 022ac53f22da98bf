"""Precision, recall, density and coverage against the definitions as loops, and the `prdc` package where installed."""

import numpy as np
import pytest

from jaxgan.evaluation import prdc as prdc_lib
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.prdc import prdc


def features(count, dim=6, shift=0.0, seed=0):
    return (np.random.default_rng(seed).normal(size=(count, dim)) + shift).astype(np.float32)


def plain(real, fake, k):
    """Each number from its definition, all distances from float64 differences."""

    def distances(x, y):
        return np.array([[np.sum((a - b) ** 2) for b in y] for a in x])

    real, fake = real.astype(np.float64), fake.astype(np.float64)
    real_balls = np.sort(distances(real, real), axis=1)[:, k]  # column 0 is the point itself
    fake_balls = np.sort(distances(fake, fake), axis=1)[:, k]
    between = distances(real, fake)
    held = between < real_balls[:, None]
    return {
        "precision": held.any(axis=0).mean(),
        "recall": (between < fake_balls[None, :]).any(axis=1).mean(),
        "density": held.sum(axis=0).mean() / k,
        "coverage": held.any(axis=1).mean(),
    }


@pytest.mark.parametrize(
    ("num_real", "num_fake", "k", "block"), [(45, 61, 3, 2**26), (61, 45, 1, 500), (40, 40, 39, 1)]
)
def test_against_the_definitions(num_real, num_fake, k, block, monkeypatch):
    monkeypatch.setattr(prdc_lib, "_BLOCK_ENTRIES", block)
    monkeypatch.setattr(prdc_lib, "_EXACT_ENTRIES", min(block, 64))
    real, fake = features(num_real), features(num_fake, shift=0.4, seed=1)
    rows = []
    assert prdc(real, fake, k=k, progress=rows.append) == pytest.approx(plain(real, fake, k), abs=1e-12)
    assert sum(rows) == 2 * num_real + num_fake


def test_float32_does_not_decide_close_cases():
    # Tight clusters far from each other: the float32 products keep few digits of the distances within one. Multiples
    # of a power of two keep the float64 values of both computations exact, ties included.
    generator = np.random.default_rng(0)
    centres = generator.integers(-40, 40, size=(4, 6)) * 8.0
    cluster, inside = generator.integers(4, size=110), generator.integers(-4, 4, size=(110, 6)) / 64
    real, fake = np.split(centres[cluster] + inside, [50])
    assert prdc(real, fake, k=3) == pytest.approx(plain(real, fake, 3), abs=1e-12)


def test_large_and_small_units():
    real, fake = features(40), features(40, shift=0.4, seed=1)
    expected = prdc(real, fake, k=3)
    assert prdc(real * 2.0**60, fake * 2.0**60, k=3) == expected
    assert prdc(real * 2.0**-60, fake * 2.0**-60, k=3) == expected


def test_a_set_against_itself():
    # Each ball holds its own centre and the k - 1 nearer points; the k-th lies on it, which is not within it.
    real = features(50)
    assert prdc(real, real.copy(), k=4) == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}


def test_a_point_on_a_ball_is_not_within_it():
    # On a line, k = 1: balls of radius 3 around 2 and 5, of radius 1 around 0 and 1. 2 lies on the ball around 1.
    far, near = np.array([[2.0], [5.0]]), np.array([[0.0], [1.0]])
    assert prdc(far, near, k=1) == {"precision": 1.0, "recall": 0.0, "density": 1.0, "coverage": 0.5}
    assert prdc(near, far, k=1) == {"precision": 0.0, "recall": 1.0, "density": 0.0, "coverage": 0.0}


def test_sets_far_apart_and_a_collapsed_generator():
    real = features(40)
    assert prdc(real, real + 1e3, k=3) == {"precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0}
    # All images equal to one real image: its own ball and those it is among the nearest of hold them all.
    found = prdc(real, np.tile(real[:1], (40, 1)), k=3)
    held = np.sum(np.sum((real - real[:1]) ** 2, axis=1) < np.sort(np.sum((real[:, None] - real[None]) ** 2, -1))[:, 3])
    assert found == {"precision": 1.0, "recall": 0.0, "density": held / 3, "coverage": held / 40}


def test_images_that_are_all_equal():
    black = np.zeros((20, 6), np.float32)
    assert prdc(black, black, k=3) == {"precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0}


def test_bad_input_is_refused():
    with pytest.raises(EvaluationError, match=r"k \(=5\) must lie in 1 ... 4, as the smaller set has 5 images"):
        prdc(features(9), features(5))
    with pytest.raises(EvaluationError, match=r"k \(=0\)"):
        prdc(features(9), features(9), k=0)
    with pytest.raises(EvaluationError, match="same extractor"):
        prdc(features(9), features(9, dim=5))


def test_against_the_prdc_package(capsys):
    package = pytest.importorskip("prdc")
    real, fake = features(300, dim=32), features(200, dim=32, shift=0.2, seed=1)
    assert prdc(real, fake, k=5) == pytest.approx(package.compute_prdc(real, fake, 5), abs=1e-3)
