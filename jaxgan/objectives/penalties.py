"""Gradient penalties on a critic, one unweighted value per image, in float32; and weight clipping.

A critic is D with its labels and statistics closed over: `critic(images (B, H, W, C)) -> logits (B,)`. It must treat
the images independently of each other (no batch norm): then one gradient of the summed logits holds every image's own
gradient, and a second differentiation, with respect to D's parameters, costs one more backward pass. The caller
multiplies by its weight (lambda, or gamma / 2) and takes the mean.

Interpolates and images are constants to autodiff: a penalty trains D alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

Critic = Callable[[jax.Array], jax.Array]
Tree = TypeVar("Tree")


def squared_gradient_norm(critic: Critic, images: jax.Array) -> jax.Array:
    """Returns ||d critic(x_i) / d x_i||^2 over H, W and C for every image i, float32 (B,).

    Args:
      critic: see the module; its logits may be bfloat16.
      images: (B, H, W, C), any float dtype; the critic receives float32.

    Raises:
      ValueError: if the critic does not return one logit per image.
    """
    images = jax.lax.stop_gradient(jnp.asarray(images, jnp.float32))

    def summed_logits(x: jax.Array) -> jax.Array:
        logits = critic(x)
        if logits.shape != x.shape[:1]:
            raise ValueError(
                f"the critic returned logits of shape {logits.shape} for {x.shape[0]} images; it must return one "
                f"logit per image, shape ({x.shape[0]},): drop its mean or squeeze its last axis."
            )
        return jnp.sum(logits)

    gradients = jax.grad(summed_logits)(images)
    return jnp.sum(jnp.square(gradients), axis=tuple(range(1, images.ndim)))


def gradient_norm_penalty(critic: Critic, images: jax.Array, *, target: float = 1.0) -> jax.Array:
    """Returns (||d critic(x_i) / d x_i||_2 - target)^2 for every image i, float32 (B,).

    Where the gradient vanishes, the value is target^2 and its own derivative is 0 (the square root's is infinite; the
    zero is also PyTorch's choice), so a dead or freshly zeroed critic yields no NaN.
    """
    squared = squared_gradient_norm(critic, images)
    positive = squared > 0.0
    norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
    return jnp.square(norm - target)


def wgan_gp(critic: Critic, real: jax.Array, fake: jax.Array, key: jax.Array) -> jax.Array:
    """Two-sided gradient penalty between real and generated images, float32 (B,); usual weight 10.

    Every image has its own eps ~ U[0, 1): x_hat = eps * real + (1 - eps) * fake.

    Args:
      critic: see the module.
      real: (B, H, W, C).
      fake: (B, H, W, C), the same shape; no gradient reaches G.
      key: a jax.random key.

    Reference: Gulrajani et al. 2017 (arXiv:1704.00028), eq. 3 and algorithm 1; matches improved_wgan_training
    (per-image eps and norm). torchgan deviates: one eps and one norm for the whole batch.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real (shape {real.shape}) and fake (shape {fake.shape}) must have one shape to interpolate.")
    real, fake = jnp.asarray(real, jnp.float32), jnp.asarray(fake, jnp.float32)
    eps = jax.random.uniform(key, (real.shape[0],) + (1,) * (real.ndim - 1))
    return gradient_norm_penalty(critic, eps * real + (1.0 - eps) * fake)


def dragan(critic: Critic, real: jax.Array, key: jax.Array, *, target: float = 1.0) -> jax.Array:
    """Gradient penalty around the real images, float32 (B,); usual weight 10.

    x_hat = x + (1 - a) * 0.5 * std * b: `std` is the standard deviation of the whole batch over all axes (biased, as
    NumPy's), b ~ U[0, 1) for every value, a ~ U[0, 1) for every image.

    Args:
      critic: see the module.
      real: (B, H, W, C).
      key: a jax.random key.
      target: the norm that the gradient shall have (the paper's k).

    Reference: Kodali et al. 2017 (arXiv:1705.07215), eq. 4 and algorithm 1. Follows the authors' code
    (kodalinaveen3/DRAGAN), which perturbs by uniform and not by the paper's Gaussian noise, and takes a and the norm
    per image. torchgan deviates: a for every value, one norm for the whole batch.
    """
    real = jnp.asarray(real, jnp.float32)
    noise_key, mix_key = jax.random.split(key)
    noise = 0.5 * jnp.std(real) * jax.random.uniform(noise_key, real.shape)
    mix = jax.random.uniform(mix_key, (real.shape[0],) + (1,) * (real.ndim - 1))
    return gradient_norm_penalty(critic, real + (1.0 - mix) * noise, target=target)


def r1(critic: Critic, real: jax.Array) -> jax.Array:
    """Returns ||d critic(x) / d x||^2 at the real images, float32 (B,); the caller weighs with gamma / 2.

    Reference: Mescheder et al. 2018 (arXiv:1801.04406), eq. 9.
    """
    return squared_gradient_norm(critic, real)


def r2(critic: Critic, fake: jax.Array) -> jax.Array:
    """Returns ||d critic(x) / d x||^2 at generated images, float32 (B,); the caller weighs with gamma / 2.

    Reference: Mescheder et al. 2018 (arXiv:1801.04406), eq. 10; together with `r1` in R3GAN (arXiv:2501.05441).
    """
    return squared_gradient_norm(critic, fake)


def clip_weights(params: Tree, bound: float) -> Tree:
    """Returns the pytree `params` with every value clipped to [-bound, bound]; shapes and dtypes stay.

    To be applied to D after each of its updates, as in the paper's algorithm (torchgan clips before the update, so
    its weights can exceed the bound afterwards). The paper's bound is 0.01.

    Reference: Arjovsky et al. 2017 (arXiv:1701.07875), algorithm 1, line 7.
    """
    if not bound > 0:
        raise ValueError(f"bound (={bound}) must be positive, else every weight becomes the same; the paper's is 0.01.")
    return jax.tree.map(lambda param: jnp.clip(param, -bound, bound), params)
