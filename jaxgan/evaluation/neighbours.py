"""Exact nearest neighbours of a few feature vectors among many that stream by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxgan.evaluation.errors import EvaluationError

_BLOCK_NUMBERS = 2**22  # float64 numbers that are subtracted at a time (32 MB)


class Neighbours(NamedTuple):
    """Per query the nearest ones, ascending: int64 indices (k',) and float64 squared distances (k',), k' <= k."""

    indices: list[np.ndarray]
    distances: list[np.ndarray]


def nearest(queries: np.ndarray, batches: Iterable[tuple[Any, Any, Any]], k: int) -> Neighbours:
    """Finds the k nearest by squared L2 distance; memory does not depend on how many vectors stream by.

    Differences are taken and summed in float64, so equal vectors have distance 0. Equal distances are ordered by index,
    whatever the batches. Reference: the distance of nnabla-examples' `match.py`, whose script computes the order of the
    distances and then does not use it.

    Args:
      queries: finite, (Q, D).
      batches: (features (N, D), indices int (N,), allowed bool (Q, N) or None = all): the vectors, the numbers that
        they are known by, and which of them each query may have as neighbours.
      k: at least 1; a query with fewer allowed vectors gets those.

    Raises:
      EvaluationError: features of another width, or not finite.
    """
    queries = np.asarray(queries, np.float64)
    _check(queries, queries.shape[1])
    indices = [np.zeros(0, np.int64) for _ in queries]
    distances = [np.zeros(0, np.float64) for _ in queries]
    for features, numbers, allowed in batches:
        features, numbers = np.asarray(features), np.asarray(numbers, np.int64)
        _check(features, queries.shape[1])
        for i, query in enumerate(queries):
            rows = np.arange(len(numbers)) if allowed is None else np.flatnonzero(allowed[i])
            found = np.concatenate([distances[i], _squared_distances(features[rows], query)])
            known = np.concatenate([indices[i], numbers[rows]])
            kept = np.lexsort((known, found))[:k]
            indices[i], distances[i] = known[kept], found[kept]
    return Neighbours(indices, distances)


def _squared_distances(features: np.ndarray, query: np.ndarray) -> np.ndarray:
    rows = max(1, _BLOCK_NUMBERS // max(1, len(query)))
    found = np.empty(len(features), np.float64)
    for start in range(0, len(features), rows):
        difference = features[start : start + rows] - query[None, :]  # (rows, D), float64 by the query
        found[start : start + rows] = np.einsum("nd,nd->n", difference, difference)
    return found


def _check(features: np.ndarray, width: int) -> None:
    if features.ndim != 2 or features.shape[1] != width:
        raise EvaluationError(
            f"features (shape {features.shape}) must be (N, {width}) like those compared with; use one extractor."
        )
    if not np.isfinite(features).all():
        raise EvaluationError("features have elements that are not finite; check the images and the extractor.")
