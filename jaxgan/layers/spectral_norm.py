"""Spectral normalisation as a pure function, its settings, and the variable that holds the power iteration's vector.

Reference: Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks" (arXiv:1802.05957),
section 2.1 and Algorithm 1.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from jaxgan.layers.init import normal


class SpectralVector(nnx.Variable):
    """The estimate `u` (float32, unit length after the first update) of a kernel's first singular vector."""


@dataclasses.dataclass(frozen=True)
class SpectralNorm:
    """Settings of spectral normalisation: power iterations per forward (>= 1) and the eps of its two divisions."""

    num_iters: int = 1
    eps: float = 1e-12

    def __post_init__(self) -> None:
        if self.num_iters < 1:
            raise ValueError(f"`num_iters` (={self.num_iters}) of spectral norm must be at least 1.")


def spectral_normalize(
    kernel: jax.Array, u: jax.Array, *, num_iters: int = 1, eps: float = 1e-12, axis: int = -1
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Divides a kernel by an estimate of its largest singular value.

    The kernel is read as the matrix (all other axes, `axis`). The iteration runs in float32 whatever the compute
    dtype; `u` and `v` are constants to differentiation, so gradients reach the kernel directly and through sigma
    (paper, equation 11). Inputs are not modified.

    Matches BigGAN-PyTorch's `SN` with eps added to the norms as TensorFlow's self-attention-gan does; that code also
    differentiates through the iteration, which neither the paper nor the other implementations do.

    Args:
      kernel: any rank >= 2.
      u: float32 (kernel.shape[axis],), not zero; its length does not matter.
      num_iters: power iterations, at least 1.
      eps: added to the norms that divide.
      axis: where `u` lives: -1 (out) for convolutions and linear layers, -2 (in) for transposed convolutions as
        torchgan normalises them, 0 for an embedding (num_classes, features).

    Returns:
      kernel / sigma (dtype of the kernel), the new u, and sigma, a float32 scalar.
    """
    w = jnp.moveaxis(kernel.astype(jnp.float32), axis, -1).reshape(-1, kernel.shape[axis])
    fixed, u = jax.lax.stop_gradient(w), jax.lax.stop_gradient(u)
    v = u
    for _ in range(num_iters):
        v = _dot(fixed, u)
        v = v / (jnp.linalg.norm(v) + eps)
        u = _dot(v, fixed)
        u = u / (jnp.linalg.norm(u) + eps)
    sigma = _dot(v, _dot(w, u))
    return (kernel / sigma).astype(kernel.dtype), u, sigma


def make_spectral_vector(rngs: nnx.Rngs, size: int, sn: SpectralNorm | None) -> SpectralVector | None:
    """Draws `u` from N(0, I) as the references do; None without spectral norm."""
    return None if sn is None else SpectralVector(normal(rngs, (size,), 1.0))


def effective_kernel(
    kernel: nnx.Param, u: SpectralVector | None, sn: SpectralNorm | None, *, train: bool, axis: int = -1
) -> jax.Array:
    """Returns the kernel a layer applies: itself without spectral norm, else divided by sigma.

    In training `u` is replaced by the iterated one, once per call. In evaluation the same iteration starts from the
    stored `u` and is dropped, so that the outputs do not depend on how often they were asked for (as BigGAN-PyTorch;
    TensorFlow's self-attention-gan moves `u` then too). The parameter itself never changes.
    """
    if sn is None or u is None:
        return kernel[...]
    normalized, new_u, _ = spectral_normalize(kernel[...], u[...], num_iters=sn.num_iters, eps=sn.eps, axis=axis)
    if train:
        u.set_value(new_u)  # `u[...] = new_u` makes flax ask tracers for their sharding: quadratic in the program
    return normalized


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    # Accelerators multiply float32 in reduced precision by default; sigma divides every weight.
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)
