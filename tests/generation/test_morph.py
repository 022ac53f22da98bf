"""Morphs: ends that are the classes themselves, mixtures by hand, great circles."""

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
from jaxgan.generation.generate import render
from jaxgan.generation.morph import check_mixable, class_mixtures, spherical
from jaxgan.methods.adversarial import Adversarial


def test_mixtures_go_from_class_to_class_with_both_ends():
    np.testing.assert_array_equal(
        class_mixtures([2, 0], 3, 5), [[0, 0, 1], [0.25, 0, 0.75], [0.5, 0, 0.5], [0.75, 0, 0.25], [1, 0, 0]]
    )
    several = class_mixtures([2, 0, 1], 3, 3)
    np.testing.assert_array_equal(several, [[0, 0, 1], [0.5, 0, 0.5], [1, 0, 0], [0.5, 0.5, 0], [0, 1, 0]])
    assert several.dtype == np.float32
    assert np.abs(class_mixtures([0, 1], 2, 8).sum(axis=1) - 1).max() < 1e-6


def test_nnablas_order_runs_backwards_and_never_reaches_the_first_class():
    np.testing.assert_array_equal(
        class_mixtures([2, 0], 3, 4, nnabla_order=True), [[1, 0, 0], [0.75, 0, 0.25], [0.5, 0, 0.5], [0.25, 0, 0.75]]
    )
    np.testing.assert_array_equal(class_mixtures([2, 0], 3, 1, nnabla_order=True), [[1, 0, 0]])


@pytest.mark.parametrize(
    ("classes", "num_frames", "nnabla_order", "text"),
    [
        ([1], 3, False, "at least two classes and got 1"),
        ([1, 2], 1, False, r"number of frames \(=1\) must be at least 2"),
        ([1, 2], 0, True, r"number of frames \(=0\) must be at least 1"),
        ([0, 1, 2], 3, True, "two classes and got 3"),
    ],
)
def test_mixtures_that_cannot_be(classes, num_frames, nnabla_order, text):
    with pytest.raises(RunError, match=text):
        class_mixtures(classes, 3, num_frames, nnabla_order=nnabla_order)


def frames(run, z, labels):
    return np.concatenate(list(render(run, {"z": z, "labels": labels}, batch_size=8, variables=run.variables())))


def test_the_ends_are_the_classes_and_the_middle_a_mixed_table(tiny_run):
    z = np.repeat(latents.draw(4, 0, 3, 0, 1)["z"], 5, axis=0)
    images = frames(tiny_run, z, class_mixtures([4, 1], 5, 5))
    # The program of class ids and that of mixtures may round otherwise.
    np.testing.assert_allclose(images[:1], tiny_run.sample(1, seed=3, class_id=4), atol=2e-6)
    np.testing.assert_allclose(images[-1:], tiny_run.sample(1, seed=3, class_id=1), atol=2e-6)

    def mix(path, table):
        if path[-1].key not in ("gain", "bias") or table.ndim != 2:
            return table
        table = np.asarray(table)
        return jnp.asarray(np.tile(0.75 * table[4] + 0.25 * table[1], (5, 1)))

    g = jax.device_get(tiny_run.ema["g"])
    params = jax.tree.map_with_path(mix, g.params)
    call = jax.jit(functools.partial(tiny_run.networks["g"], train=False))
    by_hand, _ = call(params, g.stats, z[:1], np.zeros(1, np.int32))
    np.testing.assert_allclose(images[1], by_hand[0], atol=2e-6)
    assert np.abs(images[1] - images[0]).max() > 1e-3
    # A frame is not the mixture of the images: the classes are mixed inside of the network.
    assert np.abs(images[1] - 0.75 * images[0] - 0.25 * images[-1]).max() > 1e-5


def test_great_circles():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 16)).astype(np.float32)
    b *= np.linalg.norm(a, axis=1, keepdims=True) / np.linalg.norm(b, axis=1, keepdims=True)
    path = spherical(a, b, 7)
    assert path.shape == (7, 3, 16) and path.dtype == np.float32
    assert np.array_equal(path[0], a) and np.array_equal(path[-1], b)
    lengths = np.linalg.norm(path, axis=2)
    np.testing.assert_allclose(lengths, np.tile(np.linalg.norm(a, axis=1), (7, 1)), rtol=1e-5)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=2)
    np.testing.assert_allclose(steps, np.tile(steps[:1], (6, 1)), rtol=1e-4)
    # A quarter circle in the plane, by hand; another length at the end is reached too.
    quarter = spherical(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), 3)[1, 0]
    np.testing.assert_allclose(quarter, [np.sqrt(0.5), 2 * np.sqrt(0.5)], rtol=1e-6)


def test_great_circles_that_are_straight():
    a = np.array([[1.0, 2.0], [1.0, -1.0]], np.float32)
    path = spherical(a, np.array([[2.0, 4.0], [-1.0, 1.0]], np.float32), 3)
    np.testing.assert_allclose(path[1], [[1.5, 3.0], [0.0, 0.0]], atol=1e-6)
    with pytest.raises(RunError, match="number of frames"):
        spherical(a, a, 1)


class Generator(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(5, 64, rngs=rngs)

    def __call__(self, z, labels):
        return jnp.tanh(self.embed(labels) + z.sum(axis=1, keepdims=True)).reshape(-1, 8, 8, 1)


def test_generators_that_cannot_mix_are_named(tiny_run):
    check_mixable(tiny_run)
    network, params, stats = network_lib.create(Generator, jax.random.key(0))
    own = Adversarial(generator=Generator, discriminator=Generator, latent_dim=4, num_classes=5)
    run = dataclasses.replace(
        tiny_run, method=own, networks={"g": network}, nets={"g": Average(params=params, stats=stats)}, ema={}
    )
    with pytest.raises(RunError, match=r"takes class ids only and no mixtures float \[B, 5\]"):
        check_mixable(run)
    unlabelled = dataclasses.replace(run, method=dataclasses.replace(own, num_classes=0))
    with pytest.raises(RunError, match="was trained without classes.*--to_seed"):
        check_mixable(unlabelled)
