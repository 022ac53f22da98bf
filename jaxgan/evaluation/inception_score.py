"""Inception score (Salimans et al. 2016, arXiv:1606.03498, section 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.statistics import feature_matrix

_SHUFFLE_SEED = 2020  # torch-fidelity's default; fixed, so that equal logits give equal scores


def inception_score(logits: Any, *, splits: int = 10) -> tuple[float, float]:
    """Returns mean and population standard deviation over splits of exp(mean KL(p(y|x) || p(y))).

    As torch-fidelity: the rows are shuffled once, split i is [i N // splits, (i + 1) N // splits). The logits must be
    those without the bias of the last layer, as the original TensorFlow code takes them.

    Args:
      logits: (N, num_classes).
      splits: number of parts.

    Raises:
      EvaluationError: for fewer images than splits.
    """
    logits = feature_matrix(logits, "logits")
    count = len(logits)
    if not 1 <= splits <= count:
        raise EvaluationError(f"IS splits (={splits}) must lie in 1 ... {count}, the number of images; choose fewer.")
    order = np.random.RandomState(_SHUFFLE_SEED).permutation(count)
    parts = (order[i * count // splits : (i + 1) * count // splits] for i in range(splits))
    scores = [_score(logits[part].astype(np.float64)) for part in parts]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: np.ndarray) -> float:
    log_p = logits - _log_sum_exp(logits, axis=1)
    # The log of the marginal as a log-sum-exp: a class that no image ever has stays finite.
    log_marginal = _log_sum_exp(log_p, axis=0) - np.log(len(log_p))
    return float(np.exp(np.mean(np.sum(np.exp(log_p) * (log_p - log_marginal), axis=1))))


def _log_sum_exp(x: np.ndarray, axis: int) -> np.ndarray:
    top = x.max(axis=axis, keepdims=True)
    return top + np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True))
