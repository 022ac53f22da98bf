"""The GAN game: who sees what, with which labels, and what each switch changes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxgan.core import network as network_lib
from jaxgan.core.network import BoundNetwork
from jaxgan.methods.adversarial import Adversarial, interleave
from jaxgan.models.mlp import MLPDiscriminator, MLPGenerator
from jaxgan.objectives.losses import Loss


class G(nnx.Module):
    """Images (B, 2, 2, 1) whose pixels are w * (sum of z) + label / 10; counts its training calls."""

    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray(0.5))
        self.calls = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, z, labels, *, train):
        if train:
            self.calls[...] = self.calls[...] + 1
        value = self.w[...] * jnp.sum(z, axis=1) + labels / 10
        return jnp.broadcast_to(value[:, None, None, None], (len(z), 2, 2, 1))


class D(nnx.Module):
    """Logits: w * mean of the image + label; counts its training calls and the images of the last one."""

    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray(2.0))
        self.calls = nnx.BatchStat(jnp.zeros(()))
        self.seen = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, images, labels, *, train):
        if train:
            self.calls[...] = self.calls[...] + 1
            self.seen[...] = jnp.asarray(float(len(images)))
        return self.w[...] * jnp.mean(images, axis=(1, 2, 3)) + labels


def method(**kwargs) -> Adversarial:
    return Adversarial(**({"generator": G, "discriminator": D, "latent_dim": 3} | kwargs))


def bind(m: Adversarial):
    nets = {}
    for name, spec in m.networks.items():
        nets[name] = BoundNetwork(*network_lib.create(spec.build, jax.random.key(0)))
    return nets


BATCH = {"images": jnp.linspace(-1, 1, 6 * 4).reshape(6, 2, 2, 1), "labels": jnp.arange(6) % 2}
KEY = jax.random.key(1)


def test_d_loss_is_the_hinge_on_real_and_fake():
    m = method()
    nets = bind(m)
    loss, out = m.loss("d", nets, BATCH, KEY, None, {})
    z = out.carry["z"]
    fake = 0.5 * np.sum(z, axis=1)
    real = 2 * np.mean(BATCH["images"], axis=(1, 2, 3)) + BATCH["labels"]
    expected = np.mean(np.maximum(1 - real, 0)) + np.mean(np.maximum(1 + 2 * fake, 0))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(out.metrics["real_logits"], np.mean(real), rtol=1e-5)
    np.testing.assert_allclose(out.metrics["fake_logits"], np.mean(2 * fake), rtol=1e-5)
    np.testing.assert_allclose(out.metrics["d_accuracy"], (np.mean(real > 0) + np.mean(2 * fake < 0)) / 2, rtol=1e-6)


def test_g_loss_uses_fresh_latents_or_those_of_the_d_phase():
    for reuse in (False, True):
        m = method(reuse_latents=reuse)
        nets = bind(m)
        _, out = m.loss("d", nets, BATCH, KEY, None, {})
        loss, _ = m.loss("g", nets, BATCH, jax.random.key(2), out.carry, {})
        same = -np.mean(2 * 0.5 * np.sum(out.carry["z"], axis=1))
        assert np.isclose(loss, same, rtol=1e-5) == reuse


@pytest.mark.parametrize(("joint", "calls", "seen"), [(True, 1, 12), (False, 2, 6)])
def test_one_forward_or_two(joint, calls, seen):
    m = method(joint_forward=joint)
    nets = bind(m)
    m.loss("d", nets, BATCH, KEY, None, {})
    assert nets["d"].stats["calls"] == calls and nets["d"].stats["seen"] == seen
    assert nets["g"].stats["calls"] == 1


def test_both_forms_give_the_same_loss():
    losses = []
    for joint in (True, False):
        m = method(joint_forward=joint)
        losses.append(m.loss("d", bind(m), BATCH, KEY, None, {})[0])
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.parametrize("moves", [True, False])
def test_ds_stats_move_in_the_g_phase_if_told(moves):
    m = method(d_stats_in_g_step=moves)
    nets = bind(m)
    m.loss("g", nets, BATCH, KEY, None, {})
    assert nets["d"].stats["calls"] == int(moves) and nets["g"].stats["calls"] == 1


def test_labels_are_uniform_over_the_classes():
    labels = method(num_classes=4)._draw(KEY, 4000)["labels"]
    assert labels.dtype == jnp.int32
    np.testing.assert_allclose(np.bincount(labels, minlength=4) / 4000, 0.25, atol=0.03)


def test_labels_without_replacement_do_not_repeat():
    labels = method(num_classes=10, fake_labels="without_replacement")._draw(KEY, 8)["labels"]
    assert len(set(labels.tolist())) == 8 and max(labels) < 10


def test_unconditional_labels_are_zero():
    assert not np.any(method()._draw(KEY, 5)["labels"])


def test_d_loss_scale_and_own_losses():
    own = Loss(d=lambda real, fake: real - fake, g=lambda fake: 3 * fake)
    m = method(loss_fns=own, d_loss_scale=0.5)
    nets = bind(m)
    loss, out = m.loss("d", nets, BATCH, KEY, None, {})
    np.testing.assert_allclose(loss, 0.5 * (out.metrics["real_logits"] - out.metrics["fake_logits"]), rtol=1e-5)


# D's gradient with respect to one image of four pixels is w / 4 = 0.5 in each, so its norm is 1.
@pytest.mark.parametrize(
    ("penalty", "value"), [("wgan_gp", 0.0), ("dragan", 0.0), ("r1", 0.5), ("r2", 0.5), ("r1_r2", 1.0)]
)
def test_penalties_of_a_linear_critic(penalty, value):
    m = method(penalty=penalty, penalty_weight=7.0)
    plain = dataclasses.replace(m, penalty="none")
    nets = bind(m)
    loss, out = m.loss("d", nets, BATCH, KEY, None, {})
    np.testing.assert_allclose(out.metrics["penalty"], value, atol=1e-6)
    np.testing.assert_allclose(loss - plain.loss("d", bind(m), BATCH, KEY, None, {})[0], 7 * value, atol=1e-5)
    assert nets["d"].stats["calls"] == 1, "the extra forward leaves no trace in the stats"


def test_weight_clipping_is_declared_for_d_alone():
    specs = method(weight_clip=0.01).networks
    assert specs["g"].project is None and specs["d"].project is not None
    np.testing.assert_allclose(specs["d"].project({"w": jnp.asarray([-3.0, 0.005])})["w"], [-0.01, 0.005])
    assert method().networks["d"].project is None


def test_sample_grids_show_one_class_per_row_and_one_z_per_column():
    inputs = method(num_classes=10).sample_inputs(KEY, rows=4, columns=3, real={})
    assert inputs["labels"].tolist() == [0] * 3 + [3] * 3 + [6] * 3 + [9] * 3
    np.testing.assert_array_equal(inputs["z"][:3], inputs["z"][9:])
    assert method(num_classes=2).sample_inputs(KEY, rows=4, columns=3, real={})["labels"].tolist() == [0] * 3 + [1] * 3
    assert len(set(np.asarray(method().sample_inputs(KEY, 4, 3, {})["z"])[:, 0].tolist())) == 12


def test_interleaving_is_undone_by_strides():
    a, b = jnp.arange(6.0).reshape(3, 2), -jnp.arange(6.0).reshape(3, 2)
    mixed = interleave(a, b)
    np.testing.assert_array_equal(mixed[0::2], a)
    np.testing.assert_array_equal(mixed[1::2], b)


def test_optimizers_are_per_network():
    tx = optax.sgd(1.0)
    specs = method(g_tx=tx, ema_decay=0.9).networks
    assert specs["g"].tx is tx and specs["d"].tx is not tx
    assert specs["g"].ema_decay == 0.9 and specs["d"].ema_decay is None


@pytest.mark.parametrize("penalty", ["none", "wgan_gp"])
def test_microbatches_change_neither_losses_nor_gradients(penalty):
    key = jax.random.key(5)
    images = jax.random.normal(key, (4, 8, 8, 3))
    batch = {"images": images, "labels": jnp.arange(4) % 2}

    def results(num_microbatches):
        m = Adversarial(
            generator=lambda rngs: MLPGenerator(resolution=(8, 8), latent_dim=3, hidden=(5,), rngs=rngs),
            discriminator=lambda rngs: MLPDiscriminator(resolution=(8, 8), hidden=(5,), rngs=rngs),
            latent_dim=3,
            penalty=penalty,
            num_microbatches=num_microbatches,
        )
        bound = bind(m)

        def loss(params, phase):
            nets = {name: BoundNetwork(net.network, params[name], net.stats) for name, net in bound.items()}
            value, out = m.loss(phase, nets, batch, key, None, None)
            return value, (out.metrics, {name: net.stats for name, net in nets.items()})

        params = {name: net.params for name, net in bound.items()}
        return [jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)(params, phase) for phase in ("d", "g")]

    whole, pieces = results(1), results(2)
    for (path, a), (_, b) in zip(jax.tree.leaves_with_path(whole), jax.tree.leaves_with_path(pieces), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4, err_msg=jax.tree_util.keystr(path))
