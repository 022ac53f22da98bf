"""Discriminators that return an energy, low for real images: EBGAN with its pulling-away term, and BEGAN.

Such a D is usually an autoencoder and its energy the error of reconstruction, non-negative, one per image (B,). Every
function computes in float32 and returns what its network minimises.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgan.objectives.losses import Loss


def reconstruction_energy(images: jax.Array, reconstructed: jax.Array, *, power: float = 2.0) -> jax.Array:
    """Returns the mean over pixels and channels of |image - reconstruction|^power, float32 (B,).

    Args:
      images: (B, ...), what the autoencoder was given.
      reconstructed: the same shape.
      power: 2 as in EBGAN and torchgan, 1 as in BEGAN's experiments.

    Raises:
      ValueError: if the shapes differ.
    """
    if images.shape != reconstructed.shape:
        raise ValueError(f"images (shape {images.shape}) and reconstructed (shape {reconstructed.shape}) must agree.")
    error = jnp.abs(_float32(images) - _float32(reconstructed))
    return jnp.mean(error if power == 1.0 else error**power, axis=tuple(range(1, error.ndim)))


def energy_based(margin: float) -> Loss:
    """Returns the EBGAN game on energies: D minimises E(x) + relu(margin - E(G(z))), G minimises E(G(z)).

    Fakes beyond the margin give D no gradient. The paper chose the margin per data set, in units of its energy.

    Reference: Zhao et al. 2017 (arXiv:1609.03126), eqs. 1 and 2; matches torchgan, whose margin is 80 by default.

    Raises:
      ValueError: unless margin is positive.
    """
    if not margin > 0:
        raise ValueError(f"margin (={margin}) must be positive, else D has no reason to raise the energy of fakes.")

    def d(real_energy: jax.Array, fake_energy: jax.Array) -> jax.Array:
        return _float32(real_energy) + jax.nn.relu(margin - _float32(fake_energy))

    return Loss(d, _float32)


def pulling_away(embeddings: jax.Array) -> jax.Array:
    """Returns the mean squared cosine similarity of all pairs of different rows, a float32 scalar in [0, 1].

    Minimised by G it spreads a batch of fakes over directions; usual weight 0.1.

    Args:
      embeddings: (B, D) with B >= 2, e.g. the bottleneck of D's autoencoder. A row of zeros is similar to none.

    Reference: Zhao et al. 2017 (arXiv:1609.03126), section 2.4. torchgan deviates: it normalises along the batch
    axis, and counts each row's similarity with itself.

    Raises:
      ValueError: for another rank, or a single row.
    """
    if embeddings.ndim != 2 or embeddings.shape[0] < 2:
        raise ValueError(
            f"embeddings (shape {embeddings.shape}) must be (B, D) with B >= 2; flatten each image's features, and "
            "train with a batch of more than one image."
        )
    rows, (count, _) = _float32(embeddings), embeddings.shape
    squares = jnp.sum(jnp.square(rows), axis=1, keepdims=True)
    # The root's derivative at 0 is infinite: rows of zeros are divided by 1 instead.
    rows = rows / jnp.sqrt(jnp.where(squares > 0.0, squares, 1.0))
    cosines = jnp.matmul(rows, rows.T, precision=jax.lax.Precision.HIGHEST)
    others = jnp.where(jnp.eye(count, dtype=bool), 0.0, cosines)
    return jnp.sum(jnp.square(others)) / (count * (count - 1))


def boundary_equilibrium_d(real_energy: jax.Array, fake_energy: jax.Array, k: jax.Array) -> jax.Array:
    """Returns E(x) - k E(G(z)), float32 (B,); `k` is a scalar in [0, 1] and a constant to autodiff.

    Reference: BEGAN, Berthelot et al. 2017 (arXiv:1703.10717), section 3.4; matches torchgan. G minimises
    `boundary_equilibrium_g`, and `k` moves by `update_balance`.
    """
    return _float32(real_energy) - jax.lax.stop_gradient(_float32(k)) * _float32(fake_energy)


def boundary_equilibrium_g(fake_energy: jax.Array) -> jax.Array:
    """Returns E(G(z)), float32 (B,) (reference: `boundary_equilibrium_d`)."""
    return _float32(fake_energy)


def update_balance(
    k: jax.Array, real_energy: jax.Array, fake_energy: jax.Array, *, gamma: float = 0.75, lambda_k: float = 0.001
) -> jax.Array:
    """Returns the next k = clip(k + lambda_k (gamma mean E(x) - mean E(G(z))), 0, 1), a float32 scalar.

    Args:
      k: the present one; the paper starts at 0.
      real_energy, fake_energy: (B,), of one update of D.
      gamma: the ratio mean E(G(z)) / mean E(x) to be kept, in (0, 1]: lower is sharper and less diverse.
      lambda_k: how fast k follows.

    Reference: Berthelot et al. 2017 (arXiv:1703.10717), section 3.4, which takes the fakes of G's update; here, as in
    torchgan, both energies are those of D's update.
    """
    real, fake = jnp.mean(_float32(real_energy)), jnp.mean(_float32(fake_energy))
    return jax.lax.stop_gradient(jnp.clip(_float32(k) + lambda_k * (gamma * real - fake), 0.0, 1.0))


def convergence_measure(real_energy: jax.Array, fake_energy: jax.Array, *, gamma: float = 0.75) -> jax.Array:
    """Returns mean E(x) + |gamma mean E(x) - mean E(G(z))|, a float32 scalar that falls as training goes on.

    Reference: Berthelot et al. 2017 (arXiv:1703.10717), section 3.4.1.
    """
    real, fake = jnp.mean(_float32(real_energy)), jnp.mean(_float32(fake_energy))
    return real + jnp.abs(gamma * real - fake)


def _float32(x: jax.Array) -> jax.Array:
    return jnp.asarray(x, jnp.float32)
