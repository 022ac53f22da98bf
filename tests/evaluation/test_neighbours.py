"""Nearest neighbours against the whole matrix of distances, in any batches; ties, masks and bad vectors."""

import numpy as np
import pytest

from jaxgan.evaluation import neighbours
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.neighbours import nearest


def stream(features, size, allowed=None):
    for start in range(0, len(features), size):
        rows = slice(start, start + size)
        numbers = np.arange(len(features))[rows]
        yield features[rows], numbers, None if allowed is None else allowed[:, rows]


def reference(queries, features, k):
    distances = ((queries[:, None].astype(np.float64) - features[None]) ** 2).sum(-1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


@pytest.mark.parametrize("size", [1, 7, 50, 64])
def test_against_the_whole_matrix(size, monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK_NUMBERS", 12)  # several blocks per batch
    rng = np.random.default_rng(0)
    queries, features = rng.standard_normal((3, 5)), rng.standard_normal((50, 5)).astype(np.float32)
    found = nearest(queries, stream(features, size), 9)
    order, distances = reference(queries, features, 9)
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)
    assert (np.diff(found.distances, axis=1) >= 0).all()


def test_an_equal_vector_has_distance_zero_though_others_are_large():
    features = np.float32([[1e4, 1], [1e4, 2], [1e4, 1 + 2**-10]])
    found = nearest(features[2:], stream(features, 2), 3)
    np.testing.assert_array_equal(found.indices[0], [2, 0, 1])
    assert found.distances[0][0] == 0 and found.distances[0][1] == pytest.approx(2**-20, rel=1e-6)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_ties_go_by_index_whatever_the_batches(size):
    features = np.float32([[1], [0], [1], [-1], [0], [1]])
    found = nearest(np.float32([[0]]), stream(features, size), 4)
    np.testing.assert_array_equal(found.indices[0], [1, 4, 0, 2])
    backwards = list(stream(features, size))[::-1]
    np.testing.assert_array_equal(nearest(np.float32([[0]]), backwards, 4).indices[0], [1, 4, 0, 2])


def test_each_query_has_its_own_candidates():
    features = np.float32([[0], [1], [2], [3]])
    allowed = np.array([[False, True, False, True], [True, True, True, True], [False] * 4])
    found = nearest(np.float32([[0], [3], [0]]), stream(features, 3, allowed), 3)
    assert [list(indices) for indices in found.indices] == [[1, 3], [3, 2, 1], []]
    assert [list(distances) for distances in found.distances] == [[1, 9], [0, 1, 4], []]


def test_fewer_vectors_than_neighbours():
    found = nearest(np.zeros((2, 3)), stream(np.ones((2, 3)), 2), 15)
    assert [list(indices) for indices in found.indices] == [[0, 1], [0, 1]]
    assert [len(part) for part in nearest(np.zeros((1, 3)), [], 15).indices] == [0]


def test_vectors_that_do_not_fit():
    with pytest.raises(EvaluationError, match=r"shape \(2, 4\)\) must be \(N, 3\)"):
        nearest(np.zeros((1, 3)), stream(np.zeros((2, 4)), 2), 1)
    for queries, features in (([[np.nan]], [[0.0]]), ([[0.0]], [[np.inf]])):
        with pytest.raises(EvaluationError, match="not finite"):
            nearest(np.array(queries), stream(np.array(features), 1), 1)
