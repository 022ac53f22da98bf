"""Data that a Python program has in its hands, as data sets: arrays, sources, Grain and torch data sets, file names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgan.config import DataConfig
from jaxgan.data.arrays import array_source, check_shape
from jaxgan.data.dataset import Dataset
from jaxgan.data.domains import DomainsDataset
from jaxgan.data.errors import DataError
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.random_access import RandomAccessSource, first_shape
from jaxgan.data.source import Source
from jaxgan.data.sources import OWN, open_source

_NAME = "`data`"
_KINDS = (
    "an array of images, (images, labels), {'a': images, 'b': images}, an object with len() and items such as a "
    "grain.MapDataset or a torch Dataset, a Source, or a source string"
)


def as_dataset(data: Any, config: DataConfig, *, num_classes: int | None = None) -> Dataset | DomainsDataset:
    """Returns a data set for training, evaluation and grids.

    Args:
      data: one of
        a Dataset or DomainsDataset: returned as it is; `config` is not read.
        a source string: see `open_source` and `open_domains`.
        a Source.
        an array of images (N, H, W, C) or (N, H, W), uint8 or floats in [-1, 1] (see `arrays.to_uint8`).
        a tuple (images, labels): such an array and integers (N,) or None.
        an object with len() and items, such as a grain.MapDataset, a Grain data source or a torch Dataset: see
          `RandomAccessSource`; labelled items are all read once, unless num_classes is given.
        {"a": images, "b": images}, each any of the above but a data set: two domains; labels are ignored.
      config: size, channels, crop, flip, ...; `config.source` is not read. See `natural_config`.
      num_classes: of labels in an array or in items; None = the largest label + 1.

    Raises:
      DataError: if the data are anything else, or something is wrong with them.
    """
    if num_classes is not None and (num_classes < 1 or isinstance(data, (Dataset, DomainsDataset, Source, str))):
        raise DataError(
            f"num_classes (={num_classes}) must be positive, and be left out where the data know their classes."
        )
    if isinstance(data, (Dataset, DomainsDataset)):
        return data
    if isinstance(data, str):
        return open_dataset(dataclasses.replace(config, source=data))
    if isinstance(data, Mapping):
        a, b = _domains(data)
        config = dataclasses.replace(config, labels=False)
        sources = [_source(images, f"`data[{name!r}]`", config, None) for name, images in (("a", a), ("b", b))]
        return DomainsDataset(Dataset(sources[0], config), Dataset(sources[1], config), config)
    return Dataset(_source(data, _NAME, config, num_classes), config)


def natural_config(data: Any) -> DataConfig | None:
    """Returns settings that keep images as they are: their own size and channels, no crop.

    Args:
      data: as for `as_dataset`.

    Returns:
      For arrays and sources of images of one size, that size; for items, that of the first one; for two domains, that
      of both; for a data set, what it was built with. None where that says nothing: for a source string, a source of
      images of any size, and two domains of different sizes.

    Raises:
      DataError: if the data are of none of these kinds.
    """
    if isinstance(data, (Dataset, DomainsDataset)):
        return data.data
    if isinstance(data, Mapping):
        a, b = (natural_config(images) for images in _domains(data))
        return a if a == b else None
    shape = _image_shape(data)
    if shape is None:
        return None
    height, width, channels = shape
    width = 0 if width == height else width
    return DataConfig(source=OWN, resolution=height, width=width, channels=channels, crop="none")


def _image_shape(data: Any) -> tuple[int, ...] | None:
    if isinstance(data, Source):
        return data.image_shape
    if isinstance(data, str):
        return None
    images = data[0] if _is_pair(data) else data
    if not _is_array(images):
        return first_shape(_NAME, _items(images))
    shape = np.shape(images) if np.ndim(images) != 3 else (*np.shape(images), 1)
    check_shape(shape, 4, f"{_NAME} has shape", "(N, H, W) or (N, H, W, C)")
    return shape[1:]


def _source(data: Any, name: str, config: DataConfig, num_classes: int | None) -> Source:
    if isinstance(data, Source):
        return data
    if isinstance(data, str):
        return open_source(data, skip_corrupt=config.skip_corrupt)
    if _is_pair(data):
        return array_source(name, *data, num_classes=num_classes)
    if _is_array(data):
        return array_source(name, data, num_classes=num_classes)
    return RandomAccessSource(name, _items(data), num_classes=num_classes, labels=config.labels)


def _is_array(data: Any) -> bool:
    """Whether it is an array, of whatever library."""
    return hasattr(data, "__array__") and hasattr(data, "shape")


def _is_pair(data: Any) -> bool:
    return isinstance(data, tuple) and len(data) == 2 and _is_array(data[0])


def _items(data: Any) -> Any:
    if isinstance(data, tuple) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise DataError(f"{_NAME} is of type {type(data).__name__}, but must be {_KINDS}.")
    return data


def _domains(data: Mapping[str, Any]) -> tuple[Any, Any]:
    if set(data) != {"a", "b"}:
        raise DataError(f"{_NAME} has the keys {sorted(map(str, data))}, but must be {_KINDS}.")
    return data["a"], data["b"]
