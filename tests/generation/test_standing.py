"""Standing statistics against NumPy: means of the batches' means and variances, and nothing else moved."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.core import network as network_lib
from jaxgan.core.state import Average
from jaxgan.generation import latents
from jaxgan.generation.errors import RunError
from jaxgan.generation.generate import generate
from jaxgan.generation.standing import standing_statistics
from jaxgan.methods.adversarial import Adversarial


def leaves(tree):
    return {"/".join(key.key for key in path): np.asarray(x) for path, x in jax.tree.leaves_with_path(tree)}


def batches(run, num_batches, batch_size, seed, truncation=None):
    for number in range(num_batches):
        yield latents.draw(
            run.latent_dim, run.num_classes, seed, 2**31 + number * batch_size, batch_size, truncation=truncation
        )


def first_maps(run, variables, z):
    """Input of the first batch norm in float64: the linear layer with its kernel over sigma, as maps (B, 4, 4, 8)."""
    p, u = leaves(variables["g"].params), leaves(variables["g"].stats)["linear/u"].astype(np.float64)
    w = p["linear/kernel"].astype(np.float64)
    v = w @ u / np.linalg.norm(w @ u)
    u = v @ w / np.linalg.norm(v @ w)
    return (z @ (w / (v @ w @ u)) + p["linear/bias"][None]).reshape(-1, 4, 4, 8)


@pytest.mark.parametrize(("batch_size", "truncation"), [(8, None), (6, 0.5)])  # the devices share 8 and not 6
def test_the_first_norm_against_numpy(tiny_run, batch_size, truncation):
    variables = tiny_run.variables("ema")
    found = standing_statistics(
        tiny_run, variables, num_batches=3, batch_size=batch_size, seed=5, truncation=truncation
    )
    maps = [first_maps(tiny_run, variables, inputs["z"]) for inputs in batches(tiny_run, 3, batch_size, 5, truncation)]
    stats = leaves(found["g"].stats)
    mean = np.mean([m.mean(axis=(0, 1, 2)) for m in maps], axis=0)
    var = np.mean([m.reshape(-1, 8).var(axis=0, ddof=1) for m in maps], axis=0)
    np.testing.assert_allclose(stats["blocks/1/norm1/norm/mean"], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stats["blocks/1/norm1/norm/var"], var, rtol=1e-4)


def test_every_norm_against_the_moves_of_the_layers_themselves(tiny_run):
    """running' = 0.9 running + 0.1 batch, so the moves of plain training forwards tell the batch's statistics."""
    variables = tiny_run.variables("raw")
    found = standing_statistics(tiny_run, variables, num_batches=2, batch_size=16, seed=0)
    g = jax.device_get(variables["g"])
    call = jax.jit(functools.partial(tiny_run.networks["g"], train=True))
    expected = []
    for inputs in batches(tiny_run, 2, 16, 0):
        _, moved = call(g.params, g.stats, inputs["z"], inputs["labels"])
        before = leaves(g.stats)
        expected.append({name: (x - 0.9 * before[name]) / 0.1 for name, x in leaves(moved).items()})
    new, old = leaves(found["g"].stats), leaves(g.stats)
    statistics = {name for name in new if name.endswith(("/mean", "/var"))}
    assert len(statistics) == 2 * 3 and {name for name in new if name not in statistics} >= {"linear/u", "conv/u"}
    for name in new:
        if name in statistics:
            np.testing.assert_allclose(new[name], (expected[0][name] + expected[1][name]) / 2, rtol=1e-3, atol=1e-4)
        else:
            assert np.array_equal(new[name], old[name]), "spectral vectors stay"
    assert found["g"].params is variables["g"].params and found["d"] is variables["d"]


def test_statistics_depend_on_the_seed_alone_and_suit_the_images(tiny_run):
    variables = tiny_run.variables()
    ask = {"num_batches": 4, "batch_size": 16}
    with jax.transfer_guard("disallow"):  # as in a training that evaluates
        found, again, other = (standing_statistics(tiny_run, variables, **ask, seed=seed) for seed in (1, 1, 2))
    a, b, c = (leaves(v["g"].stats) for v in (found, again, other))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(a["norm/mean"], c["norm/mean"])
    running, _ = next(generate(tiny_run, 8, seed=0, batch_size=8, variables=variables))
    standing, _ = next(generate(tiny_run, 8, seed=0, batch_size=8, variables=found))
    assert np.abs(running - standing).max() > 1e-3


class Generator(nnx.Module):
    """With Flax's own batch norm after a linear layer: the statistics are those of z @ kernel."""

    def __init__(self, rngs, norm=nnx.BatchNorm):
        self.out = nnx.Linear(4, 64, use_bias=False, rngs=rngs)
        self.norm = norm(64, rngs=rngs)

    def __call__(self, z, labels):
        return jnp.tanh(self.norm(self.out(z))).reshape(-1, 8, 8, 1)


class Discriminator(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(1, rngs=rngs)

    def __call__(self, images, labels):
        return self.norm(images.reshape(-1, 64).mean(axis=1, keepdims=True))[:, 0]


class OwnNorm(nnx.Module):
    def __init__(self, width, *, rngs):
        self.mean = nnx.BatchStat(jnp.zeros(width))

    def __call__(self, x):
        return x - self.mean[...][None]


class NoNorm(nnx.Module):
    def __init__(self, width, *, rngs):
        pass

    def __call__(self, x):
        return x


def own_run(tiny_run, norm):
    method = Adversarial(
        generator=lambda rngs: Generator(rngs, norm), discriminator=Discriminator, latent_dim=4, num_classes=5
    )
    networks, nets = {}, {}
    for name, spec in method.networks.items():
        networks[name], params, stats = network_lib.create(spec.build, jax.random.key(0))
        nets[name] = Average(params=params, stats=stats)
    return dataclasses.replace(tiny_run, method=method, networks=networks, nets=nets, ema={})


def test_flax_batch_norm_in_a_users_own_network(tiny_run):
    run = own_run(tiny_run, nnx.BatchNorm)
    found = standing_statistics(run, run.variables(), num_batches=3, batch_size=8, seed=0)
    kernel = leaves(run.nets["g"].params)["out/kernel"].astype(np.float64)
    outputs = [inputs["z"] @ kernel for inputs in batches(run, 3, 8, 0)]
    stats = leaves(found["g"].stats)
    np.testing.assert_allclose(stats["norm/mean"], np.mean([x.mean(axis=0) for x in outputs], axis=0), atol=1e-5)
    np.testing.assert_allclose(stats["norm/var"], np.mean([x.var(axis=0) for x in outputs], axis=0), rtol=1e-4)
    assert found["d"] is run.nets["d"], "it draws no images"


def test_what_cannot_be_recomputed_is_refused(tiny_run):
    for norm, text in ((OwnNorm, "running statistic norm.mean belongs to no BatchNorm"), (NoNorm, "has no batch norm")):
        run = own_run(tiny_run, norm)
        with pytest.raises(RunError, match=text):
            standing_statistics(run, run.variables(), num_batches=1, batch_size=8, seed=0)
    for num_batches, batch_size in ((0, 8), (1, 1)):
        with pytest.raises(RunError, match="standing statistics need at least 1 batch"):
            standing_statistics(tiny_run, {}, num_batches=num_batches, batch_size=batch_size, seed=0)
