"""The projection discriminator's head."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from jaxgan.layers.init import Init
from jaxgan.layers.linear import Embed, Linear
from jaxgan.layers.spectral_norm import SpectralNorm


class ProjectionHead(nnx.Module):
    """logits = linear(h) + <embed(labels), h>, float32.

    Reference: Miyato & Koyama 2018, "cGANs with Projection Discriminator" (arXiv:1802.05637), equation 3; spectral
    norm on the linear layer and on the embedding as in self-attention-gan and BigGAN-PyTorch. `num_classes` 0 leaves
    the second term out.
    """

    def __init__(
        self,
        features: int,
        num_classes: int = 0,
        *,
        sn: SpectralNorm | None = None,
        init: Init | None = None,
        rngs: nnx.Rngs,
    ):
        self.linear = Linear(features, 1, sn=sn, init=init, rngs=rngs)
        self.embed = Embed(num_classes, features, sn=sn, init=init, rngs=rngs) if num_classes else None

    def __call__(self, h: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Returns logits (B,) for features (B, features) and labels, as `look_up` reads them.

        Raises:
          ValueError: when the head has classes and labels are missing.
        """
        h = h.astype(jnp.float32)
        logits = self.linear(h, train=train)[:, 0]
        if self.embed is None:
            return logits
        if labels is None:
            raise ValueError("`labels` (=None) must be given to a class-conditional discriminator.")
        return logits + jnp.sum(self.embed(labels, train=train) * h, axis=-1)
