"""Kernel inception distance (Binkowski et al. 2018, arXiv:1801.01401, section 4), in float64 on the host.

The sums cancel to a number thousands of times smaller than their terms: float32 leaves errors of up to 5e-6, as large
as the differences between good generators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.statistics import feature_pair

_BLOCK = 2048  # rows and columns of the kernel matrix in memory at once: 32 MiB


def kid(
    reference: Any,
    generated: Any,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
    progress: Callable[[int], None] = lambda n: None,
) -> tuple[float, float]:
    """Returns mean and population standard deviation over subsets of the unbiased squared MMD.

    The kernel is (x . y / D + 1)^3. Each subset is drawn without replacement from both sets, from one NumPy
    RandomState, the generated one first: with torch-fidelity's seed 2020 these are its draws. With `subsets` = 1 and
    a `subset_size` of at least both sets, they are taken whole: the one value that depends on no draw.

    Args:
      reference: (N, D).
      generated: (M, D).
      subsets: number of draws.
      subset_size: images of each set per draw.
      seed: of the draws.
      progress: called with the number of subsets (or, for whole sets, of rows of both) just finished.

    Raises:
      EvaluationError: for sets that are smaller than a subset, or unlike numbers of features.
    """
    reference, generated = feature_pair(reference, generated)
    sizes = len(reference), len(generated)
    if subsets < 1 or subset_size < 2 or min(sizes) < 2:
        raise EvaluationError(
            f"KID with kid_subsets (={subsets}), kid_subset_size (={subset_size}) and {min(sizes)} images needs at "
            "least 1 subset of 2 images; raise them."
        )
    if subsets == 1 and subset_size >= max(sizes):
        return _unbiased_mmd2(reference, generated, progress), 0.0
    if subset_size > min(sizes):
        raise EvaluationError(
            f"kid_subset_size (={subset_size}) must be at most {min(sizes)}, the number of images in the smaller set; "
            f"lower it (or take both sets whole: kid_subsets 1 and kid_subset_size {max(sizes)})."
        )
    draws, values = np.random.RandomState(seed), []
    for _ in range(subsets):
        y = generated[draws.choice(sizes[1], subset_size, replace=False)]
        x = reference[draws.choice(sizes[0], subset_size, replace=False)]
        values.append(_unbiased_mmd2(x, y))
        progress(1)
    return float(np.mean(values)), float(np.std(values))


def _unbiased_mmd2(x: np.ndarray, y: np.ndarray, progress: Callable[[int], None] = lambda n: None) -> float:
    """Gretton et al. 2012, lemma 6 (m = n: the same without the pairing of the cross term, as all tools have it)."""
    m, n = len(x), len(y)
    within_x = _sum_within(x, progress) / (m * (m - 1))
    within_y = _sum_within(y, progress) / (n * (n - 1))
    across = sum(_kernel(a, b).sum() for a in _blocks(x) for b in _blocks(y)) / (m * n)
    return float(within_x + within_y - 2.0 * across)


def _sum_within(x: np.ndarray, progress: Callable[[int], None]) -> float:
    """Sum of the kernel over all ordered pairs of different rows; symmetry halves the work."""
    blocks, total = list(_blocks(x)), 0.0
    for i, rows in enumerate(blocks):
        square = _kernel(rows, rows)
        total += square.sum() - np.trace(square)
        total += 2.0 * sum(_kernel(rows, columns).sum() for columns in blocks[i + 1 :])
        progress(len(rows))
    return total


def _blocks(x: np.ndarray) -> list[np.ndarray]:
    return [x[start : start + _BLOCK] for start in range(0, len(x), _BLOCK)]


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x.astype(np.float64) @ y.astype(np.float64).T
    base /= x.shape[1]
    base += 1.0
    return base * base * base
