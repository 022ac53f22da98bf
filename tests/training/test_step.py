"""One step: the right networks move, by the right amounts, on any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxgan.config import MeshConfig
from jaxgan.core import sharding
from jaxgan.layers.norm import BatchNorm
from jaxgan.methods.adversarial import Adversarial
from jaxgan.methods.base import initial_state
from jaxgan.models.resnet import ResNetDiscriminator, ResNetGenerator
from jaxgan.training.step import make_step

SHAPE = dict(resolution=(8, 8), channels=8, num_classes=3, attention_resolutions=(4,))


def sagan(**kwargs) -> Adversarial:
    fields = dict(
        generator=lambda rngs: ResNetGenerator(**SHAPE, out_channels=1, latent_dim=5, rngs=rngs),
        discriminator=lambda rngs: ResNetDiscriminator(**SHAPE, in_channels=1, rngs=rngs),
        latent_dim=5,
        num_classes=3,
        g_tx=optax.sgd(1e-2),
        d_tx=optax.sgd(4e-2),
        ema_decay=0.9,
    )
    return Adversarial(**(fields | kwargs))


class TinyG(nnx.Module):
    def __init__(self, rngs):
        self.w = nnx.Param(jnp.full((2, 4), 0.3))
        self.norm = BatchNorm(1, rngs=rngs)

    def __call__(self, z, labels, *, train):
        return jnp.tanh(self.norm((z @ self.w[...]).reshape(-1, 2, 2, 1), train=train))


class TinyD(nnx.Module):
    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray([0.4, -0.2, 0.1, 0.3]))

    def __call__(self, images, labels, *, train):
        return images.reshape(-1, 4) @ self.w[...]


def tiny(**kwargs) -> Adversarial:
    fields = dict(generator=TinyG, discriminator=TinyD, latent_dim=2, g_tx=optax.sgd(0.1), d_tx=optax.sgd(0.2))
    return Adversarial(**(fields | kwargs))


def batch(num_d_steps=1, size=16, height=8, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "images": rng.integers(0, 256, (num_d_steps, size, height, height, 1), np.uint8),
        "labels": rng.integers(0, 3, (num_d_steps, size), np.int32),
    }


def start(method, devices=1):
    mesh = sharding.make_mesh(MeshConfig(data=devices))
    state, networks = initial_state(method, seed=0, sharding=sharding.replicated(mesh))
    return mesh, state, networks


def run(method, batches, *, devices=1, unroll=True, jit=True):
    mesh, state, networks = start(method, devices)
    step = make_step(method, networks, scaling="symmetric", unroll=unroll)
    key = jax.device_put(jax.random.key(7), sharding.replicated(mesh))
    if jit:
        step = jax.jit(step, out_shardings=sharding.replicated(mesh))
    metrics = {}
    for one in batches:
        state, metrics = step(state, sharding.put_batch(one, mesh), key)
    return state, metrics


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(np.asarray(x), np.asarray(y), **tolerance), a, b)


def moved(before, after):
    paths = jax.tree.leaves_with_path(before)
    return {
        jax.tree_util.keystr(path)
        for (path, x), y in zip(paths, jax.tree.leaves(after), strict=True)
        if not np.array_equal(x, y)
    }


def test_updates_follow_from_the_losses_by_hand():
    method = tiny(loss_fns="wasserstein")
    _, before, _ = start(method)
    after, metrics = run(method, [batch(size=8, height=2)])
    # Wasserstein: dL_D/dw = mean(fake) - mean(real); D moves by -0.2 of it.
    real = batch(size=8, height=2)["images"][0].reshape(8, 4) * 2 / 255 - 1
    gradient = (before.nets["d"].params["w"] - after.nets["d"].params["w"]) / 0.2
    fake_mean = np.asarray(gradient) + real.mean(axis=0)
    np.testing.assert_allclose(
        metrics["d_loss"], np.dot(fake_mean - real.mean(axis=0), before.nets["d"].params["w"]), rtol=1e-4
    )
    np.testing.assert_allclose(metrics["d_grad_norm"], np.linalg.norm(gradient), rtol=1e-4)
    assert int(after.step) == 1


def test_g_is_judged_by_the_updated_d():
    still = run(tiny(d_tx=optax.sgd(0.0)), [batch(size=8, height=2)])[1]
    moving = run(tiny(d_tx=optax.sgd(5.0)), [batch(size=8, height=2)])[1]
    assert still["d_loss"] == moving["d_loss"] and still["g_loss"] != moving["g_loss"]


@pytest.mark.parametrize(("g_lr", "d_lr"), [(0.0, 0.1), (0.1, 0.0)])
def test_a_network_with_rate_zero_keeps_its_parameters(g_lr, d_lr):
    method = sagan(g_tx=optax.sgd(g_lr), d_tx=optax.sgd(d_lr))
    _, before, _ = start(method)
    after, _ = run(method, [batch()])
    for name, lr in (("g", g_lr), ("d", d_lr)):
        assert bool(moved(before.nets[name].params, after.nets[name].params)) == (lr > 0)


def test_one_step_moves_every_running_statistic_and_spectral_vector():
    method = sagan()
    _, before, _ = start(method)
    after, _ = run(method, [batch()])
    for name in ("g", "d"):
        leaves = {jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(before.nets[name].stats)}
        unmoved = leaves - moved(before.nets[name].stats, after.nets[name].stats)
        # The power iteration of a single column has nothing to find.
        single = {path for path in unmoved if before_leaf_size(before.nets[name].stats, path) == 1}
        assert unmoved == single


def before_leaf_size(tree, wanted):
    return next(x.size for path, x in jax.tree.leaves_with_path(tree) if jax.tree_util.keystr(path) == wanted)


@pytest.mark.parametrize("num_d_steps", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_one_and_eight_devices_agree(num_d_steps):
    batches = [batch(num_d_steps, seed=s) for s in range(2)]
    one, one_metrics = run(sagan(num_d_steps=num_d_steps), batches)
    eight, eight_metrics = run(sagan(num_d_steps=num_d_steps), batches, devices=8)
    # SGD, because Adam turns the rounding of a zero gradient into a full step; sums over 8 shards round otherwise.
    assert_close(one_metrics, eight_metrics, rtol=2e-4, atol=1e-5)
    assert_close(one, eight, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_scan_equals_unrolled():
    method, batches = sagan(num_d_steps=3), [batch(3)]
    unrolled, unrolled_metrics = run(method, batches)
    scanned, scanned_metrics = run(method, batches, unroll=False)
    assert_close(unrolled_metrics, scanned_metrics, rtol=1e-4, atol=1e-5)
    assert_close(unrolled, scanned, rtol=1e-4, atol=1e-5)


def test_jit_equals_no_jit():
    method = tiny()
    compiled, metrics = run(method, [batch(size=8, height=2)])
    eager, eager_metrics = run(method, [batch(size=8, height=2)], jit=False)
    assert_close(metrics, eager_metrics, rtol=1e-5, atol=1e-6)
    assert_close(compiled, eager, rtol=1e-5, atol=1e-6)


def test_each_d_step_sees_its_own_data():
    method = tiny(num_d_steps=2, loss_fns="wasserstein", g_tx=optax.sgd(0.0))
    first = batch(2, size=8, height=2)
    other = {name: rows.copy() for name, rows in first.items()}
    other["images"][1] = 255 - other["images"][1]
    assert run(method, [first])[1]["real_logits"] != run(method, [other])[1]["real_logits"]
    with pytest.raises(ValueError, match=r"phase 'd' repeats 2 times, but a step delivers 3 batches"):
        run(method, [batch(3, size=8, height=2)])


def test_the_average_follows_its_formula():
    method = sagan(ema_start_step=2)
    _, state0, _ = start(method)
    batches = [batch(seed=s) for s in range(3)]
    states = [run(method, batches[:n])[0] for n in (1, 2, 3)]
    for state in states[:2]:
        assert_close(state.ema["g"].params, state.nets["g"].params, rtol=0)
    expected = jax.tree.map(
        lambda old, new: 0.9 * np.asarray(old) + 0.1 * np.asarray(new),
        states[1].ema["g"],
        states[2].ema["g"].replace(params=states[2].nets["g"].params, stats=states[2].nets["g"].stats),
    )
    assert_close(states[2].ema["g"], expected, rtol=1e-5, atol=1e-7)
    assert "d" not in states[2].ema


def test_weights_are_clipped_after_the_update():
    state, _ = run(tiny(weight_clip=0.05), [batch(size=8, height=2)])
    assert float(jnp.max(jnp.abs(state.nets["d"].params["w"]))) <= np.float32(0.05)
    assert float(jnp.max(jnp.abs(state.nets["g"].params["w"]))) > 0.05


def test_a_step_is_compiled_once_and_its_state_is_donated():
    mesh, state, networks = start(tiny())
    traces = []
    step = make_step(tiny(), networks, scaling="symmetric", unroll=True)

    def counted(*args):
        traces.append(1)
        return step(*args)

    replicated = sharding.replicated(mesh)
    jitted = jax.jit(counted, out_shardings=replicated, donate_argnums=(0,))
    key = jax.device_put(jax.random.key(0), replicated)
    for i in range(3):
        old = state
        state, _ = jitted(state, sharding.put_batch(batch(size=8, height=2, seed=i), mesh), key)
    assert len(traces) == 1
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.nets))


def test_no_collective_moves_the_batch():
    mesh, state, networks = start(sagan(), devices=8)
    step = make_step(sagan(), networks, scaling="symmetric", unroll=True)
    key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
    text = jax.jit(step).lower(state, sharding.put_batch(batch(), mesh), key).compile().as_text()
    assert "all-reduce" in text
    assert "all-to-all" not in text and "all-gather" not in text and "collective-permute" not in text


def test_adversaries_learn_a_gaussian():
    """Pixels ~ N(0.5, 0.2): the means of G's four pixels must get there."""
    method = tiny(
        generator=lambda rngs: ShiftG(),
        loss_fns="non_saturating",
        g_tx=optax.adam(0.02, b1=0.0),
        d_tx=optax.adam(0.02, b1=0.0),
    )
    rng = np.random.default_rng(0)
    real = np.clip(rng.normal(0.5, 0.2, (300, 1, 64, 2, 2, 1)), -1, 1)
    batches = [
        {"images": np.round((x + 1) / 2 * 255).astype(np.uint8), "labels": np.zeros((1, 64), np.int32)} for x in real
    ]
    state, _ = run(method, batches)
    np.testing.assert_allclose(state.nets["g"].params["shift"], 0.5, atol=0.12)


class ShiftG(nnx.Module):
    def __init__(self):
        self.shift = nnx.Param(jnp.zeros(4))

    def __call__(self, z, labels, *, train):
        noise = 0.2 * jnp.concatenate([z, z[:, ::-1]], axis=1)
        return (self.shift[...][None] + noise).reshape(-1, 2, 2, 1)


def test_bfloat16_keeps_float32_state_and_metrics():
    method = sagan(
        generator=lambda rngs: ResNetGenerator(**SHAPE, out_channels=1, latent_dim=5, dtype=jnp.bfloat16, rngs=rngs),
        discriminator=lambda rngs: ResNetDiscriminator(**SHAPE, in_channels=1, dtype=jnp.bfloat16, rngs=rngs),
    )
    state, metrics = run(method, [batch()])
    assert {leaf.dtype for leaf in jax.tree.leaves((state.nets, state.ema, metrics))} == {jnp.dtype("float32")}
    exact, exact_metrics = run(sagan(), [batch()])
    np.testing.assert_allclose(metrics["d_loss"], exact_metrics["d_loss"], rtol=0.05)
