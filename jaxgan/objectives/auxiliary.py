"""The auxiliary classifier of ACGAN: D also names the class of an image, and G shall make that easy."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def classification(class_logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns -log P(label | image), the softmax cross-entropy, float32 (B,).

    D minimises its mean on real images plus its mean on fakes (with the labels asked of G), G that on fakes.

    Args:
      class_logits: (B, num_classes), any float dtype.
      labels: int (B,); one outside of [0, num_classes) gives NaN.

    Reference: Odena et al. 2017 (arXiv:1610.09585), eq. 3; matches torchgan.

    Raises:
      ValueError: for other shapes.
    """
    if class_logits.ndim != 2 or labels.shape != class_logits.shape[:1]:
        raise ValueError(
            f"class_logits (shape {class_logits.shape}) must be (B, num_classes) and labels (shape {labels.shape}) "
            "(B,): one row of logits and one label per image."
        )
    log_probs = jax.nn.log_softmax(jnp.asarray(class_logits, jnp.float32))
    # Compared rather than gathered: a gather would collect a batch that is cut over devices.
    chosen = labels[:, None] == jnp.arange(class_logits.shape[1])[None, :]
    log_likelihood = jnp.sum(jnp.where(chosen, log_probs, 0.0), axis=1)
    return jnp.where(jnp.any(chosen, axis=1), -log_likelihood, jnp.nan)
