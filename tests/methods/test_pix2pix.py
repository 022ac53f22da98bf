"""pix2pix: who sees which pair, what each loss is, and a tiny set of pairs learned by heart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxgan.config import MeshConfig
from jaxgan.core import network as network_lib
from jaxgan.core import sharding
from jaxgan.core.network import BoundNetwork
from jaxgan.methods.base import initial_state
from jaxgan.methods.pix2pix import Pix2Pix
from jaxgan.models.cyclegan import PatchDiscriminator
from jaxgan.models.unet import UNetGenerator
from jaxgan.training.step import make_step


class G(nnx.Module):
    """w * images + a number drawn from the key; counts its training calls."""

    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray(0.5))
        self.calls = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, images, key, *, train):
        if train:
            self.calls[...] = self.calls[...] + 1
        return self.w[...] * images + jax.random.normal(key)


class D(nnx.Module):
    """Logits (B, 2, 2): w * input + 3 * output at every pixel, for one channel each; counts its training calls."""

    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray(2.0))
        self.calls = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, images, *, train):
        if train:
            self.calls[...] = self.calls[...] + 1
        return self.w[...] * images[..., 0] + 3 * images[..., 1]


def method(**kwargs) -> Pix2Pix:
    return Pix2Pix(**({"generator": G, "discriminator": D} | kwargs))


def bind(m: Pix2Pix):
    return {name: BoundNetwork(*network_lib.create(spec.build, jax.random.key(0))) for name, spec in m.networks.items()}


A = jnp.linspace(-1, 1, 3 * 4).reshape(3, 2, 2, 1)
B = jnp.cos(7 * A)
BATCH = {"a": A, "b": B}
KEY = jax.random.key(1)


def softplus(x):
    return np.log1p(np.exp(x))


def fake_of(nets, x, key):
    """What G returned for the dropout key that the D phase hands on."""
    return np.asarray(0.5 * x + jax.random.normal(key))


@pytest.mark.parametrize(("direction", "x", "y"), [("a2b", A, B), ("b2a", B, A)])
def test_losses_of_both_phases(direction, x, y):
    m = method(direction=direction, gan_weight=0.7, l1_weight=20.0)
    nets = bind(m)
    d_loss, out = m.loss("d", nets, BATCH, KEY, None, {})
    fake = fake_of(nets, x, out.carry)
    real_logits, fake_logits = (np.asarray(2 * x + 3 * image)[..., 0] for image in (y, fake))
    expected = 0.5 * np.mean(softplus(-real_logits) + softplus(fake_logits))  # half of two cross-entropies
    np.testing.assert_allclose(d_loss, expected, rtol=1e-5)
    np.testing.assert_allclose(out.metrics["d_loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(out.metrics["real_logits"], real_logits.mean(), rtol=1e-5)
    np.testing.assert_allclose(out.metrics["fake_logits"], fake_logits.mean(), rtol=1e-5)

    g_loss, g_out = m.loss("g", nets, BATCH, jax.random.key(99), out.carry, {})
    gan, l1 = np.mean(softplus(-fake_logits)), np.mean(np.abs(fake - y))
    np.testing.assert_allclose(g_loss, 0.7 * gan + 20 * l1, rtol=1e-5)
    np.testing.assert_allclose([g_out.metrics["gan_loss"], g_out.metrics["l1_loss"]], [gan, l1], rtol=1e-5)
    assert g_out.metrics["g_loss"] == g_loss


def test_the_weights_of_the_original_are_the_defaults():
    m = method()
    assert (m.gan_weight, m.l1_weight, m.d_loss_scale, m.loss_fns) == (1.0, 100.0, 0.5, "non_saturating")
    assert [(phase.name, phase.trains) for phase in m.phases] == [("d", ("d",)), ("g", ("g",))]


def test_statistics_move_once_per_step_in_g_and_with_every_forward_in_d():
    m = method()
    nets = bind(m)
    _, out = m.loss("d", nets, BATCH, KEY, None, {})
    assert nets["g"].stats["calls"] == 0 and nets["d"].stats["calls"] == 2
    m.loss("g", nets, BATCH, KEY, out.carry, {})
    assert nets["g"].stats["calls"] == 1 and nets["d"].stats["calls"] == 3


def test_gradients_reach_only_what_a_phase_trains():
    m = method()
    nets = bind(m)

    def loss(phase, name, w):
        moved = nets | {name: BoundNetwork(nets[name].network, {"w": w}, nets[name].stats)}
        return m.loss(phase, moved, BATCH, KEY, KEY, {})[0]

    gradient = {(p, n): jax.grad(functools.partial(loss, p, n))(jnp.asarray(0.5)) for p in "dg" for n in "dg"}
    assert gradient["d", "g"] == 0 and gradient["d", "d"] != 0 and gradient["g", "g"] != 0


def test_own_losses_and_generators_without_a_key():
    class Deterministic(nnx.Module):
        def __init__(self, rngs):
            self.w = nnx.Param(jnp.asarray(0.25))

        def __call__(self, images):
            return self.w[...] * images

    m = method(generator=Deterministic, loss_fns="least_squares", d_loss_scale=1.0)
    loss, _ = m.loss("d", bind(m), BATCH, KEY, None, {})
    expected = 0.5 * np.mean((2 * A + 3 * B - 1) ** 2) + 0.5 * np.mean((2 * A + 0.75 * A) ** 2)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(m.translate(bind(m), A, "a2b"), 0.25 * A)


def test_translation_follows_the_key_and_has_one_direction():
    m = method(direction="b2a")
    nets = bind(m)
    np.testing.assert_allclose(m.translate(nets, B, "b2a", KEY), fake_of(nets, B, KEY), rtol=1e-6)
    np.testing.assert_array_equal(m.translate(nets, B, "b2a"), m.translate(nets, B, "b2a"))
    assert m.directions == ("b2a",) and nets["g"].stats["calls"] == 0, "evaluation"
    with pytest.raises(ValueError, match=r"`direction` \(='a2b'\) must be b2a, the one that this generator"):
        m.translate(nets, A, "a2b")
    with pytest.raises(ValueError, match=r"`direction` \(='ab'\) must be a2b or b2a"):
        method(direction="ab")


def test_sample_grids_show_input_translation_and_target():
    m = method(direction="b2a")
    nets = bind(m)
    rng = np.random.default_rng(0)
    real = {domain: rng.integers(0, 256, (5, 2, 2, 1), np.uint8) for domain in "ab"}
    inputs = m.sample_inputs(KEY, 3, 10, real)
    images = m.sample(nets, inputs)
    assert images.shape == (9, 2, 2, 1) and images.dtype == jnp.float32 and m.grid_columns(10) == 3
    scaled = {domain: rows[:3] / 127.5 - 1 for domain, rows in real.items()}
    np.testing.assert_allclose(images[0::3], scaled["b"], atol=1e-6)
    np.testing.assert_allclose(images[2::3], scaled["a"], atol=1e-6)
    np.testing.assert_allclose(images[1::3], fake_of(nets, scaled["b"], KEY), atol=1e-5)


def test_optimizers_averages_and_state():
    tx = optax.sgd(1.0)
    m = method(g_tx=tx, ema_decay=0.9, ema_start_step=7)
    assert m.networks["g"].tx is tx and m.networks["d"].tx is not tx
    assert m.networks["g"].ema_decay == 0.9 and m.networks["d"].ema_decay is None and m.ema_start_step == 7
    assert m.init_aux({}) == {}


def tiny(**kwargs) -> Pix2Pix:
    return Pix2Pix(
        generator=lambda rngs: UNetGenerator(
            in_channels=1,
            out_channels=1,
            resolution=(8, 8),
            channels=8,
            num_downs=2,
            dropout=0.0,
            running_stats=True,
            rngs=rngs,
        ),
        discriminator=lambda rngs: PatchDiscriminator(in_channels=2, channels=8, num_layers=1, norm="batch", rngs=rngs),
        g_tx=optax.adam(5e-3, b1=0.5),
        d_tx=optax.adam(1e-3, b1=0.5),
        **kwargs,
    )


def train(m, batch, steps, data=1):
    """Trains for some steps on one batch; returns the final state, the networks and the first and last metrics."""
    mesh = sharding.make_mesh(MeshConfig(data=data))
    state, networks = initial_state(m, seed=0, sharding=sharding.replicated(mesh))
    step = jax.jit(make_step(m, networks, scaling="symmetric", unroll=True))
    batch = jax.device_put(batch, sharding.batch_sharding(mesh))
    history = []
    for _ in range(steps):
        state, metrics = step(state, batch, jax.random.key(3))
        history.append(metrics)
    return state, networks, history[0], history[-1]


def pairs(count=4):
    """Random blots and their negatives, mirrored."""
    coarse = np.random.default_rng(0).integers(0, 256, (1, count, 4, 4, 1), np.uint8)
    a = coarse.repeat(2, axis=2).repeat(2, axis=3)
    return {"a": a, "b": 255 - a[:, :, :, ::-1]}


def test_a_tiny_set_of_pairs_is_learned():
    state, networks, first, last = train(tiny(), pairs(), 120)
    assert last["l1_loss"] < 0.2 * first["l1_loss"] and last["l1_loss"] < 0.12
    nets = {name: BoundNetwork(networks[name], net.params, net.stats) for name, net in state.nets.items()}
    a, b = (pairs()[domain][0] / np.float32(127.5) - 1 for domain in "ab")
    translated = jax.jit(lambda x: tiny().translate(nets, x, "a2b"))(a)
    assert np.abs(translated - b).mean() < 0.2 * np.abs(a - b).mean()


def dropping() -> Pix2Pix:
    """Six levels, the fewest that have dropout."""
    return Pix2Pix(
        generator=lambda rngs: UNetGenerator(
            in_channels=1, out_channels=1, resolution=(64, 64), channels=1, init="torch", rngs=rngs
        ),
        discriminator=lambda rngs: PatchDiscriminator(in_channels=2, channels=2, norm="batch", rngs=rngs),
        g_tx=optax.sgd(1e-2),
        d_tx=optax.sgd(1e-2),
    )


def test_a_step_with_dropout_can_be_traced():
    state, networks = initial_state(dropping(), seed=0, sharding=sharding.replicated(sharding.make_mesh(MeshConfig())))
    step = make_step(dropping(), networks, scaling="symmetric", unroll=True)
    images = jax.ShapeDtypeStruct((1, 2, 64, 64, 1), np.uint8)
    after, metrics = jax.eval_shape(step, state, {"a": images, "b": images}, KEY)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert {"d_loss", "g_loss", "gan_loss", "l1_loss", "g_grad_norm", "d_grad_norm"} <= set(metrics)


@pytest.mark.slow
def test_a_step_with_dropout_moves_both_networks_and_is_the_same_on_eight_devices():
    rng = np.random.default_rng(0)
    batch = {domain: rng.integers(0, 256, (1, 8, 64, 64, 1), np.uint8) for domain in "ab"}
    one, _, metrics, _ = train(dropping(), batch, 1, data=1)
    eight, _, _, _ = train(dropping(), batch, 1, data=8)
    assert all(metrics[f"{name}_grad_norm"] > 0 for name in "dg")
    near = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5)
    for name in "dg":
        jax.tree.map(near, one.nets[name].params, eight.nets[name].params)
