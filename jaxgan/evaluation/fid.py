"""Fréchet distance between Gaussians fitted to features (Heusel et al. 2017, arXiv:1706.08500, equation 6)."""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.statistics import Moments


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """Returns |mean1 - mean2|^2 + Tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)), in float64.

    The last trace is the sum of the singular values of A^T B, where cov1 = A A^T and cov2 = B B^T (Cholesky, or
    symmetric eigenvalues where singular). torch-fidelity takes the roots of the eigenvalues of the unsymmetric
    product, pytorch-fid the matrix root, adding 1e-6 I where that fails: the same number in exact arithmetic. Here
    rounding does not pass through a root, so singular covariances (fewer images than features) need no addition.

    Args:
      mean1, mean2: (D,).
      cov1, cov2: (D, D), symmetric, positive semi-definite up to rounding.

    Raises:
      EvaluationError: for shapes that do not fit each other, or values that are not finite.
    """
    arrays = [np.asarray(array, np.float64) for array in (mean1, cov1, mean2, cov2)]
    dim = arrays[0].size
    if [array.shape for array in arrays] != [(dim,), (dim, dim)] * 2:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise EvaluationError(f"means and covariances (shapes {shapes}) must be (D,) and (D, D) with one D for both.")
    if not all(np.isfinite(array).all() for array in arrays):
        raise EvaluationError("means and covariances must be finite, and some are NaN or infinite; look at the images.")
    mean1, cov1, mean2, cov2 = arrays
    root_trace = np.linalg.svd(_factor(cov1).T @ _factor(cov2), compute_uv=False).sum()
    distance = np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2.0 * root_trace
    return max(0.0, float(distance))  # rounding alone makes it negative


def fid(reference: Moments, generated: Moments) -> tuple[float, tuple[str, ...]]:
    """Returns the Fréchet distance of two sets, and a note for each set that is too small for an unbiased value.

    Raises:
      EvaluationError: for fewer than two images, or unlike numbers of features.
    """
    for name, moments in (("reference", reference), ("generated", generated)):
        if moments.count < 2:
            raise EvaluationError(f"FID of {moments.count} {name} images is undefined: it needs at least 2; give more.")
    distance = frechet_distance(reference.mean, reference.covariance, generated.mean, generated.covariance)
    counts = (("reference", reference.count), ("generated", generated.count))
    notes = (small_set_note(name, count, reference.dim) for name, count in counts)
    return distance, tuple(note for note in notes if note)


def small_set_note(name: str, count: int, dim: int) -> str | None:
    """Returns why FID from `count` images and `dim` features is not to be trusted, or None where it is."""
    if count > dim:
        return None
    return (
        f"FID is biased upwards: {count:,} {name} images cannot determine the covariance of {dim:,} features (singular "
        f"below {dim + 1:,}); use more images, or fewer --feature_dims"
    )


def _factor(covariance: np.ndarray) -> np.ndarray:
    """Returns A (D, rank) with A A^T = covariance."""
    eps = np.finfo(np.float64).eps
    try:
        lower = np.linalg.cholesky(covariance)  # a tenth of the time of eigenvalues
        # Of a singular matrix it may succeed, as rounding has it, with a column of the root of rounding.
        if (lower.diagonal() ** 2 > len(covariance) * eps * covariance.diagonal().max()).all():
            return lower
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(covariance)
    noise = 8.0 * eps * max(values[-1], 0.0)  # what rounding makes of an eigenvalue of zero
    return vectors[:, values > noise] * np.sqrt(values[values > noise])[None, :]
