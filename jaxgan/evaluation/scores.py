"""From what was extracted of two sets to numbers with their protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxgan.evaluation.extraction import Extracted
from jaxgan.evaluation.fid import fid
from jaxgan.evaluation.inception_score import inception_score
from jaxgan.evaluation.intra_fid import intra_fid
from jaxgan.evaluation.kid import kid
from jaxgan.evaluation.prdc import prdc
from jaxgan.evaluation.protocol import Protocol
from jaxgan.evaluation.settings import Settings
from jaxgan.generation.progress import Progress

NewProgress = Callable[[str, int, str], Progress]  # (what, total, unit)


@dataclasses.dataclass(frozen=True)
class Scores:
    """The numbers by name, and what they depend on."""

    values: dict[str, float]
    protocol: Protocol  # its notes say why not to trust a number

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers, `num_samples`, `num_reference` (None where there is none) and `protocol`."""
        sizes = {"num_samples": self.protocol.num_samples, "num_reference": self.protocol.num_reference}
        return {**self.values, **sizes, "protocol": str(self.protocol)}


def score(
    settings: Settings,
    reference: Extracted | None,
    generated: Extracted,
    *,
    class_names: tuple[str, ...] = (),
    progress: NewProgress = Progress,
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Returns the numbers that need no more than features and logits, and the reasons not to trust them.

    Args:
      settings: `cas`, which needs images, is passed over.
      reference: None where only `is` is asked for.
      generated: with whatever the metrics need.
      class_names: for the reasons.
      progress: makes the progress of a metric.
    """
    values: dict[str, float] = {}
    notes: list[str] = []
    for metric in settings.metrics:
        if metric == "is":
            values["is"], values["is_std"] = inception_score(generated.logits, splits=settings.is_splits)
        if reference is None:
            continue
        if metric == "fid":
            values["fid"], found = fid(reference.moments, generated.moments)
            notes += found
        elif metric == "kid":
            values["kid"], values["kid_std"] = _kid(settings, reference, generated, progress)
        elif metric == "prdc":
            total = 2 * reference.moments.count + generated.moments.count
            with progress("precision, recall, density, coverage:", total, "rows") as shown:
                values |= prdc(reference.features, generated.features, k=settings.k, progress=shown.advance)
        elif metric == "intra_fid":
            values["intra_fid"], found = _intra_fid(reference, generated, class_names, progress)
            notes += found
    return values, tuple(notes)


def metric_fields(settings: Settings) -> dict[str, Any]:
    """Returns the fields of `Protocol` that belong to the metrics asked for."""
    asked = set(settings.metrics)
    fields: dict[str, Any] = {"is_splits": settings.is_splits} if "is" in asked else {}
    if "kid" in asked:
        fields |= {"kid_subsets": settings.kid_subsets, "kid_subset_size": settings.kid_subset_size}
    return fields | ({"k": settings.k} if "prdc" in asked else {})


def _kid(settings: Settings, reference: Extracted, generated: Extracted, progress: NewProgress) -> tuple[float, float]:
    sizes = reference.moments.count, generated.moments.count
    whole = settings.kid_subsets == 1 and settings.kid_subset_size >= max(sizes)
    total, unit = (sum(sizes), "images") if whole else (settings.kid_subsets, "subsets")
    with progress("kernel inception distance:", total, unit) as shown:
        return kid(
            reference.features,
            generated.features,
            subsets=settings.kid_subsets,
            subset_size=settings.kid_subset_size,
            seed=settings.kid_seed,
            progress=shown.advance,
        )


def _intra_fid(
    reference: Extracted, generated: Extracted, class_names: tuple[str, ...], progress: NewProgress
) -> tuple[float, tuple[str, ...]]:
    classes = {int(c) for part in (reference, generated) if part.labels is not None for c in np.unique(part.labels)}
    with progress("intra-class FID:", len(classes), "classes") as shown:
        result = intra_fid(
            reference.features,
            reference.labels,
            generated.features,
            generated.labels,
            class_names=class_names,
            progress=shown.advance,
        )
    return result.score, result.notes
