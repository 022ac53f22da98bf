"""InfoGAN: codes that G is given and that can be read off its images.

The codes are functions of z ~ N(0, I), so that sampling, resuming and evaluating know nothing of them: of the entries
of z the first `categorical` decide the class by their maximum, and the next `continuous` are the Gaussian codes. A
generator feeds `codes(z)` and `noise(z)` to its first layer and nothing else of z: a G that saw the entries behind the
one-hot vector could ignore it.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp


def codes(z: jax.Array, *, categorical: int = 10, continuous: int = 2) -> tuple[jax.Array, jax.Array]:
    """Returns the codes of z: a one-hot (B, categorical), exactly uniform by symmetry, and N(0, I) (B, continuous).

    They are float32, independent of each other and of `noise(z)`.

    Args:
      z: (B, latent_dim) ~ N(0, I).
      categorical: number of values of the discrete code; 0 = none, else at least 2.
      continuous: number of continuous codes.

    Reference: Chen et al. 2016 (arXiv:1606.03657), section 7.2 (10 and 2 for MNIST). The paper's continuous codes are
    uniform on [-1, 1].

    Raises:
      ValueError: if z has too few entries, or the discrete code a single value.
    """
    _check(z, categorical, continuous)
    scores = z[:, :categorical]
    one_hot = jax.nn.one_hot(jnp.argmax(scores, axis=1), categorical) if categorical else jnp.zeros(scores.shape)
    return one_hot, jnp.asarray(z[:, categorical : categorical + continuous], jnp.float32)


def noise(z: jax.Array, *, categorical: int = 10, continuous: int = 2) -> jax.Array:
    """Returns the entries of z that belong to no code, (B, latent_dim - categorical - continuous); see `codes`."""
    _check(z, categorical, continuous)
    return z[:, categorical + continuous :]


def code_loss(
    one_hot: jax.Array,
    values: jax.Array,
    *,
    code_logits: jax.Array | None = None,
    code_mean: jax.Array | None = None,
    code_log_var: jax.Array | None = None,
) -> jax.Array:
    """Returns -log Q(codes | image), float32 (B,): minus the lower bound of the mutual information, but for a constant.

    The constant is the codes' entropy. Q is a softmax for the discrete code and independent Gaussians for the
    continuous ones, whose log-likelihoods add up.
    Gradients reach both Q's outputs and, through them, the generated images.

    Args:
      one_hot: (B, K), the discrete codes given to G.
      values: (B, C), the continuous ones.
      code_logits: (B, K), Q's logits; needed unless K = 0.
      code_mean: (B, C), Q's means; needed unless C = 0.
      code_log_var: (B, C), the logarithms of Q's variances; None = variance 1.

    Reference: Chen et al. 2016 (arXiv:1606.03657), eq. 5. torchgan deviates: it averages the log-likelihoods of the
    codes, and builds its penalty from copied numbers, so that it has no gradient.

    Raises:
      ValueError: if an output of Q has another shape than its code.
    """
    total = jnp.zeros((one_hot.shape[0],), jnp.float32)
    if one_hot.shape[1]:
        log_probs = jax.nn.log_softmax(_like(code_logits, one_hot, "code_logits"))
        total -= jnp.sum(one_hot * log_probs, axis=1)
    if values.shape[1]:
        mean = _like(code_mean, values, "code_mean")
        log_var = jnp.zeros_like(mean) if code_log_var is None else _like(code_log_var, values, "code_log_var")
        square = jnp.square(values - mean) * jnp.exp(-log_var)
        total += 0.5 * jnp.sum(math.log(2.0 * math.pi) + log_var + square, axis=1)
    return total


def _check(z: jax.Array, categorical: int, continuous: int) -> None:
    if categorical == 1 or min(categorical, continuous) < 0:
        raise ValueError(
            f"categorical (={categorical}) must be 0 or at least 2, and continuous (={continuous}) at least 0."
        )
    if z.ndim != 2 or z.shape[1] < categorical + continuous:
        raise ValueError(
            f"z (shape {z.shape}) must be (B, latent_dim) with latent_dim >= {categorical + continuous}, the number of "
            f"its entries that {categorical} discrete and {continuous} continuous codes take."
        )


def _like(output: jax.Array | None, code: jax.Array, name: str) -> jax.Array:
    if output is None or output.shape != code.shape:
        shape = None if output is None else output.shape
        raise ValueError(f"{name} (shape {shape}) must have the shape of its codes, {code.shape}.")
    return jnp.asarray(output, jnp.float32)
