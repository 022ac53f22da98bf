"""What scores are computed from: a function from uint8 images to feature vectors, with a name for the protocol."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgan.core import network as network_lib
from jaxgan.core.compilation import compiler_options
from jaxgan.evaluation import inception_weights, resize
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.inception import CLASSES, DIMS, InceptionV3

_T = TypeVar("_T")


class Features(NamedTuple):
    """float32 features (N, D), and logits (N, K) where the extractor has them, without the last layer's bias."""

    features: np.ndarray
    logits: np.ndarray | None


class FeatureExtractor(Protocol):
    """Turns uint8 images (N, H, W, C), C in 1, 3, 4, any N, into Features; `name` is its part of a score's protocol."""

    @property
    def name(self) -> str: ...

    def __call__(self, images: np.ndarray, /) -> Features: ...


class CallableExtractor:
    """A function of the user's as a FeatureExtractor.

    Args:
      name: goes into the protocol of every score, so it should say which network and which weights.
      fn: takes uint8 (N, H, W, C) and returns features (N, D), or a pair of features and logits (N, K).
    """

    def __init__(self, name: str, fn: Callable[[np.ndarray], Any]):
        self.name, self._fn = name, fn

    def __call__(self, images: np.ndarray, /) -> Features:
        """Raises EvaluationError if the function returns other shapes, or values that are not finite."""
        found = self._fn(images)
        features, logits = found if isinstance(found, tuple) else (found, None)
        return Features(
            self._checked("features", features, len(images)),
            None if logits is None else self._checked("logits", logits, len(images)),
        )

    def _checked(self, what: str, values: Any, count: int) -> np.ndarray:
        values = np.asarray(values, np.float32)
        if values.ndim != 2 or len(values) != count:
            raise EvaluationError(
                f"The extractor {self.name} returned {what} of shape {values.shape} for {count} images; the shape "
                f"must be ({count}, D), one row per image."
            )
        if not np.isfinite(values).all():
            raise EvaluationError(f"The extractor {self.name} returned {what} that are not finite; check its input.")
        return values


def inception_extractor(
    *,
    dims: int = 2048,
    resizer: str = "tf1",
    weights: str | os.PathLike[str] | None = None,
    batch_size: int = 64,
    logits: bool = False,
) -> FeatureExtractor:
    """Returns FID's Inception, run over all devices of this process in float32 at the highest precision.

    Args:
      dims: 64, 192, 768 or 2048; the network runs no deeper than needed.
      resizer: "tf1", "bilinear" or "clean", see `resize`.
      weights: see `inception_weights.load`.
      batch_size: images per run of the network, over all devices of this process; rounded up to a multiple of them.
        Every batch is filled up to it, so that one program is compiled.
      logits: also return the 1008 logits (without bias), which need the whole network.

    Raises:
      EvaluationError: an unknown choice, or the weights cannot be had.
    """
    if dims not in DIMS:
        raise EvaluationError(f"feature_dims (={dims}) must be one of {', '.join(map(str, DIMS))}.")
    resize.check_resizer(resizer)
    loaded = inception_weights.load(weights, dims=dims, logits=logits)
    return _InceptionExtractor(loaded, dims, resizer, batch_size, logits)


class _InceptionExtractor:
    def __init__(
        self, weights: inception_weights.InceptionWeights, dims: int, resizer: str, batch_size: int, logits: bool
    ):
        self.name = f"inception-2015-12-05-{weights.digest}/{dims}/{resizer}"
        self._resizer, self._dims, self._has_logits = resizer, dims, logits
        devices = jax.local_devices()
        self._batch_size = max(1, -(-batch_size // len(devices))) * len(devices)
        mesh = Mesh(np.asarray(devices), ("data",), axis_types=(AxisType.Auto,))
        self._batched = NamedSharding(mesh, PartitionSpec("data"))
        replicated = NamedSharding(mesh, PartitionSpec())
        network, params, stats = network_lib.create(
            lambda rngs: InceptionV3(weights.arrays, dims=dims, logits=logits), jax.random.key(0)
        )
        self._params = jax.device_put(params, replicated)
        # Two programs: the network's is compiled once, the resize for every size of image.
        jit = functools.partial(jax.jit, out_shardings=self._batched, compiler_options=compiler_options())
        self._network = jit(lambda params, images: network(params, stats, images, train=False)[0])
        self._resize = jit(resize.resize, static_argnums=1)

    def __call__(self, images: np.ndarray, /) -> Features:
        images = resize.to_rgb(images)
        features = np.empty((len(images), self._dims), np.float32)
        logits = np.empty((len(images), CLASSES), np.float32) if self._has_logits else None
        for rows, (batch_features, batch_logits) in _one_ahead(self._run(images)):
            count = len(features[rows])
            features[rows] = np.asarray(batch_features)[:count]
            if logits is not None and batch_logits is not None:
                logits[rows] = np.asarray(batch_logits)[:count]
        return Features(features, logits)

    def _run(self, images: np.ndarray) -> Iterator[tuple[slice, tuple[jax.Array, jax.Array | None]]]:
        """Starts the network on one batch after the other; yields (rows, features and logits of the padded batch)."""
        for start in range(0, len(images), self._batch_size):
            rows = slice(start, start + self._batch_size)
            batch = np.zeros((self._batch_size, *images.shape[1:]), np.uint8)
            batch[: len(images[rows])] = images[rows]
            if self._resizer == "clean":
                resized = jax.device_put(resize.resize_clean(batch), self._batched)
            else:
                resized = self._resize(jax.device_put(batch, self._batched), self._resizer)
            yield rows, self._network(self._params, resized)


def _one_ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Yields the items, each after the next one was drawn: the host prepares a batch while the devices compute one."""
    held = next(items, None)
    while held is not None:
        following = next(items, None)
        yield held
        held = following
