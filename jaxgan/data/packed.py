"""`packed:PATH`: a data set that `python -m jaxgan prepare` wrote: raw pixels of one size, nothing left to decode.

    PATH/images-00000-of-00003.array_record ...   one record per image: its uint8 pixels in the order (H, W, C)
    PATH/labels.npy                               int32 (N,); absent where there are no labels
    PATH/metadata.json                            shape, classes, shards, fingerprint, origin; written last
    PATH/report.json                              what was left out and why, duplicates, statistics; for people

So anything that reads ArrayRecord reads the images. A set takes count * H * W * C bytes and about 1 % more: CIFAR-10
0.16 GB, CelebA at 64 x 64 2.5 GB, ImageNet at 128 x 128 63 GB. Compression is left out since it costs more time than it
saves space: measured on CIFAR-10 and on photographs at 128 x 128, per second of one core, 167,000 and 70,000 images
raw, 19,000 and 8,000 with zstd (96 % and 87 % of the size), 17,000 and 1,900 as PNG (81 % and 68 %).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.npz import ArrayFileError, read_npy
from jaxgan.data.records import RecordFile
from jaxgan.data.source import Source

VERSION = 1
METADATA, LABELS, REPORT, UNFINISHED = "metadata.json", "labels.npy", "report.json", "unfinished.json"


class PackedSource(Source):
    """Random access to a packed data set; one system call per image, from any number of threads.

    The fingerprint covers pixels and labels, not the place, the origin or the division into shards.

    Args:
      name: the source string.
      folder: what `prepare` was given as --out.

    Raises:
      DataError: if the folder is absent, holds no packed data set or an unfinished one, or files are absent, damaged or
        of a newer version.
    """

    def __init__(self, name: str, folder: Path):
        metadata = read_metadata(folder, f"data.source={name!r}")
        self.name = name
        self.skipped = []
        self._folder = folder
        try:
            height, width, channels = (_whole(metadata[side], 1) for side in ("height", "width", "channels"))
            self.image_shape = height, width, channels
            self.class_names = tuple(_text(name) for name in _listed(metadata["class_names"]))
            self.fingerprint = _text(metadata["fingerprint"])
            size = height * width * channels
            self._shards = [_open_shard(folder, shard, size) for shard in _listed(metadata["shards"])]
            if not any(map(len, self._shards)):
                raise ValueError("it lists no image")
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{folder / METADATA} is damaged ({type(error).__name__}: {error}); prepare the data set again."
            ) from error
        self._starts = np.cumsum([0, *map(len, self._shards)])
        self._labels = self._read_labels() if self.class_names else None

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def labels(self) -> np.ndarray | None:
        return self._labels

    def example(self, index: int) -> tuple[np.ndarray, int]:
        return self.read_many(np.array([index]))[0], self.label(index)

    def read_many(self, indices: np.ndarray) -> np.ndarray:
        """Returns uint8 images (N, H, W, C) of `indices` (N,); raises DataError where a shard is damaged."""
        assert self.image_shape is not None
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        rows = images.reshape(len(indices), -1)
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            shard = self._shards[number]
            try:
                shard.read_into(rows, places.tolist(), (indices[places] - self._starts[number]).tolist())
            except OSError as error:
                raise _damaged(shard.path, str(error)) from error
        return images

    def smallest(self) -> tuple[str, int, int]:
        assert self.image_shape is not None
        return self.where(0), *self.image_shape[:2]

    def _read_labels(self) -> np.ndarray:
        path = self._folder / LABELS
        try:
            labels = read_npy(path)
        except (OSError, ArrayFileError) as error:
            raise _damaged(path, str(error)) from error
        if labels.shape != (len(self),) or labels.dtype != np.int32:
            raise _damaged(path, f"it holds {labels.dtype} {labels.shape} instead of int32 ({len(self)},)")
        if labels.min() < 0 or labels.max() >= len(self.class_names):
            raise _damaged(
                path, f"labels of {labels.min()}..{labels.max()} do not lie in 0..{len(self.class_names) - 1}"
            )
        return labels


def read_metadata(folder: Path, what: str) -> Mapping[str, Any]:
    """Returns the content of a packed data set's metadata.json.

    Raises:
      DataError: beginning with `what`, if the folder is absent or holds no complete packed data set of this version.
    """
    make = "make one with python -m jaxgan prepare"
    if not folder.is_dir():
        raise DataError(f"{what}: the folder {folder} does not exist; give the folder of a packed data set, or {make}.")
    path = folder / METADATA
    if not path.exists():
        if (folder / UNFINISHED).exists():
            raise DataError(
                f"{what}: the data set in {folder} is not complete; type the prepare command that began it again."
            )
        raise DataError(f"{what}: {folder} holds no packed data set (no {METADATA}); {make}.")
    try:
        metadata = json.loads(path.read_bytes())
        version = metadata["version"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{path} is not the metadata of a packed data set; give another folder, or prepare the data set again."
        ) from error
    if version != VERSION:
        raise DataError(
            f"{path} has format version {str(version)[:20]}, but this jaxgan reads version {VERSION}; update jaxgan, "
            "or prepare the data set again."
        )
    return metadata


def _open_shard(folder: Path, shard: Mapping[str, Any], size: int) -> RecordFile:
    name, count, length = _text(shard["file"]), _whole(shard["count"], 0), _whole(shard["bytes"], 0)
    if not name.isprintable() or Path(name).name != name:
        raise ValueError("a shard is not named as a file of this folder")
    path = folder / name
    try:
        found = path.stat().st_size
        if found != length or found < count * size:
            raise _damaged(path, f"it has {found} bytes instead of {max(length, count * size)}")
        return RecordFile(path, count, size, direct=bool(shard["direct"]))
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error


def _whole(value: Any, low: int) -> int:
    """Returns a whole number that is not absurd; raises ValueError for anything else."""
    if type(value) is not int or not low <= value < 2**48:
        raise ValueError(f"a whole number of at least {low} is due")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is due")
    return value


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list is due")
    return value


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path} is absent or damaged ({reason}); copy it again, or prepare the data set again.")
