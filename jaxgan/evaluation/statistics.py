"""Mean and covariance of features that arrive in batches, in float64 on the host.

Accelerators have no (TPU) or slow (GPU) float64, and the Fréchet distance takes small differences of large traces.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxgan.evaluation.errors import EvaluationError

_BLOCK = 1024  # rows per update: one large matrix product instead of many small ones


def feature_matrix(features: Any, what: str = "features") -> np.ndarray:
    """Returns features as a NumPy array (N, D).

    Raises:
      EvaluationError: for another rank or a number type that is not real, or if a value is NaN or infinite.
    """
    array = np.asarray(features)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise EvaluationError(f"{what} ({array.dtype}, shape {array.shape}) must be real numbers (N, D); reshape them.")
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise EvaluationError(
            f"{what} of {np.count_nonzero(bad):,} of {len(array):,} images are NaN or infinite (first: row "
            f"{int(np.argmax(bad))}), and every row must be finite; look at them, the generator may have diverged."
        )
    return array


def feature_pair(reference: Any, generated: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns both sets as arrays (N, D) and (M, D).

    Raises:
      EvaluationError: as `feature_matrix`, or for unlike numbers of features.
    """
    reference = feature_matrix(reference, "reference features")
    generated = feature_matrix(generated, "generated features")
    if reference.shape[1] != generated.shape[1]:
        raise EvaluationError(
            f"generated features of {generated.shape[1]} dimensions cannot be compared with reference features of "
            f"{reference.shape[1]}: both sets need the same extractor; use one."
        )
    return reference, generated


@dataclasses.dataclass(frozen=True)
class _Sums:
    """Count, mean (D,) and scatter sum_i (x_i - mean)(x_i - mean)^T (D, D) of some rows."""

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> _Sums:
        mean = rows.mean(axis=0)
        centred = rows - mean[None, :]
        return cls(len(rows), mean, centred.T @ centred)

    def __add__(self, other: _Sums) -> _Sums:
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        delta = other.mean - self.mean
        scatter = self.scatter + other.scatter
        scatter += np.outer(delta, delta) * (self.count * other.count / count)
        return _Sums(count, self.mean + delta * (other.count / count), scatter)


class Moments:
    """Streaming count, mean and covariance with divisor n - 1.

    Reference: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample
    variances", equations 2.1. Nothing like E[x^2] - E[x]^2 is formed, whose digits cancel where the mean is large.
    Rows are taken in blocks of a fixed size, so the result does not depend on how they were cut into batches.

    Args:
      dim: number of features D; None takes it from the first batch.
    """

    def __init__(self, dim: int | None = None):
        self._dim = dim
        self._done: _Sums | None = None
        self._pending: list[np.ndarray] = []
        self._num_pending = 0

    @property
    def dim(self) -> int:
        if self._dim is None:
            raise EvaluationError("these moments have 0 images and need at least 1 to know the features; add a batch.")
        return self._dim

    @property
    def count(self) -> int:
        """Number of rows so far."""
        return self._num_pending + (self._done.count if self._done else 0)

    @property
    def mean(self) -> np.ndarray:
        """float64 (D,)."""
        self._need(1, "a mean")
        return self._sums().mean

    @property
    def covariance(self) -> np.ndarray:
        """float64 (D, D), divisor n - 1, as `numpy.cov`."""
        self._need(2, "a covariance")
        return self._sums().scatter / (self.count - 1)

    def update(self, features: Any) -> None:
        """Adds the rows of features (N, D).

        Raises:
          EvaluationError: for another D than before, or a value that is NaN or infinite.
        """
        rows = feature_matrix(features).astype(np.float64)  # a copy: the caller may reuse its buffer
        self._agree(rows.shape[1])
        self._pending.append(rows)
        self._num_pending += len(rows)
        if self._num_pending >= _BLOCK:
            waiting = np.concatenate(self._pending)
            whole = len(waiting) // _BLOCK * _BLOCK
            for start in range(0, whole, _BLOCK):
                block = _Sums.of(waiting[start : start + _BLOCK])
                self._done = self._done + block if self._done else block
            self._pending, self._num_pending = [waiting[whole:].copy()], len(waiting) - whole

    def merge(self, other: Moments) -> Moments:
        """Returns the moments of the rows of both; neither changes."""
        if not self.count or not other.count:
            return self if self.count else other
        self._agree(other.dim)
        return self._restored(self._sums() + other._sums())

    def all_processes(self) -> Moments:
        """Returns the moments of the rows of all processes together; every process must call it."""
        if jax.process_count() == 1:
            return self
        # A process may have seen no image, and then does not know the number of features.
        dim = int(np.max(_gather(np.array([self._dim or 0], np.float64))))
        sums = self._sums() if self.count else _Sums(0, np.zeros(dim), np.zeros((dim, dim)))
        rows = _gather(np.concatenate([[sums.count], sums.mean, sums.scatter.ravel()]))
        total = Moments(dim)
        for row in rows:
            part = self._restored(_Sums(int(row[0]), row[1 : dim + 1], row[dim + 1 :].reshape(dim, dim)))
            total = total.merge(part)
        return total

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns {"count", "mean", "scatter"}, from which `from_arrays` restores the same numbers to the last bit."""
        sums = self._sums()
        return {"count": np.array([sums.count], np.int64), "mean": sums.mean, "scatter": sums.scatter}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Moments:
        """Inverse of `to_arrays`.

        Raises:
          EvaluationError: for arrays of other shapes or types, or values that are not finite.
        """
        count, mean, scatter = (arrays[name] for name in ("count", "mean", "scatter"))
        dim = mean.size
        shapes = (count.shape, mean.shape, scatter.shape)
        finite = all(a.dtype.kind in "if" and np.isfinite(a).all() for a in (count, mean, scatter))
        if shapes != ((1,), (dim,), (dim, dim)) or not finite:
            raise EvaluationError(f"arrays of shapes {shapes} must be finite (1,), (D,), (D, D); compute them anew.")
        return cls._restored(_Sums(int(count[0]), mean.astype(np.float64), scatter.astype(np.float64)))

    @classmethod
    def _restored(cls, sums: _Sums) -> Moments:
        moments = cls(len(sums.mean))
        moments._done = sums if sums.count else None
        return moments

    def _sums(self) -> _Sums:
        done = self._done or _Sums(0, np.zeros(self.dim), np.zeros((self.dim, self.dim)))
        return done + _Sums.of(np.concatenate(self._pending)) if self._num_pending else done

    def _agree(self, dim: int) -> None:
        if self._dim is not None and dim != self._dim:
            raise EvaluationError(
                f"features of {dim} dimensions cannot join moments of {self._dim}: both sets need the same extractor; "
                "use one."
            )
        self._dim = dim

    def _need(self, rows: int, what: str) -> None:
        if self.count < rows:
            raise EvaluationError(f"{what} needs at least {rows} images and got {self.count}; give more.")


def _gather(values: np.ndarray) -> np.ndarray:
    """Returns float64 (processes, N) of every process's values (N,).

    JAX turns float64 into float32 on the way (`jax_enable_x64` is off), so the bits travel as 32-bit integers.
    """
    bits = np.ascontiguousarray(values, np.float64).view(np.uint32)
    gathered = np.asarray(multihost_utils.process_allgather(bits))
    return np.ascontiguousarray(gathered).view(np.float64)
