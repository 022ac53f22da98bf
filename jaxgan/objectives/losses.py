"""Adversarial losses on logits, one value per image, in float32.

Everything here is `logits -> (B,)` without reduction: the method takes means (and may weight or log single images).
D's functions take `real_logits` and `fake_logits`, G's take `fake_logits`; logits are D's output without a sigmoid,
of any float dtype and of one common shape, usually (B,). Each function is what its network *minimises*. Gradient
penalties live in `penalties.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Loss(NamedTuple):
    """The two sides of one adversarial game.

    Attributes:
      d: `(real_logits (B,), fake_logits (B,)) -> (B,)`, minimised by the discriminator.
      g: `(fake_logits (B,)) -> (B,)`, minimised by the generator.
    """

    d: Callable[..., jax.Array]
    g: Callable[..., jax.Array]


def hinge_d(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Returns relu(1 - D(x)) + relu(1 + D(G(z))), shape (B,).

    A logit beyond the margin gives no gradient; exactly on the margin the derivative is taken as 0.

    Reference: Lim & Ye 2017 (arXiv:1705.02894); Miyato et al. 2018 (arXiv:1802.05957), eq. 16; SAGAN
    (arXiv:1805.08318), eq. 4. Matches self-attention-gan and BigGAN-PyTorch.
    """
    real_logits, fake_logits = _float32_pair(real_logits, fake_logits)
    return jax.nn.relu(1.0 - real_logits) + jax.nn.relu(1.0 + fake_logits)


def hinge_g(fake_logits: jax.Array) -> jax.Array:
    """Returns -D(G(z)), shape (B,): G's side of the hinge game is linear, it has no margin (references: `hinge_d`)."""
    return -_float32(fake_logits)


def non_saturating_d(real_logits: jax.Array, fake_logits: jax.Array, *, label_smoothing: float = 0.0) -> jax.Array:
    """Returns -log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))), shape (B,), by softplus (finite for every logit).

    Args:
      real_logits: (B,).
      fake_logits: (B,).
      label_smoothing: s in [0, 1); real images have the target 1 - s, fakes keep 0 (one-sided, as in Salimans et al.
        2016, arXiv:1606.03498, section 3.4, and torchgan).

    Reference: Goodfellow et al. 2014 (arXiv:1406.2661), eq. 1 (minimax and non-saturating GAN share D's side). Equals
    the sum of two binary cross-entropies with logits; the original code of some GANs halves it.
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing (={label_smoothing}) must lie in [0, 1); 0 turns it off, 0.1 is usual.")
    real_logits, fake_logits = _float32_pair(real_logits, fake_logits)
    # Cross-entropy with target t = 1 - s is softplus(-x) + (1 - t) x.
    real_loss = jax.nn.softplus(-real_logits) + label_smoothing * real_logits
    return real_loss + jax.nn.softplus(fake_logits)


def non_saturating_g(fake_logits: jax.Array) -> jax.Array:
    """Returns -log sigmoid(D(G(z))), shape (B,): gradients stay alive while D rejects the fakes.

    Reference: Goodfellow et al. 2014 (arXiv:1406.2661), section 3, last paragraph.
    """
    return jax.nn.softplus(-_float32(fake_logits))


minimax_d = non_saturating_d


def minimax_g(fake_logits: jax.Array) -> jax.Array:
    """Returns log(1 - sigmoid(D(G(z)))), shape (B,): the saturating form, whose gradient dies where D rejects a fake.

    Reference: Goodfellow et al. 2014 (arXiv:1406.2661), eq. 1.
    """
    return -jax.nn.softplus(_float32(fake_logits))


def least_squares_d(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Returns ((D(x) - 1)^2 + D(G(z))^2) / 2, shape (B,).

    Reference: LSGAN, Mao et al. 2017 (arXiv:1611.04076), eq. 9 (targets 0, 1, 1, both networks with the factor 1/2);
    matches torchgan. The original CycleGAN code halves D's sum as well.
    """
    real_logits, fake_logits = _float32_pair(real_logits, fake_logits)
    return 0.5 * (jnp.square(real_logits - 1.0) + jnp.square(fake_logits))


def least_squares_g(fake_logits: jax.Array) -> jax.Array:
    """Returns (D(G(z)) - 1)^2 / 2, shape (B,).

    Reference: as `least_squares_d`. CycleGAN's generators use this without the factor 1/2.
    """
    return 0.5 * jnp.square(_float32(fake_logits) - 1.0)


def wasserstein_d(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """Returns D(G(z)) - D(x), shape (B,): minus the critic's estimate of the Wasserstein-1 distance.

    Only an estimate where D is kept Lipschitz: by `penalties.wgan_gp`, `penalties.clip_weights` or spectral norm.

    Reference: Arjovsky et al. 2017 (arXiv:1701.07875), eq. 3 and algorithm 1.
    """
    real_logits, fake_logits = _float32_pair(real_logits, fake_logits)
    return fake_logits - real_logits


def wasserstein_g(fake_logits: jax.Array) -> jax.Array:
    """Returns -D(G(z)), shape (B,) (reference: `wasserstein_d`)."""
    return -_float32(fake_logits)


ADVERSARIAL_LOSSES: dict[str, Loss] = {
    "hinge": Loss(hinge_d, hinge_g),
    "non_saturating": Loss(non_saturating_d, non_saturating_g),
    "minimax": Loss(minimax_d, minimax_g),
    "least_squares": Loss(least_squares_d, least_squares_g),
    "wasserstein": Loss(wasserstein_d, wasserstein_g),
}


def find_loss(loss: str | Loss) -> Loss:
    """Returns the loss of that name in ADVERSARIAL_LOSSES; a loss itself passes through."""
    return ADVERSARIAL_LOSSES[loss] if isinstance(loss, str) else loss


def _float32(logits: jax.Array) -> jax.Array:
    return jnp.asarray(logits, jnp.float32)


def _float32_pair(real_logits: jax.Array, fake_logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    real_logits, fake_logits = _float32(real_logits), _float32(fake_logits)
    if real_logits.shape != fake_logits.shape:  # (B,) with (B, 1) would broadcast to (B, B) and train on wrong pairs
        raise ValueError(
            f"real_logits (shape {real_logits.shape}) and fake_logits (shape {fake_logits.shape}) must have one shape; "
            "return (B,) from the discriminator for equally many real and fake images."
        )
    return real_logits, fake_logits
