"""A small convolutional classifier, trained on the fly in seconds to a minute on a CPU.

It gives features to data sets that Inception was not made for (digits, MNIST), and is the classifier of the
classification accuracy score.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxgan.core import network as network_lib
from jaxgan.core import rng
from jaxgan.core.compilation import compiler_options
from jaxgan.core.network import Network, Params
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.features import Features
from jaxgan.layers.conv import Conv
from jaxgan.layers.init import Init
from jaxgan.layers.linear import Linear

_SCALE_IMAGES = 2_048  # training images that the features' scale is taken from
NUM_FEATURES = 64

_WIDTHS = (16, 32, 64, 64, 64, 64, 64, 64)  # channels; every convolution but the first halves the sides
_SMALLEST_SIDE = 4
_LEARNING_RATE = 2e-3
_INFERENCE_BATCH = 256


class _ConvNet(nnx.Module):
    """3x3 convolutions with ReLU down to 4 pixels or fewer, a hidden layer (the features), a linear layer."""

    def __init__(self, shape: tuple[int, int, int], num_classes: int, rngs: nnx.Rngs):
        height, width, channels = shape
        convs = []
        for index, features in enumerate(_WIDTHS):
            if index > 1 and min(height, width) <= _SMALLEST_SIDE:
                break
            stride = 1 if index == 0 else 2
            conv = Conv(channels, features, kernel_size=3, stride=stride, padding=1, init=Init("torch"), rngs=rngs)
            convs.append(conv)
            height, width, channels = -(-height // stride), -(-width // stride), features
        self.convs = nnx.List(convs)
        self.hidden = Linear(height * width * channels, NUM_FEATURES, init=Init("torch"), rngs=rngs)
        self.head = Linear(NUM_FEATURES, num_classes, init=Init("torch"), rngs=rngs)

    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        x = images.astype(jnp.float32) / 127.5 - 1.0
        for conv in self.convs:
            x = jax.nn.relu(conv(x, train=train))
        features = jax.nn.relu(self.hidden(x.reshape(x.shape[0], -1), train=train))  # (B, 64)
        return features, self.head(features, train=train)


class SmallClassifier:
    """A trained classifier; a `FeatureExtractor`.

    Attributes:
      name: goes into protocols; ends with a hash of the weights.
      shape: (H, W, C) of the images it takes.
      num_classes: K.
    """

    def __init__(self, network: Network, params: Params, shape: tuple[int, int, int], num_classes: int):
        self.shape, self.num_classes, self._network, self._params = shape, num_classes, network, params
        digest = hashlib.blake2b(digest_size=4)
        for leaf in jax.tree.leaves(params):
            digest.update(np.asarray(leaf).tobytes())
        self.name = f"small-classifier-{'x'.join(map(str, shape))}-{num_classes}-{digest.hexdigest()}"

    def __call__(self, images: np.ndarray, /) -> Features:
        """Returns float32 features (N, 64) and logits (N, K) of uint8 images (N, H, W, C).

        The mean square of the features is 1 on the training images.

        Raises:
          EvaluationError: for images of another size, number of channels or type than those of the training.
        """
        images = _uint8_images(images)
        if images.shape[1:] != self.shape:
            raise EvaluationError(
                f"images of shape {images.shape[1:]} do not fit the classifier, which was trained on {self.shape}; "
                "resize them."
            )
        parts = [_empty(NUM_FEATURES, self.num_classes)]
        for start in range(0, len(images), _INFERENCE_BATCH):
            batch = images[start : start + _INFERENCE_BATCH]
            padding = np.zeros((_INFERENCE_BATCH - len(batch), *self.shape), np.uint8)  # one shape compiles once
            outputs = _programs()[1](self._network, self._params, np.concatenate([batch, padding]))
            parts.append(tuple(np.asarray(output)[: len(batch)] for output in outputs))
        return Features(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def features(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 (N, 64); see `__call__`."""
        return self(images).features

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 (N, K), with the last layer's bias; see `__call__`."""
        logits = self(images).logits
        assert logits is not None
        return logits

    def accuracy(self, images: np.ndarray, labels: Any) -> float:
        """Returns the fraction of images whose largest logit is their label's."""
        images, labels = _labelled(images, labels, self.num_classes)
        return float(np.mean(np.argmax(self.logits(images), axis=1) == labels))


def train_classifier(
    images: np.ndarray,
    labels: Any,
    *,
    num_classes: int,
    seed: int = 0,
    num_steps: int = 500,
    batch_size: int = 128,
    progress: Callable[[int], None] = lambda n: None,
) -> SmallClassifier:
    """Trains by Adam with a cosine decay of the learning rate; equal arguments give equal weights.

    Args:
      images: uint8 (N, H, W, C).
      labels: integers (N,) in 0 ... num_classes - 1.
      num_classes: K.
      seed: of the initial weights and of the order of the images.
      num_steps: updates; 500 are 64,000 images.
      batch_size: images per update; drawn in shuffled passes over the set.
      progress: called with the number of images of each update.

    Raises:
      EvaluationError: for images or labels of another kind, or none at all.
    """
    images, labels = _labelled(images, labels, num_classes)
    height, width, channels = images.shape[1:]
    shape = (int(height), int(width), int(channels))
    key = rng.stream(jax.random.key(seed), "init")
    network, params, _ = network_lib.create(lambda rngs: _ConvNet(shape, num_classes, rngs), key)
    opt_state, order, update = _optimizer(num_steps).init(params), _Order(len(images), seed), _programs()[0]
    for _ in range(num_steps):
        rows = order.take(batch_size)
        params, opt_state = update(network, num_steps, params, opt_state, images[rows], labels[rows])
        progress(batch_size)
    features = SmallClassifier(network, params, shape, num_classes).features(images[:_SCALE_IMAGES])
    return SmallClassifier(network, _scaled(params, float(np.sqrt(np.mean(features**2)))), shape, num_classes)


def _scaled(params: Params, size: float) -> Params:
    """Divides the features by `size` and multiplies the head's weights with it; the logits stay.

    Features of unit mean square keep distances, and KID's cubes of products, in a readable range.
    """
    if not size:
        return params
    hidden, head = params["hidden"], params["head"]
    return params | {
        "hidden": {name: value / size for name, value in hidden.items()},  # before a ReLU: the same as after it
        "head": head | {"kernel": head["kernel"] * size},
    }


@functools.cache
def _programs() -> tuple[Any, Any]:
    """Returns the jitted `_update` and `_apply`, which classifiers of one shape share."""
    options = compiler_options()
    return (
        jax.jit(_update, static_argnames=("network", "num_steps"), compiler_options=options),
        jax.jit(_apply, static_argnames="network", compiler_options=options),
    )


def _optimizer(num_steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, num_steps))


def _apply(network: Network, params: Params, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    return network(params, {}, images, train=False)[0]


def _update(
    network: Network,
    num_steps: int,
    params: Params,
    opt_state: optax.OptState,
    images: jax.Array,
    labels: jax.Array,
) -> tuple[Params, optax.OptState]:
    def loss(params: Params) -> jax.Array:
        (_, logits), _ = network(params, {}, images, train=True)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    updates, opt_state = _optimizer(num_steps).update(jax.grad(loss)(params), opt_state, params)
    return optax.apply_updates(params, updates), opt_state  # pyright: ignore[reportReturnType]


class _Order:
    """Rows in shuffled passes without end."""

    def __init__(self, count: int, seed: int):
        self._count, self._generator = count, np.random.default_rng(seed)
        self._waiting = np.empty(0, np.int64)

    def take(self, num: int) -> np.ndarray:
        while len(self._waiting) < num:
            self._waiting = np.concatenate([self._waiting, self._generator.permutation(self._count)])
        rows, self._waiting = self._waiting[:num], self._waiting[num:]
        return rows


def _uint8_images(images: Any) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise EvaluationError(
            f"images ({images.dtype}, shape {images.shape}) must be uint8 (N, H, W, C); convert them."
        )
    return images


def _labelled(images: Any, labels: Any, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _uint8_images(images), np.asarray(labels)
    if not len(images) or labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise EvaluationError(
            f"labels ({labels.dtype}, shape {labels.shape}) must be one integer for each of {len(images)} images, and "
            "there must be images; give a labelled set."
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise EvaluationError(
            f"labels ({labels.min()} ... {labels.max()}) must lie in 0 ... {num_classes - 1}; check the set's classes."
        )
    return images, labels.astype(np.int32)


def _empty(num_features: int, num_classes: int) -> tuple[np.ndarray, ...]:
    return np.empty((0, num_features), np.float32), np.empty((0, num_classes), np.float32)
