"""Quantities that shall agree: features of real and generated images, parameters and their own past."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def feature_matching(real_features: jax.Array, fake_features: jax.Array) -> jax.Array:
    """Returns ||mean f(x) - mean f(G(z))||^2, means over the batch, a float32 scalar.

    Args:
      real_features: (B, ...), an inner layer of D on real images; a constant to autodiff.
      fake_features: (B', ...), the same layer on generated ones.

    Reference: Salimans et al. 2016 (arXiv:1606.03498), section 3.1. torchgan deviates: it takes the mean squared
    difference of single images, real i against fake i.

    Raises:
      ValueError: if the shapes differ behind the batch axis.
    """
    if real_features.shape[1:] != fake_features.shape[1:]:
        raise ValueError(
            f"real_features (shape {real_features.shape}) and fake_features (shape {fake_features.shape}) must have "
            "one shape behind the batch axis."
        )
    real = jax.lax.stop_gradient(jnp.mean(jnp.asarray(real_features, jnp.float32), axis=0))
    return jnp.sum(jnp.square(real - jnp.mean(jnp.asarray(fake_features, jnp.float32), axis=0)))


def squared_distance(tree: Any, other: Any) -> jax.Array:
    """Returns the sum over all values of (tree - other)^2, a float32 scalar; `other` is a constant to autodiff."""
    squares = jax.tree.map(lambda a, b: jnp.sum(jnp.square(a - jax.lax.stop_gradient(b))), tree, other)
    return jnp.asarray(sum(jax.tree.leaves(squares)), jnp.float32)


def running_mean(mean: Tree, count: jax.Array, new: Tree) -> Tree:
    """Returns the mean of count + 1 trees, given the mean of the first `count` and the last one.

    Historical averaging adds `squared_distance(params, mean)` to a network's loss, with the mean over all its earlier
    parameters.

    Reference: Salimans et al. 2016 (arXiv:1606.03498), section 3.3. The paper's mean includes the present parameters,
    which scales the distance by (t - 1) / t; torchgan's, as here, does not.
    """
    share = 1.0 / (count + 1)
    return jax.tree.map(lambda m, x: m + share * (jax.lax.stop_gradient(x) - m), mean, new)
