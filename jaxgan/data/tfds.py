"""`tfds:NAME[:SPLIT]`: a prepared TensorFlow Datasets set, read without TensorFlow and without the network."""

from __future__ import annotations

import difflib
import re
from typing import Any

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.source import Source, fingerprint

# NAME may carry a configuration and a version (cycle_gan/maps:3.0.0), SPLIT a slice (train[:50%]).
_PATTERN = re.compile(r"(?P<name>[\w/+.-]+(?::[\d*]+\.[\d*]+\.[\d*]+)?)(?::(?P<split>.+))?")


class TfdsSource(Source):
    """Random access to a set that was prepared in the array_record format.

    The set needs a feature `image`; a class label `label` makes it labelled. Nothing is ever downloaded: TFDS would
    retry for minutes without a connection.

    Args:
      name: the source string.
      spec: NAME[:SPLIT]; the split is "train" by default.

    Raises:
      DataError: if the name or split is unknown, the set has no feature `image`, or it is not prepared.
    """

    def __init__(self, name: str, spec: str):
        match = _PATTERN.fullmatch(spec)
        if not match:
            raise DataError(f"data.source={name!r} must read tfds:NAME[:SPLIT], such as tfds:cifar10:train.")
        self.name = name
        self.skipped = []
        split = match["split"] or "train"
        builder = _make_builder(name, match["name"])
        features = builder.info.features
        if features is None or "image" not in features:
            raise DataError(f"data.source={name!r} has no feature `image` (it has: {', '.join(features or ())}).")
        self._labelled = "label" in features and getattr(features["label"], "num_classes", None) is not None
        if self._labelled:
            self.class_names = tuple(features["label"].names)
        self._records = _open_split(name, builder, split)
        self._labels = np.full(len(self), -1, np.int32)  # filled as they are asked for
        self._folder, self._how_to = builder.data_dir, _how_to(match["name"])
        self.fingerprint = fingerprint([f"{builder.info.full_name} {split} {len(self)}".encode()])

    def __len__(self) -> int:
        return len(self._records)

    def example(self, index: int) -> tuple[np.ndarray, int]:
        try:
            record = self._records[index]
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.where(index)} cannot be read ({_first_line(error)}); remove {self._folder}, then {self._how_to}"
            ) from error
        return np.asarray(record["image"]), int(record["label"]) if self._labelled else 0

    def label(self, index: int) -> int:
        if self._labels[index] < 0:
            self._labels[index] = self.example(index)[1]
        return int(self._labels[index])

    @property
    def labels(self) -> np.ndarray | None:
        """Reads the whole set, except the labels that were asked for before."""
        return np.array([self.label(i) for i in range(len(self))], np.int32) if self._labelled else None


def _make_builder(name: str, dataset: str) -> Any:
    import tensorflow_datasets as tfds  # half a second, paid only where it is used
    from tensorflow_datasets.core import registered

    try:
        builder = tfds.builder(dataset, file_format="array_record")
    except registered.DatasetNotFoundError as error:
        near = difflib.get_close_matches(dataset, tfds.list_builders(with_community_datasets=False), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "names: https://www.tensorflow.org/datasets/catalog."
        raise DataError(f"data.source={name!r}: TFDS has no data set {dataset!r}; {hint}") from error
    except (ValueError, OSError, AssertionError, RuntimeError) as error:
        raise DataError(f"data.source={name!r} cannot be opened by TFDS: {_first_line(error)}.") from error
    if not builder.is_prepared():
        raise DataError(f"data.source={name!r}: {dataset} is not prepared in {builder.data_dir}; {_how_to(dataset)}")
    return builder


def _open_split(name: str, builder: Any, split: str) -> Any:
    try:
        return builder.as_data_source(split=split)
    except NotImplementedError as error:
        raise DataError(
            f"data.source={name!r}: {builder.data_dir} was prepared in a format without random access; "
            f"remove it, then {_how_to(builder.name)}"
        ) from error
    except (KeyError, ValueError, AssertionError) as error:
        known = ", ".join(builder.info.splits)
        raise DataError(f"data.source={name!r}: the split {split!r} is unknown; it has: {known}.") from error


def _how_to(dataset: str) -> str:
    return (
        'prepare it once with: python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{dataset}', file_format='array_record').download_and_prepare()\" (some sets need `pip install "
        "tensorflow` for this step; TFDS_DATA_DIR chooses another place)."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
