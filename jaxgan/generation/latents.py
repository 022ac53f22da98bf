"""What generators are fed: z and labels, each sample a pure function of the seed and its own number."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.core import rng
from jaxgan.generation.errors import RunError

# Samples are drawn in blocks of this many, whatever is asked for: one program, hence the same bits, for every split
# of the same samples into batches (vectorised mathematical functions may round otherwise at another length).
_BLOCK = 64
_UNIFORM_BELOW = 0.1  # truncations below it propose from a uniform distribution; see `_propose`
_LEAST = 1e-6  # smaller truncations would leave the range of float32 arithmetic


def draw(
    latent_dim: int,
    num_classes: int,
    seed: int,
    start: int,
    count: int,
    *,
    truncation: float | None = None,
    class_id: int | None = None,
) -> dict[str, np.ndarray]:
    """Draws the samples `start` ... `start + count - 1` of a seed.

    Sample i depends on (seed, i) only: not on `start`, `count` or the number of devices. Its z is the same with and
    without labels, and elements that a truncation leaves alone are the same with and without it.

    Truncation is element-wise rejection (Brock et al. 2019, arXiv:1809.11096, section 3.1): an element is drawn again
    until |element| < truncation, strictly. nnabla's SAGAN stops after 100 rounds and keeps untruncated elements then;
    this does not.

    Args:
      latent_dim: size of z.
      num_classes: labels are uniform over them; 0 = unconditional, labels are 0.
      seed: 0 ... 2^32 - 1.
      start: number of the first sample, at least 0.
      count: of samples, at least 0.
      truncation: bound of every element; None or infinity = none.
      class_id: the label of every sample; None = random labels.

    Returns:
      {"z": float32 (count, latent_dim), "labels": int32 (count,)}.

    Raises:
      RunError: for an argument out of its range.
    """
    check_seed(seed)
    bound = check_truncation(truncation)
    if class_id is not None and not 0 <= class_id < num_classes:
        raise RunError(f"class {class_id} must be one of 0 ... {num_classes - 1}; choose another class.")
    blocks = [
        _draw_block(
            jax.device_put(np.uint32(seed)),
            jax.device_put(np.uint32(first)),
            jax.device_put(np.float32(bound)),
            latent_dim=latent_dim,
            num_classes=num_classes,
            proposal="none" if math.isinf(bound) else "uniform" if bound < _UNIFORM_BELOW else "normal",
        )
        for first in range(start - start % _BLOCK, start + count, _BLOCK)
    ]
    skipped = start % _BLOCK
    z = [block["z"] for block in jax.device_get(blocks)]
    labels = [block["labels"] for block in jax.device_get(blocks)]
    z = np.concatenate([*z, np.zeros((0, latent_dim), np.float32)])[skipped : skipped + count]
    labels = np.concatenate([*labels, np.zeros((0,), np.int32)])[skipped : skipped + count]
    return {"z": z, "labels": labels if class_id is None else np.full((count,), class_id, np.int32)}


def check_given(latent_dim: int, num_classes: int, z: Any, labels: Any) -> dict[str, np.ndarray]:
    """Checks inputs that were not drawn here.

    Args:
      latent_dim: of the generator.
      num_classes: of the generator; 0 = unconditional.
      z: (N, latent_dim), finite.
      labels: integers (N,), one integer for all, or mixtures of classes, floating (N, num_classes); None only where
        the generator is unconditional.

    Returns:
      {"z": float32 (N, latent_dim), "labels": int32 (N,) or float32 (N, num_classes)}.

    Raises:
      RunError: naming what does not fit.
    """
    z = np.asarray(z)
    if z.dtype.kind not in "fiu" or z.ndim != 2 or z.shape[1] != latent_dim or not len(z):
        raise RunError(f"z (={z.dtype}{list(z.shape)}) must be numbers [N, {latent_dim}], N >= 1; reshape it.")
    if not np.all(np.isfinite(z.astype(np.float32))):
        raise RunError("z has elements that are not finite; remove them.")
    if labels is None and num_classes:
        raise RunError(f"labels are missing, and this generator has {num_classes} classes; give one for every z.")
    labels = np.asarray(0 if labels is None else labels)
    labels = np.broadcast_to(labels, (len(z),)) if labels.ndim == 0 else labels
    wanted = f"integers [{len(z)}] within 0 ... {max(num_classes, 1) - 1}"
    if labels.dtype.kind in "iu" and labels.shape == (len(z),):
        if labels.min() < 0 or labels.max() >= max(num_classes, 1):
            raise RunError(f"labels ({labels.min()} ... {labels.max()}) must be {wanted}; change them.")
        return {"z": z.astype(np.float32), "labels": labels.astype(np.int32)}
    if labels.dtype.kind == "f" and num_classes and labels.shape == (len(z), num_classes):
        return {"z": z.astype(np.float32), "labels": labels.astype(np.float32)}
    raise RunError(f"labels (={labels.dtype}{list(labels.shape)}) must be {wanted}; convert them.")


def check_seed(seed: int) -> None:
    """Raises RunError unless 0 <= seed < 2^32."""
    if not 0 <= seed < 2**32:
        raise RunError(f"seed (={seed}) must be 0 ... 4294967295; choose another.")


def check_truncation(truncation: float | None) -> float:
    """Returns the bound, infinity for None; raises RunError unless it is positive."""
    bound = math.inf if truncation is None else float(truncation)
    if not bound >= _LEAST:  # NaN too
        raise RunError(
            f"truncation (={truncation}) must be a positive number, at least {_LEAST:g}: the bound of every element "
            "of z; try 0.5, or leave it out for none."
        )
    return bound


@functools.partial(jax.jit, static_argnames=("latent_dim", "num_classes", "proposal"))
def _draw_block(
    seed: jax.Array, first: jax.Array, bound: jax.Array, *, latent_dim: int, num_classes: int, proposal: str
) -> dict[str, jax.Array]:
    root = rng.stream(jax.random.key(seed), "generate")
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(first + jnp.arange(_BLOCK, dtype=jnp.uint32))
    z_keys = jax.vmap(lambda key: rng.stream(key, "z"))(keys)
    if proposal == "none":
        z = _propose(z_keys, jnp.uint32(0), latent_dim, None)
    else:
        z = _truncated(z_keys, latent_dim, bound, bound if proposal == "uniform" else None)
    if not num_classes:
        return {"z": z, "labels": jnp.zeros((_BLOCK,), jnp.int32)}
    draw_label = jax.vmap(lambda key: jax.random.randint(rng.stream(key, "labels"), (), 0, num_classes, jnp.int32))
    return {"z": z, "labels": draw_label(keys)}


def _truncated(keys: jax.Array, latent_dim: int, bound: jax.Array, uniform_bound: jax.Array | None) -> jax.Array:
    """Proposes again, with a key of the round, until every element lies strictly within the bound."""

    def is_open(loop: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.any(~(jnp.abs(loop[0]) < bound))

    def next_round(loop: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        z, number = loop
        return jnp.where(jnp.abs(z) < bound, z, _propose(keys, number, latent_dim, uniform_bound)), number + 1

    first = _propose(keys, jnp.uint32(0), latent_dim, uniform_bound)
    return jax.lax.while_loop(is_open, next_round, (first, jnp.uint32(1)))[0]


def _propose(keys: jax.Array, number: jax.Array, latent_dim: int, uniform_bound: jax.Array | None) -> jax.Array:
    """Draws elements of N(0, 1); with a bound, of N(0, 1) within it, infinite where the draw is rejected.

    A narrow bound would reject nearly every normal draw. A uniform x in [-bound, bound) accepted with probability
    exp(-x^2 / 2) has the same distribution and is nearly always accepted.
    """

    def propose(key: jax.Array) -> jax.Array:
        key = jax.random.fold_in(key, number)
        if uniform_bound is None:
            return jax.random.normal(key, (latent_dim,))
        x_key, accept_key = jax.random.split(key)
        x = uniform_bound * jax.random.uniform(x_key, (latent_dim,), minval=-1.0, maxval=1.0)
        accepted = jax.random.uniform(accept_key, (latent_dim,)) < jnp.exp(-jnp.square(x) / 2)
        return jnp.where(accepted, x, jnp.inf)

    return jax.vmap(propose)(keys)
