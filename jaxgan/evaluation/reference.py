"""A cache of what the real images gave, on the disk: they are the same at every evaluation.

An entry is found by the fingerprint of the images and the text of the extraction protocol; both stand inside the file
too and are compared in full, so an entry of another protocol or another set is never used, whatever its name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxgan.data.npz import read_npz
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.statistics import Moments

_FORMAT = 1  # of the file; an entry of another format is computed again


@dataclasses.dataclass(frozen=True)
class Reference:
    """What evaluations need of a reference set."""

    moments: Moments
    features: np.ndarray | None = None  # (N, D), for KID, precision and recall, intra-class FID
    labels: np.ndarray | None = None  # int32 (N,), for intra-class FID


class ReferenceCache:
    """One `.npz` per reference set and extraction protocol.

    Args:
      folder: is created at the first write.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    def get(
        self,
        fingerprint: str,
        extraction: str,
        compute: Callable[[], Reference],
        *,
        need_features: bool = False,
        need_labels: bool = False,
    ) -> Reference:
        """Returns the entry, or computes and stores it.

        Args:
          fingerprint: identifies the images.
          extraction: identifies how features are made of them, see `Protocol.extraction`.
          compute: makes the entry; called only if there is none that is whole and has what is needed.
          need_features: an entry without features does not do.
          need_labels: an entry without labels does not do.
        """
        found = self.load(fingerprint, extraction)
        if found and not (need_features and found.features is None) and not (need_labels and found.labels is None):
            return found
        computed = compute()
        self.save(fingerprint, extraction, computed)
        return computed

    def path(self, fingerprint: str, extraction: str) -> Path:
        """Where an entry lies."""
        key = hashlib.blake2b(f"{fingerprint}\n{extraction}".encode(), digest_size=12).hexdigest()
        return self.folder / f"{key}.npz"

    def load(self, fingerprint: str, extraction: str) -> Reference | None:
        """Returns the entry, or None where there is none; one that cannot be read is reported in the log."""
        path = self.path(fingerprint, extraction)
        try:
            arrays = read_npz(path)
            if _header(fingerprint, extraction) != [str(text) for text in np.atleast_1d(arrays["header"])]:
                raise ValueError("it belongs to another reference set, protocol or version")
            moments = Moments.from_arrays(arrays)
            _check_rows(arrays, moments)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, EvaluationError) as error:
            logging.warning("%s is not used and computed again: %s.", path, str(error).rstrip("."))
            return None
        return Reference(moments, arrays.get("features"), arrays.get("labels"))

    def save(self, fingerprint: str, extraction: str, reference: Reference) -> None:
        """Writes an entry; a reader sees the whole of it or none. A disk that refuses is reported in the log only."""
        if jax.process_index():
            return
        arrays: dict[str, Any] = {"header": np.array(_header(fingerprint, extraction)), **reference.moments.to_arrays()}
        if reference.features is not None:
            arrays["features"] = reference.features
        if reference.labels is not None:
            arrays["labels"] = reference.labels
        path = self.path(fingerprint, extraction)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.savez(file, **arrays)
            os.replace(temporary, path)
        except OSError as error:
            logging.warning("%s cannot be written, so the next evaluation computes it again: %s.", path, error.strerror)
        finally:
            if self.folder.is_dir():
                temporary.unlink(missing_ok=True)


def _header(fingerprint: str, extraction: str) -> list[str]:
    return [f"format {_FORMAT}", fingerprint, extraction]


def _check_rows(arrays: dict[str, np.ndarray], moments: Moments) -> None:
    features, labels = arrays.get("features"), arrays.get("labels")
    if moments.count < 0:
        raise ValueError(f"it says that it was made of {moments.count} images")
    kinds = {name: arrays[name].dtype.kind for name in ("features", "labels") if name in arrays}
    if kinds.get("features", "f") != "f" or kinds.get("labels", "i") != "i":
        raise ValueError("its features must be floats and its labels integers")
    if features is not None and features.shape != (moments.count, moments.dim):
        raise ValueError(f"its features have shape {features.shape} and {(moments.count, moments.dim)} is needed")
    if labels is not None and labels.shape != (moments.count,):
        raise ValueError(f"its labels have shape {labels.shape} and {(moments.count,)} is needed")
