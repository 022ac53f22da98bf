"""pix2pix: a generator learns to translate from pairs of images, a discriminator judges pairs.

Networks `g`: `(images, key) -> images` and `d`: (input and output, joined along the channels) -> logits (B, h, w);
phases `d`, then `g`. Isola et al. 2017, arXiv:1611.07004.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxgan.core import rng
from jaxgan.core.state import Average
from jaxgan.data.scaling import to_float
from jaxgan.data.spec import DataSpec
from jaxgan.methods.base import LossOut, Nets, NetworkSpec, Phase
from jaxgan.methods.checks import Call, check_builder
from jaxgan.methods.errors import check_choice
from jaxgan.objectives.losses import ADVERSARIAL_LOSSES, Loss, find_loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pix2Pix:
    """Paired translation from domain "a" to "b", or from "b" to "a": batches hold image i of both as a pair.

    L_G = gan_weight * L(d(x, G(x))) + l1_weight * mean |G(x) - y|; D minimises d_loss_scale * L_D on the pairs (x, y)
    and (x, G(x)) (equations 1, 3 and 4 of the paper). Matches pytorch-CycleGAN-and-pix2pix at the defaults: the
    discriminator first, on half of the sum of the two cross-entropies; both phases see the same translation, with the
    same dropout; D's batch norm sees translations and real pairs in forwards of their own. Where G has running
    statistics, they move once per step.

    Fields:
      generator: builds a module of `(images, key)`, or of `(images)`, with or without a keyword `train`; key is one
        for the batch in training, and one for each image (B,) when a run translates.
      discriminator: builds a module of images with the channels of both domains.
      direction: a2b | b2a.
      loss_fns: a name of `ADVERSARIAL_LOSSES` or a pair of functions on logits.
    """

    generator: Callable[[nnx.Rngs], nnx.Module]
    discriminator: Callable[[nnx.Rngs], nnx.Module]
    direction: str = "a2b"
    loss_fns: str | Loss = "non_saturating"
    g_tx: optax.GradientTransformation = optax.adam(2e-4, b1=0.5, b2=0.999)
    d_tx: optax.GradientTransformation = optax.adam(2e-4, b1=0.5, b2=0.999)
    ema_decay: float | None = None
    ema_start_step: int = 0
    gan_weight: float = 1.0
    l1_weight: float = 100.0
    d_loss_scale: float = 0.5

    def __post_init__(self) -> None:
        if self.direction not in ("a2b", "b2a"):
            raise ValueError(f"`direction` (={self.direction!r}) must be a2b or b2a.")
        check_builder("generator", self.generator)
        check_builder("discriminator", self.discriminator)
        if isinstance(self.loss_fns, str):
            check_choice("loss_fns", self.loss_fns, ADVERSARIAL_LOSSES)

    @property
    def networks(self) -> Mapping[str, NetworkSpec]:
        return {
            "g": NetworkSpec(self.generator, self.g_tx, ema_decay=self.ema_decay),
            "d": NetworkSpec(self.discriminator, self.d_tx),
        }

    @property
    def phases(self) -> tuple[Phase, ...]:
        return Phase("d", ("d",)), Phase("g", ("g",))

    @property
    def directions(self) -> tuple[str, ...]:
        return (self.direction,)

    def init_aux(self, nets: Mapping[str, Average]) -> Any:
        del nets
        return {}

    def loss(
        self, phase: str, nets: Nets, batch: Mapping[str, jax.Array], key: jax.Array, carry: Any, aux: Any
    ) -> tuple[jax.Array, LossOut]:
        """See `Method.loss`; metrics are the losses, G's unweighted terms and the mean logits."""
        x, y = (batch[domain] for domain in self._domains)
        if phase == "d":
            return self._d_loss(nets, x, y, rng.stream(key, "dropout"))
        return self._g_loss(nets, x, y, carry)

    def translate(self, nets: Nets, images: jax.Array, direction: str, key: jax.Array | None = None) -> jax.Array:
        """Returns the translations of images float32 (B, H, W, C) in [-1, 1], in evaluation mode.

        Args:
          nets: the networks.
          images: of the domain that `direction` starts from.
          direction: the one that was trained.
          key: of the dropout, or one for each image (B,); None = always the same.

        Raises:
          ValueError: for the other direction.
        """
        if direction != self.direction:
            raise ValueError(
                f"`direction` (={direction!r}) must be {self.direction}, the one that this generator was trained for."
            )
        return nets["g"](images, jax.random.key(0) if key is None else key, train=False)

    def sample_inputs(
        self, key: jax.Array, rows: int, columns: int, real: Mapping[str, np.ndarray]
    ) -> dict[str, jax.Array]:
        del columns
        x, y = (jnp.asarray(real[domain][:rows]) for domain in self._domains)
        return {"input": x, "target": y, "key": key}

    def sample(self, nets: Nets, inputs: Any) -> jax.Array:
        """Returns rows of input, translation and target."""
        x, y = (to_float(inputs[name], scaling="symmetric") for name in ("input", "target"))
        translated = self.translate(nets, x, self.direction, inputs["key"]).astype(jnp.float32)
        return jnp.stack([x, translated, y], axis=1).reshape(-1, *x.shape[1:])

    def calls(self, data: DataSpec, batch_size: int) -> dict[str, Call]:
        """Returns what the networks are called with; see `checks.py`."""
        shape = (batch_size, data.height, data.width, data.channels)
        images = jax.ShapeDtypeStruct(shape, jnp.float32)
        both = jax.ShapeDtypeStruct((*shape[:3], 2 * data.channels), jnp.float32)
        key = jax.eval_shape(lambda: jax.random.key(0))
        return {"g": Call({"images": images, "key": key}, images=images), "d": Call({"images": both}, images=None)}

    def grid_columns(self, columns: int) -> int:
        del columns
        return 3

    @property
    def _domains(self) -> tuple[str, str]:
        return ("a", "b") if self.direction == "a2b" else ("b", "a")

    @property
    def _loss(self) -> Loss:
        return find_loss(self.loss_fns)

    def _d_loss(self, nets: Nets, x: jax.Array, y: jax.Array, dropout_key: jax.Array) -> tuple[jax.Array, LossOut]:
        # The G phase runs G on the same images again: only there do the running statistics move.
        fake = jax.lax.stop_gradient(nets["g"](x, dropout_key, update_stats=False))
        fake_logits = nets["d"](_pair(x, fake))
        real_logits = nets["d"](_pair(x, y))
        loss = self.d_loss_scale * jnp.mean(self._loss.d(real_logits, fake_logits))
        metrics = {"d_loss": loss, "real_logits": jnp.mean(real_logits), "fake_logits": jnp.mean(fake_logits)}
        return loss, LossOut(metrics, carry=dropout_key)

    def _g_loss(self, nets: Nets, x: jax.Array, y: jax.Array, dropout_key: jax.Array) -> tuple[jax.Array, LossOut]:
        fake = nets["g"](x, dropout_key)
        gan = jnp.mean(self._loss.g(nets["d"](_pair(x, fake))))
        l1 = jnp.mean(jnp.abs(fake.astype(jnp.float32) - y))
        loss = self.gan_weight * gan + self.l1_weight * l1
        return loss, LossOut({"g_loss": loss, "gan_loss": gan, "l1_loss": l1})


def _pair(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.concatenate([x, y.astype(x.dtype)], axis=-1)
