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
import numpy as np
import optax
from flax import nnx

from jaxgan.core import rng
from jaxgan.core.network import BoundNetwork
from jaxgan.core.state import Average
from jaxgan.data.spec import DataSpec
from jaxgan.methods.base import LossOut, Nets, NetworkSpec, Phase
from jaxgan.methods.checks import Call, check_builder
from jaxgan.methods.errors import MethodError, check_choice
from jaxgan.methods.game import Entry, Game, Outputs, Terms, add_up, entries, init_states, outputs
from jaxgan.objectives import penalties
from jaxgan.objectives.losses import ADVERSARIAL_LOSSES, Loss, find_loss

PENALTIES = ("none", "wgan_gp", "dragan", "r1", "r2", "r1_r2")
FAKE_LABELS = ("uniform", "without_replacement", "data")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial:
    """The alternating GAN game.

    `generator` and `discriminator` build any `nnx.Module` taking `(z, labels)` / `(images, labels)`, with or without a
    keyword `train`; labels are int32 (B,) (zeros where the data has none), and a module that takes one input gets no
    labels. D returns logits (B,), or a dictionary with "logits" and whatever its terms read, each with the batch axis
    in front.

    `loss_fns` is a name of `ADVERSARIAL_LOSSES`, a `Loss(d, g)` of functions on logits (see `objectives/losses.py`), or
    None for terms alone. `d_terms` and `g_terms` are further losses, named by their keys or their functions: each
    network minimises its adversarial loss plus the penalty plus the weighted sum of its terms (see `terms.py`). Logged
    as `d_loss` and `g_loss` is the adversarial loss alone (without one, the sum of the terms); as `d_<name>`,
    `g_<name>` each term without its weight. With `num_microbatches` > 1 D takes its batch in that many pieces (see
    `in_pieces`), so it must not mix the images of a batch. The other fields are those of `MethodConfig`.

    Raises:
      MethodError: for an unknown name, a built network instead of a builder, badly named terms, or nothing to minimise.
    """

    generator: Callable[[nnx.Rngs], nnx.Module]
    discriminator: Callable[[nnx.Rngs], nnx.Module]
    latent_dim: int
    num_classes: int = 0  # 0 = unconditional
    loss_fns: str | Loss | None = "hinge"
    d_terms: Terms = ()
    g_terms: Terms = ()
    g_tx: optax.GradientTransformation = optax.adam(1e-4, b1=0.0, b2=0.999)
    d_tx: optax.GradientTransformation = optax.adam(4e-4, b1=0.0, b2=0.999)
    num_d_steps: int = 1
    num_microbatches: int = 1
    ema_decay: float | None = None
    ema_start_step: int = 0
    penalty: str = "none"
    penalty_weight: float = 10.0
    weight_clip: float = 0.0
    d_loss_scale: float = 1.0
    joint_forward: bool = True
    d_stats_in_g_step: bool = True
    reuse_latents: bool = False
    fake_labels: str = "uniform"  # uniform | without_replacement | data

    def __post_init__(self) -> None:
        check_builder("generator", self.generator)
        check_builder("discriminator", self.discriminator)
        if isinstance(self.loss_fns, str):
            check_choice("loss_fns", self.loss_fns, ADVERSARIAL_LOSSES)
        elif self.loss_fns is not None and not isinstance(self.loss_fns, Loss):
            raise MethodError(
                f"loss_fns (={self.loss_fns!r}) must be a name, None, or Loss(d, g): the two functions of logits."
            )
        check_choice("penalty", self.penalty, PENALTIES)
        check_choice("fake_labels", self.fake_labels, FAKE_LABELS)
        for phase, found in self._entries.items():
            if self.loss_fns is None and not found:
                raise MethodError(f"{phase} has nothing to minimise; give it {phase}_terms, or set loss_fns.")

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

    def init_aux(self, nets: Mapping[str, Average]) -> Any:
        """Returns the states of the terms; see `Method.init_aux`."""
        return init_states(self._entries, nets)

    def loss(
        self, phase: str, nets: Nets, batch: Mapping[str, jax.Array], key: jax.Array, carry: Any, aux: Any
    ) -> tuple[jax.Array, LossOut]:
        """See `Method.loss`; metrics are the losses, the mean logits, the penalty and the terms."""
        nets["d"].num_pieces = self.num_microbatches
        latents = self._draw(rng.stream(key, "latents"), batch["images"].shape[0])
        if self.num_classes and self.fake_labels == "data":
            latents["labels"] = batch["labels"]
        if phase == "d":
            return self._d_loss(nets, batch, latents, key, aux)
        return self._g_loss(nets, batch, carry if self.reuse_latents else latents, key, aux)

    def sample_inputs(
        self, key: jax.Array, rows: int, columns: int, real: Mapping[str, np.ndarray]
    ) -> dict[str, jax.Array]:
        """Returns z and labels of a grid: each row one class, classes evenly spaced; the z of a column are one z."""
        del real
        z = jax.random.normal(key, (columns, self.latent_dim)) if self.num_classes else None
        if z is None:
            z = jax.random.normal(key, (rows * columns, self.latent_dim))
            return {"z": z, "labels": jnp.zeros((rows * columns,), jnp.int32)}
        rows = min(rows, self.num_classes)
        classes = jnp.round(jnp.linspace(0, self.num_classes - 1, rows)).astype(jnp.int32)
        return {"z": jnp.tile(z, (rows, 1)), "labels": jnp.repeat(classes, columns)}

    def sample(self, nets: Nets, inputs: Any) -> jax.Array:
        return nets["g"](inputs["z"], inputs["labels"], train=False)

    def grid_columns(self, columns: int) -> int:
        return columns

    def calls(self, data: DataSpec, batch_size: int) -> dict[str, Call]:
        """Returns what the networks are called with; see `checks.py`."""
        labels = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
        images = jax.ShapeDtypeStruct((batch_size, data.height, data.width, data.channels), jnp.float32)
        z = jax.ShapeDtypeStruct((batch_size, self.latent_dim), jnp.float32)
        return {
            "g": Call({"z": z, "labels": labels}, images=images),
            "d": Call({"images": images, "labels": labels}, images=None),
        }

    @functools.cached_property
    def _entries(self) -> dict[str, tuple[Entry, ...]]:
        return {"d": entries(self.d_terms, "d"), "g": entries(self.g_terms, "g")}

    @property
    def _loss(self) -> Loss | None:
        return None if self.loss_fns is None else find_loss(self.loss_fns)

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
        self, nets: Nets, batch: Mapping[str, jax.Array], latents: dict[str, jax.Array], key: jax.Array, aux: Any
    ) -> tuple[jax.Array, LossOut]:
        d, real, penalty_key = nets["d"], batch["images"], rng.stream(key, "penalty")
        fake = jax.lax.stop_gradient(nets["g"](latents["z"], latents["labels"]))
        real_out, fake_out = self._discriminate(d, real, batch["labels"], fake, latents["labels"])
        real_logits, fake_logits = real_out["logits"], fake_out["logits"]
        loss, metrics = jnp.zeros((), jnp.float32), {}
        if self._loss is not None:
            loss = self.d_loss_scale * jnp.mean(self._loss.d(real_logits, fake_logits))
            metrics["d_loss"] = loss
        metrics["real_logits"], metrics["fake_logits"] = jnp.mean(real_logits), jnp.mean(fake_logits)
        if self._loss is not None:
            # The share of images on the right side of zero: near 1 on both, D has won; the losses alone hide that.
            metrics["d_accuracy"] = 0.5 * (jnp.mean(real_logits > 0) + jnp.mean(fake_logits < 0))
        if self.penalty != "none":
            penalty = self._penalty(d, real, batch["labels"], fake, latents["labels"], penalty_key)
            metrics["penalty"] = penalty
            loss += self.penalty_weight * penalty
        game = Game(
            "d", nets=nets, batch=batch, latents=latents, fake=fake, fake_out=fake_out, real_out=real_out, key=key
        )
        return self._with_terms(game, loss, metrics, aux, carry=latents)

    def _g_loss(
        self, nets: Nets, batch: Mapping[str, jax.Array], latents: dict[str, jax.Array], key: jax.Array, aux: Any
    ) -> tuple[jax.Array, LossOut]:
        fake = nets["g"](latents["z"], latents["labels"])
        fake_out = outputs(nets["d"](fake, latents["labels"], update_stats=self.d_stats_in_g_step))
        loss, metrics = jnp.zeros((), jnp.float32), {}
        if self._loss is not None:
            loss = jnp.mean(self._loss.g(fake_out["logits"]))
            metrics["g_loss"] = loss
        game = Game("g", nets=nets, batch=batch, latents=latents, fake=fake, fake_out=fake_out, real_out=None, key=key)
        return self._with_terms(game, loss, metrics, aux)

    def _with_terms(
        self, game: Game, loss: jax.Array, metrics: dict[str, jax.Array], aux: Any, carry: Any = None
    ) -> tuple[jax.Array, LossOut]:
        found = self._entries[game.phase]
        if not found:
            return loss, LossOut(metrics, carry=carry)
        total, of_terms, states = add_up(found, game, aux)
        if self._loss is None:
            metrics[f"{game.phase}_loss"] = total
        return loss + total, LossOut(metrics | of_terms, carry=carry, aux=states)

    def _discriminate(
        self, d: BoundNetwork, real: jax.Array, real_labels: jax.Array, fake: jax.Array, fake_labels: jax.Array
    ) -> tuple[Outputs, Outputs]:
        if not self.joint_forward:
            return outputs(d(real, real_labels)), outputs(d(fake, fake_labels))
        both = outputs(d(interleave(real, fake), interleave(real_labels, fake_labels)))
        real_out = {name: x[0::2] for name, x in both.items()}
        return Outputs(real_out), Outputs({name: x[1::2] for name, x in both.items()})

    def _penalty(
        self, d: BoundNetwork, real: jax.Array, real_labels: jax.Array, fake: jax.Array, fake_labels: jax.Array, key
    ) -> jax.Array:
        """Mean of the per-image penalty, unweighted; r1 and r2 carry the paper's factor 1/2 here.

        The critic is the one of this update: the stats of its extra forward are dropped.
        """

        def critic(labels: jax.Array) -> Callable[[jax.Array], jax.Array]:
            return lambda images: outputs(d(images, labels, update_stats=False))["logits"]

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
