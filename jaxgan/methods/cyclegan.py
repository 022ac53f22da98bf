"""CycleGAN: two generators translate between two domains without pairs, two discriminators judge.

Networks `g_ab`, `g_ba`: images -> images, `d_a`, `d_b`: images -> logits (B, h, w); phases `g` (both generators), then
`d` (both discriminators). Zhu et al. 2017, arXiv:1703.10593.
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
from jaxgan.core.network import BoundNetwork
from jaxgan.core.state import Average
from jaxgan.data.scaling import to_float
from jaxgan.data.spec import DataSpec
from jaxgan.methods.adversarial import interleave
from jaxgan.methods.base import LossOut, Nets, NetworkSpec, Phase
from jaxgan.methods.checks import Call, check_builder
from jaxgan.methods.errors import check_choice
from jaxgan.methods.image_pool import empty_pool, exchange
from jaxgan.objectives.losses import ADVERSARIAL_LOSSES, Loss, find_loss, least_squares_d

DIRECTIONS = ("a2b", "b2a")


def _squared_distance_to_real(fake_logits: jax.Array) -> jax.Array:
    return jnp.square(fake_logits.astype(jnp.float32) - 1.0)


# G's side lacks LSGAN's factor 1/2 in the original code, and weighs twice as much against the cycle loss.
CYCLEGAN_LEAST_SQUARES = Loss(least_squares_d, _squared_distance_to_real)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleGAN:
    """Unpaired translation between domains "a" and "b".

    L_G = gan_weight (L(d_b(G_ab(a))) + L(d_a(G_ba(b)))) + cycle_weight (|G_ba(G_ab(a)) - a| + |G_ab(G_ba(b)) - b|)
    + identity_weight (|G_ab(b) - b| + |G_ba(a) - a|) + paired_l1_weight (|G_ab(a) - b| + |G_ba(b) - a|), each |.| the
    mean over pixels. Each D minimises d_loss_scale * L_D on real images and on translations that went through its pool.

    Matches pytorch-CycleGAN-and-pix2pix at the defaults (lambda_A = lambda_B = 10, lambda_identity = 0.5 of them, pools
    of 50). torchgan's tutorial: gan_weight 0.25, cycle_weight 0.5, paired_l1_weight 0.5 (its "identity loss" compares
    translations with the paired target, hence the name here), d_loss_scale 0.5, neither identity nor pool; its D sees
    translations made anew by the just updated G, here those of the G phase. Both train two pairs of networks that share
    no parameters, so one Adam per pair (original) and one per network (tutorial) are the same updates.

    Fields:
      generator, discriminator: build the networks of both directions, each with weights of its own.
      image_shape: (H, W, C) of the training images; the pools hold such.
    """

    generator: Callable[[nnx.Rngs], nnx.Module]
    discriminator: Callable[[nnx.Rngs], nnx.Module]
    image_shape: tuple[int, int, int]
    loss_fns: str | Loss = CYCLEGAN_LEAST_SQUARES
    g_tx: optax.GradientTransformation = optax.adam(2e-4, b1=0.5, b2=0.999)
    d_tx: optax.GradientTransformation = optax.adam(2e-4, b1=0.5, b2=0.999)
    ema_decay: float | None = None
    ema_start_step: int = 0
    gan_weight: float = 1.0
    cycle_weight: float = 10.0
    identity_weight: float = 5.0
    paired_l1_weight: float = 0.0
    pool_size: int = 50
    d_loss_scale: float = 1.0

    def __post_init__(self) -> None:
        check_builder("generator", self.generator)
        check_builder("discriminator", self.discriminator)
        if isinstance(self.loss_fns, str):
            check_choice("loss_fns", self.loss_fns, ADVERSARIAL_LOSSES)

    @property
    def networks(self) -> Mapping[str, NetworkSpec]:
        generator = NetworkSpec(self.generator, self.g_tx, ema_decay=self.ema_decay)
        discriminator = NetworkSpec(self.discriminator, self.d_tx)
        return {"g_ab": generator, "g_ba": generator, "d_a": discriminator, "d_b": discriminator}

    @property
    def phases(self) -> tuple[Phase, ...]:
        return Phase("g", ("g_ab", "g_ba")), Phase("d", ("d_a", "d_b"))

    @property
    def directions(self) -> tuple[str, ...]:
        return DIRECTIONS

    def init_aux(self, nets: Mapping[str, Average]) -> Any:
        """Returns the pools of translations into domain a and into domain b."""
        del nets
        if not self.pool_size:
            return {}
        return {domain: empty_pool(self.pool_size, self.image_shape) for domain in ("a", "b")}

    def loss(
        self, phase: str, nets: Nets, batch: Mapping[str, jax.Array], key: jax.Array, carry: Any, aux: Any
    ) -> tuple[jax.Array, LossOut]:
        """See `Method.loss`; metrics are the unweighted terms."""
        if phase == "g":
            return self._g_loss(nets, batch["a"], batch["b"])
        return self._d_loss(nets, batch, key, carry, aux)

    def translate(self, nets: Nets, images: jax.Array, direction: str, key: jax.Array | None = None) -> jax.Array:
        """Returns the translations of images float32 (B, H, W, C) in [-1, 1], in evaluation mode."""
        del key
        return nets[_generator_of(direction)](images, train=False)

    def sample_inputs(
        self, key: jax.Array, rows: int, columns: int, real: Mapping[str, np.ndarray]
    ) -> dict[str, jax.Array]:
        del key, columns
        return {domain: jnp.asarray(real[domain][:rows]) for domain in ("a", "b")}

    def sample(self, nets: Nets, inputs: Any) -> jax.Array:
        """Returns rows of input, translation, reconstruction and identity of a, then of b."""
        a, b = (to_float(inputs[domain], scaling="symmetric") for domain in ("a", "b"))
        shown = []
        for images, forth, back in ((a, "g_ab", "g_ba"), (b, "g_ba", "g_ab")):
            translated = nets[forth](images, train=False)
            shown += [images, translated, nets[back](translated, train=False), nets[back](images, train=False)]
        return jnp.stack([image.astype(jnp.float32) for image in shown], axis=1).reshape(-1, *a.shape[1:])

    def grid_columns(self, columns: int) -> int:
        del columns
        return 8

    def calls(self, data: DataSpec, batch_size: int) -> dict[str, Call]:
        """Returns what the networks are called with; see `checks.py`."""
        images = jax.ShapeDtypeStruct((batch_size, data.height, data.width, data.channels), jnp.float32)
        translates, judges = Call({"images": images}, images=images), Call({"images": images}, images=None)
        return {"g_ab": translates, "g_ba": translates, "d_a": judges, "d_b": judges}

    @property
    def _loss(self) -> Loss:
        return find_loss(self.loss_fns)

    def _g_loss(self, nets: Nets, a: jax.Array, b: jax.Array) -> tuple[jax.Array, LossOut]:
        g_ab, g_ba = nets["g_ab"], nets["g_ba"]
        fake_b, fake_a = g_ab(a), g_ba(b)
        terms = {
            "gan_ab": (self.gan_weight, jnp.mean(self._loss.g(nets["d_b"](fake_b)))),
            "gan_ba": (self.gan_weight, jnp.mean(self._loss.g(nets["d_a"](fake_a)))),
        }
        if self.cycle_weight:
            terms["cycle_a"] = (self.cycle_weight, _distance(g_ba(fake_b), a))
            terms["cycle_b"] = (self.cycle_weight, _distance(g_ab(fake_a), b))
        if self.identity_weight:
            terms["identity_a"] = (self.identity_weight, _distance(g_ba(a), a))
            terms["identity_b"] = (self.identity_weight, _distance(g_ab(b), b))
        if self.paired_l1_weight:
            terms["paired_l1_ab"] = (self.paired_l1_weight, _distance(fake_b, b))
            terms["paired_l1_ba"] = (self.paired_l1_weight, _distance(fake_a, a))
        loss = jnp.asarray(sum(weight * value for weight, value in terms.values()))
        metrics = {"g_loss": loss} | {f"{name}_loss": value for name, (_, value) in terms.items()}
        fakes = jax.lax.stop_gradient({"a": fake_a, "b": fake_b})
        return loss, LossOut(metrics, carry=fakes)

    def _d_loss(
        self, nets: Nets, batch: Mapping[str, jax.Array], key: jax.Array, fakes: Mapping[str, jax.Array], pools: Any
    ) -> tuple[jax.Array, LossOut]:
        losses, new_pools = {}, {}
        for domain in ("a", "b"):
            fake = fakes[domain]
            if self.pool_size:
                new_pools[domain], fake = exchange(pools[domain], fake, rng.stream(key, f"pool/{domain}"))
            losses[domain] = self.d_loss_scale * self._d_loss_of(nets[f"d_{domain}"], batch[domain], fake)
        loss = losses["a"] + losses["b"]
        metrics = {"d_loss": loss, "d_a_loss": losses["a"], "d_b_loss": losses["b"]}
        return loss, LossOut(metrics, aux=new_pools if self.pool_size else None)

    def _d_loss_of(self, d: BoundNetwork, real: jax.Array, fake: jax.Array) -> jax.Array:
        logits = d(interleave(real, fake.astype(real.dtype)))  # instance norm keeps images apart: one forward for both
        return jnp.mean(self._loss.d(logits[0::2], logits[1::2]))


def _generator_of(direction: str) -> str:
    return {"a2b": "g_ab", "b2a": "g_ba"}[direction]


def _distance(images: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.mean(jnp.abs(images.astype(jnp.float32) - target))
