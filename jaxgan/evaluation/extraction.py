"""From images to what metrics need of them: moments, and where a metric needs them, features, logits and labels."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxgan.data.npz import ArrayFileError, read_npz
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.features import FeatureExtractor, Features
from jaxgan.evaluation.image_sets import ImageSet
from jaxgan.evaluation.statistics import Moments, feature_matrix


@dataclasses.dataclass(frozen=True)
class Extracted:
    """What metrics are computed from; None = not kept."""

    moments: Moments
    features: np.ndarray | None = None  # float32 (N, D)
    logits: np.ndarray | None = None  # float32 (N, K)
    labels: np.ndarray | None = None  # int32 (N,)
    images: np.ndarray | None = None  # uint8 (N, H, W, C)


@dataclasses.dataclass(frozen=True)
class Keep:
    """What to keep beyond the moments, which take no memory per image."""

    features: bool = False
    logits: bool = False
    images: bool = False


def extract(
    images: ImageSet,
    extractor: FeatureExtractor | None,
    keep: Keep,
    *,
    batch_size: int,
    progress: Callable[[int], None] = lambda n: None,
) -> Extracted:
    """Sends every image through the extractor. Several processes share each batch; all of them return the same.

    Args:
      images: the same set on every process.
      extractor: runs on the devices of its process; None = no features are needed.
      keep: labels are kept with the features or the images.
      batch_size: images at a time, over all processes.
      progress: is called with the size of each finished batch.

    Raises:
      EvaluationError: features that are not finite, or no logits from an extractor that was asked for them.
    """
    moments = Moments()
    kept: dict[str, list[np.ndarray]] = {"features": [], "logits": [], "labels": [], "images": []}
    for batch, labels in images.batches(batch_size):
        found = None
        if extractor is not None:
            found = _shared(extractor, batch)
            moments.update(found.features)
            if keep.logits and found.logits is None:
                raise EvaluationError(f"{extractor.name} gives no logits, which the metric `is` needs; leave it out.")
        for name, rows, wanted in (
            ("features", found and found.features, keep.features),
            ("logits", found and found.logits, keep.logits),
            ("labels", labels, images.num_classes > 0 and (keep.features or keep.images)),
            ("images", batch, keep.images),
        ):
            if wanted and rows is not None:
                kept[name].append(rows)
        progress(len(batch))
    return Extracted(moments, **{name: np.concatenate(parts) for name, parts in kept.items() if parts})


def _shared(extractor: FeatureExtractor, images: np.ndarray) -> Features:
    """Each process extracts its part of the batch and receives the parts of the others."""
    processes = jax.process_count()
    if processes == 1:
        return extractor(images)
    size = -(-len(images) // processes)
    rows = np.minimum(jax.process_index() * size + np.arange(size), len(images) - 1)  # equal parts; the last repeats
    mine = extractor(images[rows])

    def gather(values: np.ndarray) -> np.ndarray:
        parts = np.asarray(multihost_utils.process_allgather(values))
        return parts.reshape(-1, values.shape[1])[: len(images)]

    return Features(gather(mine.features), None if mine.logits is None else gather(mine.logits))


def read_features(path: str | os.PathLike[str]) -> tuple[Extracted, str]:
    """Reads an `.npz` file: `features` (N, D), and optionally `logits` (N, K) and integer `labels` (N,).

    Returns:
      What it holds, and a fingerprint of it.

    Raises:
      EvaluationError: it is no such file, or its arrays do not fit each other.
    """
    path = Path(path)
    arrays: dict[str, np.ndarray] = {}
    try:
        arrays = read_npz(path, ("features", "logits", "labels"))
    except FileNotFoundError as error:
        raise EvaluationError(f"{path} does not exist; give an .npz file with `features` (N, D).") from error
    except (OSError, ArrayFileError) as error:
        raise EvaluationError(
            f"{path} cannot be read as .npz ({str(error).rstrip('.')}); write it with np.savez."
        ) from error
    if "features" not in arrays:
        raise EvaluationError(f"{path} has no array `features`; write it with np.savez(file, features=...).")
    for name, values in arrays.items():
        if len(values.shape) != (1 if name == "labels" else 2) or len(values) != len(arrays["features"]):
            raise EvaluationError(
                f"`{name}` in {path} has shape {values.shape}, but must have one row for each of "
                f"{len(arrays['features'])} images: features (N, D), logits (N, K), labels (N,)."
            )
        if name == "labels" and values.dtype.kind not in "iu":
            raise EvaluationError(f"`labels` in {path} are of type {values.dtype}, but must be integers; convert them.")
        if name != "labels":
            feature_matrix(values, f"`{name}` in {path}")
    digest = hashlib.blake2b(digest_size=8)
    for name, values in arrays.items():
        digest.update(f"{name}{values.dtype}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    moments = Moments()
    moments.update(arrays["features"])
    return Extracted(moments, **arrays), digest.hexdigest()
