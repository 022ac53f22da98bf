"""Intra-class FID: how well each class is learned, not only their mixture (Zhang et al. 2018, arXiv:1805.08318, 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.fid import fid
from jaxgan.evaluation.statistics import Moments, feature_matrix


@dataclasses.dataclass(frozen=True)
class IntraFid:
    """FID of each class, and their mean."""

    score: float  # plain mean over the classes of `per_class`
    per_class: dict[int, float]  # class id -> FID
    left_out: dict[int, str]  # class id -> why it has none
    notes: tuple[str, ...]  # reasons not to trust the score


def intra_fid(
    reference: Any,
    reference_labels: Any,
    generated: Any,
    generated_labels: Any,
    *,
    class_names: Sequence[str] = (),
    progress: Callable[[int], None] = lambda n: None,
) -> IntraFid:
    """Averages FID over the classes that either set has; classes with fewer than two images in one are left out.

    Args:
      reference: real features (N, D).
      reference_labels: integers (N,).
      generated: features (M, D).
      generated_labels: integers (M,).
      class_names: for the notes; ids where it is shorter.
      progress: called with 1 after each class.

    Raises:
      EvaluationError: if labels do not fit the features, or no class has enough images.
    """
    sets = {
        "reference": _labelled(reference, reference_labels, "reference"),
        "generated": _labelled(generated, generated_labels, "generated"),
    }
    scores: dict[int, float] = {}
    left_out: dict[int, str] = {}
    small = 0
    for class_id in (int(c) for c in np.unique(np.concatenate([labels for _, labels in sets.values()]))):
        rows = {name: features[labels == class_id] for name, (features, labels) in sets.items()}
        if few := [f"{len(x)} {name}" for name, x in rows.items() if len(x) < 2]:
            left_out[class_id] = f"{' and '.join(few)} images"
        else:
            scores[class_id], notes = fid(*(_moments(x) for x in rows.values()))
            small += bool(notes)
        progress(1)
    if not scores:
        raise EvaluationError(
            f"intra-class FID needs a class with at least 2 images of each kind, and none of {len(left_out)} has "
            "them; use more images of the reference's classes."
        )
    notes = tuple(_notes(scores, left_out, small, sets["reference"][0].shape[1], class_names))
    return IntraFid(float(np.mean(list(scores.values()))), scores, left_out, notes)


def _labelled(features: Any, labels: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    features, labels = feature_matrix(features, f"{name} features"), np.asarray(labels)
    if labels.shape != (len(features),) or labels.dtype.kind not in "iu":
        raise EvaluationError(
            f"{name} labels ({labels.dtype}, shape {labels.shape}) must be {len(features)} integers, one per image; "
            "give a labelled set."
        )
    return features, labels


def _moments(features: np.ndarray) -> Moments:
    moments = Moments(features.shape[1])
    moments.update(features)
    return moments


def _notes(scores: dict[int, float], left_out: dict[int, str], small: int, dim: int, class_names: Sequence[str]):
    if left_out:
        named = [class_names[c] if 0 <= c < len(class_names) else str(c) for c in left_out]
        listed = ", ".join(f"{name} ({why})" for name, why in zip(named[:5], left_out.values(), strict=False))
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        yield f"intra-class FID leaves out {len(left_out)} classes with fewer than 2 images: {listed}{more}"
    if small:
        yield (
            f"intra-class FID is biased upwards: {small} of {len(scores)} classes have at most {dim:,} images, too few "
            f"for the covariance of {dim:,} features; use more images, or fewer --feature_dims"
        )
