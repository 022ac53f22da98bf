"""From one class or latent to another: the inputs of the frames of a morph."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.core.network import BoundNetwork
from jaxgan.generation.errors import RunError
from jaxgan.generation.run import Run


def class_mixtures(
    classes: Sequence[int], num_classes: int, num_frames: int, *, nnabla_order: bool = False
) -> np.ndarray:
    """Returns the weights of the classes in each frame, float32 (frames, num_classes), rows summing to 1.

    Labels of this kind mix the rows of gains and biases of every class-conditional batch norm linearly, which is the
    only place where a generator of this project sees the class.

    Args:
      classes: at least two ids, visited in order.
      num_classes: of the generator.
      num_frames: from each class to the next, both ends included (a class in between is shown once), so there are
        (len(classes) - 1) * (num_frames - 1) + 1 frames; at least 2.
      nnabla_order: the schedule of `morph.py` of nnabla-examples' SAGAN: frame i of n has i / n of the first class
        and the rest of the second, so it runs backwards and never reaches the first. Two classes only; n frames.

    Raises:
      RunError: for an argument out of its range.
    """
    if len(classes) < 2:
        raise RunError(f"a morph needs at least two classes and got {len(classes)}; name the one to go to.")
    least = 1 if nnabla_order else 2
    if num_frames < least:
        raise RunError(f"the number of frames (={num_frames}) must be at least {least}; raise it.")
    one_hot = np.eye(num_classes, dtype=np.float32)[list(classes)]
    if nnabla_order:
        if len(classes) != 2:
            raise RunError(f"nnabla's order is defined for two classes and got {len(classes)}; leave it out.")
        alpha = (np.arange(num_frames) / num_frames).astype(np.float32)[:, None]
        return alpha * one_hot[:1] + (1 - alpha) * one_hot[1:]
    t = np.linspace(0.0, 1.0, num_frames).astype(np.float32)[:, None]
    legs = [(1 - t) * a[None] + t * b[None] for a, b in zip(one_hot[:-1], one_hot[1:], strict=True)]
    return np.concatenate([legs[0], *(leg[1:] for leg in legs[1:])])


def spherical(z_from: np.ndarray, z_to: np.ndarray, num_frames: int) -> np.ndarray:
    """Interpolates latents along the great circle between them: float32 (num_frames, N, latent_dim), ends exact.

    slerp(a, b; t) = (sin((1 - t) w) a + sin(t w) b) / sin w with w the angle between a and b (Shoemake 1985,
    "Animating rotation with quaternion curves"; White 2016, arXiv:1609.04468, for latents). Between vectors of one
    length it keeps that length; in high dimensions normal draws nearly have one length, and their straight line
    would pass through lengths that no draw has. Parallel vectors are joined by the straight line.

    Args:
      z_from, z_to: (N, latent_dim).
      num_frames: at least 2.

    Raises:
      RunError: fewer frames.
    """
    if num_frames < 2:
        raise RunError(f"the number of frames (={num_frames}) must be at least 2; raise it.")
    a, b = z_from.astype(np.float64), z_to.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.clip((a * b).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny), -1.0, 1.0)
    angle = np.arccos(cosine)[None, :, None]
    t = np.linspace(0.0, 1.0, num_frames)[:, None, None]
    curved = np.sin(angle) > 1e-6
    sine = np.where(curved, np.sin(angle), 1.0)
    from_weight = np.where(curved, np.sin((1 - t) * angle) / sine, 1 - t)
    to_weight = np.where(curved, np.sin(t * angle) / sine, t)
    return (from_weight * a[None] + to_weight * b[None]).astype(np.float32)  # weights at the ends: exactly 1 and 0


def check_mixable(run: Run) -> None:
    """Raises RunError unless the generator takes mixtures of classes, as those of this project do."""
    if not run.num_classes:
        raise RunError(
            f"{run.workdir} was trained without classes, so there are none to morph between; morph between two "
            "latents with --to_seed."
        )
    z = jax.ShapeDtypeStruct((1, run.latent_dim), jnp.float32)
    labels = jax.ShapeDtypeStruct((1, run.num_classes), jnp.float32)
    nets = {name: BoundNetwork(run.networks[name], v.params, v.stats) for name, v in run.nets.items()}
    try:
        jax.eval_shape(lambda z, labels: run.method.sample(nets, {"z": z, "labels": labels}), z, labels)
    except (TypeError, ValueError, IndexError) as error:
        raise RunError(
            f"the generator of {run.workdir} takes class ids only and no mixtures float [B, {run.num_classes}] of "
            f"classes ({str(error).splitlines()[0]}); morph between two latents with --to_seed."
        ) from error
