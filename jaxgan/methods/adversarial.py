"""One generator against one discriminator: SAGAN, SNGAN, DCGAN, WGAN(-GP), the simple GAN, and a user's own networks.

Networks `g`: `(z, labels) -> images` and `d`: `(images, labels) -> logits`; phases `d` (num_d_steps times), then `g`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxgan.core import rng
from jaxgan.core.network import BoundNetwork
from jaxgan.methods.base import LossOut, Nets, NetworkSpec, Phase
from jaxgan.objectives import penalties
from jaxgan.objectives.losses import ADVERSARIAL_LOSSES, Loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial:
    """The alternating GAN game.

    `generator` and `discriminator` build any `nnx.Module` taking `(z, labels)` / `(images, labels)`, with or without a
    keyword `train`; labels are int32 (B,) (zeros where the data has none). `loss` is a name of `ADVERSARIAL_LOSSES` or
    a pair of functions on logits (see `objectives/losses.py`). The other fields are those of `MethodConfig`.
    """

    generator: Callable[[nnx.Rngs], nnx.Module]
    discriminator: Callable[[nnx.Rngs], nnx.Module]
    latent_dim: int
    num_classes: int = 0  # 0 = unconditional
    loss_fns: str | Loss = "hinge"
    g_tx: optax.GradientTransformation = optax.adam(1e-4, b1=0.0, b2=0.999)
    d_tx: optax.GradientTransformation = optax.adam(4e-4, b1=0.0, b2=0.999)
    num_d_steps: int = 1
    ema_decay: float | None = None
    ema_start_step: int = 0
    penalty: str = "none"
    penalty_weight: float = 10.0
    weight_clip: float = 0.0
    d_loss_scale: float = 1.0
    joint_forward: bool = True
    d_stats_in_g_step: bool = True
    reuse_latents: bool = False
    fake_labels: str = "uniform"

    @property
    def networks(self) -> Mapping[str, NetworkSpec]:
        clip = functools.partial(penalties.clip_weights, bound=self.weight_clip) if self.weight_clip else None
        return {
            "g": NetworkSpec(self.generator, self.g_tx, ema_decay=self.ema_decay),
            "d": NetworkSpec(self.discriminator, self.d_tx, project=clip),
        }

    @property
    def phases(self) -> tuple[Phase, ...]:
        return Phase("d", ("d",), repeats=self.num_d_steps), Phase("g", ("g",))

    def init_aux(self) -> Any:
        return {}

    def loss(
        self, phase: str, nets: Nets, batch: Mapping[str, jax.Array], key: jax.Array, carry: Any, aux: Any
    ) -> tuple[jax.Array, LossOut]:
        """See `Method.loss`; metrics are the losses, the mean logits and the penalty."""
        latents = self._draw(rng.stream(key, "latents"), batch["images"].shape[0])
        if phase == "d":
            return self._d_loss(nets, batch, latents, rng.stream(key, "penalty"))
        return self._g_loss(nets, carry if self.reuse_latents else latents)

    def sample_inputs(self, key: jax.Array, rows: int, columns: int) -> dict[str, jax.Array]:
        """Returns z and labels of a grid: each row one class, classes evenly spaced; the z of a column are one z."""
        z = jax.random.normal(key, (columns, self.latent_dim)) if self.num_classes else None
        if z is None:
            z = jax.random.normal(key, (rows * columns, self.latent_dim))
            return {"z": z, "labels": jnp.zeros((rows * columns,), jnp.int32)}
        rows = min(rows, self.num_classes)
        classes = jnp.round(jnp.linspace(0, self.num_classes - 1, rows)).astype(jnp.int32)
        return {"z": jnp.tile(z, (rows, 1)), "labels": jnp.repeat(classes, columns)}

    def sample(self, nets: Nets, inputs: Any) -> jax.Array:
        return nets["g"](inputs["z"], inputs["labels"], train=False)

    @property
    def _loss(self) -> Loss:
        return ADVERSARIAL_LOSSES[self.loss_fns] if isinstance(self.loss_fns, str) else self.loss_fns

    def _draw(self, key: jax.Array, count: int) -> dict[str, jax.Array]:
        """Draws z ~ N(0, I) and the labels asked of G, independent of the real ones."""
        z_key, label_key = jax.random.split(key)
        z = jax.random.normal(z_key, (count, self.latent_dim))
        if not self.num_classes:
            labels = jnp.zeros((count,), jnp.int32)
        elif self.fake_labels == "without_replacement":
            labels = jax.random.permutation(label_key, self.num_classes)[:count].astype(jnp.int32)
        else:
            labels = jax.random.randint(label_key, (count,), 0, self.num_classes, jnp.int32)
        return {"z": z, "labels": labels}

    def _d_loss(
        self, nets: Nets, batch: Mapping[str, jax.Array], latents: dict[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, LossOut]:
        d, real = nets["d"], batch["images"]
        fake = jax.lax.stop_gradient(nets["g"](latents["z"], latents["labels"]))
        real_logits, fake_logits = self._discriminate(d, real, batch["labels"], fake, latents["labels"])
        loss = self.d_loss_scale * jnp.mean(self._loss.d(real_logits, fake_logits))
        metrics = {
            "d_loss": loss,
            "real_logits": jnp.mean(real_logits),
            "fake_logits": jnp.mean(fake_logits),
            # The share of images on the right side of zero: near 1 on both, D has won; the losses alone hide that.
            "d_accuracy": 0.5 * (jnp.mean(real_logits > 0) + jnp.mean(fake_logits < 0)),
        }
        if self.penalty != "none":
            penalty = self._penalty(d, real, batch["labels"], fake, latents["labels"], key)
            metrics["penalty"] = penalty
            loss += self.penalty_weight * penalty
        return loss, LossOut(metrics, carry=latents)

    def _g_loss(self, nets: Nets, latents: dict[str, jax.Array]) -> tuple[jax.Array, LossOut]:
        fake = nets["g"](latents["z"], latents["labels"])
        logits = nets["d"](fake, latents["labels"], update_stats=self.d_stats_in_g_step)
        loss = jnp.mean(self._loss.g(logits))
        return loss, LossOut({"g_loss": loss})

    def _discriminate(
        self, d: BoundNetwork, real: jax.Array, real_labels: jax.Array, fake: jax.Array, fake_labels: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        if not self.joint_forward:
            return d(real, real_labels), d(fake, fake_labels)
        logits = d(interleave(real, fake), interleave(real_labels, fake_labels))
        return logits[0::2], logits[1::2]

    def _penalty(
        self, d: BoundNetwork, real: jax.Array, real_labels: jax.Array, fake: jax.Array, fake_labels: jax.Array, key
    ) -> jax.Array:
        """Mean of the per-image penalty, unweighted; r1 and r2 carry the paper's factor 1/2 here.

        The critic is the one of this update: the stats of its extra forward are dropped.
        """

        def critic(labels: jax.Array) -> Callable[[jax.Array], jax.Array]:
            return lambda images: d(images, labels, update_stats=False)

        if self.penalty == "wgan_gp":
            values = penalties.wgan_gp(critic(real_labels), real, fake, key)
        elif self.penalty == "dragan":
            values = penalties.dragan(critic(real_labels), real, key)
        else:
            values = jnp.zeros((real.shape[0],), jnp.float32)
            if self.penalty in ("r1", "r1_r2"):
                values += 0.5 * penalties.r1(critic(real_labels), real)
            if self.penalty in ("r2", "r1_r2"):
                values += 0.5 * penalties.r2(critic(fake_labels), fake)
        return jnp.mean(values)


def interleave(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns a[0], b[0], a[1], b[1], ... along the batch axis.

    Concatenation would need all-gathers when the batch is cut over devices; pairs stay on their device.
    """
    return jnp.stack([a, b], axis=1).reshape(-1, *a.shape[1:])
