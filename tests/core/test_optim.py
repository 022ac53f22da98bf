"""Schedules by their values, optimizers against torch."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.config import OptimConfig
from jaxgan.core.optim import make_optimizer, make_schedule


def values(steps, **kwargs):
    schedule = make_schedule(OptimConfig(lr=0.1, **kwargs))
    return [float(schedule(jnp.asarray(step))) for step in steps]


def test_constant():
    assert values([0, 10**6]) == pytest.approx([0.1, 0.1])


def test_linear_decays_between_begin_and_end():
    got = values([0, 100, 150, 200, 900], schedule="linear", decay_begin=100, decay_steps=100, end_factor=0.2)
    np.testing.assert_allclose(got, [0.1, 0.1, 0.06, 0.02, 0.02], rtol=1e-5)


def test_cosine_is_half_at_the_middle():
    got = values([0, 50, 100, 150, 151], schedule="cosine", decay_begin=50, decay_steps=100)
    np.testing.assert_allclose(got, [0.1, 0.1, 0.05, 0.0, 0.0], atol=1e-7)


def test_warmup_reaches_the_full_rate_after_its_steps():
    np.testing.assert_allclose(values([0, 4, 9, 10], warmup_steps=10), [0.01, 0.05, 0.1, 0.1], rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "torch_name", "torch_kwargs"),
    [
        (OptimConfig(lr=0.01, b1=0.0, b2=0.9), "Adam", {"betas": (0.0, 0.9)}),
        (OptimConfig(lr=0.01, b1=0.5, b2=0.999, eps=1e-3), "Adam", {"betas": (0.5, 0.999), "eps": 1e-3}),
        (OptimConfig(name="rmsprop", lr=0.01, b2=0.9, eps=1e-3), "RMSprop", {"alpha": 0.9, "eps": 1e-3}),
        (OptimConfig(name="sgd", lr=0.01, b1=0.9), "SGD", {"momentum": 0.9}),
        (OptimConfig(name="sgd", lr=0.01), "SGD", {}),
    ],
)
def test_five_updates_equal_torch(config, torch_name, torch_kwargs):
    torch = pytest.importorskip("torch")
    grads = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    weight = torch.nn.Parameter(torch.ones(3))
    peer = getattr(torch.optim, torch_name)([weight], lr=config.lr, **torch_kwargs)
    tx, params = make_optimizer(config), {"w": jnp.ones(3)}
    state = tx.init(params)
    for g in grads:
        weight.grad = torch.from_numpy(g)
        peer.step()
        updates, state = tx.update({"w": jnp.asarray(g)}, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["w"], weight.detach().numpy(), rtol=2e-5)


def test_gradients_are_clipped_by_their_global_norm():
    tx = make_optimizer(OptimConfig(name="sgd", lr=1.0, grad_clip_norm=1.0))
    grads = {"a": jnp.asarray([3.0]), "b": jnp.asarray([4.0])}
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose([updates["a"][0], updates["b"][0]], [-0.6, -0.8], rtol=1e-6)
