"""Translating from Python: exactly the network where its sizes fit, padded where not, dropout by number."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.core.network import BoundNetwork
from jaxgan.data.spec import DataSpec
from jaxgan.generation import translate as translate_lib
from jaxgan.generation.errors import RunError
from jaxgan.generation.run import open_run
from jaxgan.generation.translate import make_translator, one_direction, size_multiple, translate
from tests.tiny_run import DOMAINS, TRANSLATING, write_run

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 8, 12, 3), np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(write_run(tmp_path_factory.mktemp("translating"), TRANSLATING, DOMAINS))


def network(run, name, images, weights="auto"):
    """What one network of the run returns for pixels."""
    part = run.variables(weights)[name]
    net = BoundNetwork(run.networks[name], part.params, part.stats)
    return np.asarray(net(jnp.asarray(images, jnp.float32) / 127.5 - 1, train=False))


def assert_close(found, expected):
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_each_direction_is_its_network_as_it_is(run):
    assert run.directions == ("a2b", "b2a")
    assert_close(run.translate(IMAGES, "a2b"), network(run, "g_ab", IMAGES))
    assert_close(run.translate(IMAGES, "b2a", weights="raw"), network(run, "g_ba", IMAGES, "raw"))
    floats = IMAGES.astype(np.float64) / 127.5 - 1
    assert_close(run.translate(floats, "a2b", batch_size=2), network(run, "g_ab", IMAGES))
    raw, averaged = (network(run, "g_ab", IMAGES, weights) for weights in ("raw", "ema"))
    assert np.abs(raw - averaged).max() > 1e-2, "or the weights would not matter here"


def test_other_sizes(run):
    larger = RNG.integers(0, 256, (1, 12, 8, 3), np.uint8)
    assert_close(run.translate(larger, "a2b"), network(run, "g_ab", larger))
    odd = larger[:, :11, :]
    padded = np.concatenate([odd, odd[:, -2:-3:-1]], axis=1)
    assert_close(run.translate(odd, "a2b"), network(run, "g_ab", padded)[:, :11])


def test_the_multiple_is_the_networks_own(run):
    assert size_multiple(run, "a2b", run.variables()) == 4


class Blurred:
    """A generator that takes multiples of `multiple` pixels, or only 8 x 12 for None; with dropout by key."""

    def __init__(self, multiple):
        self.multiple, self.calls = multiple, 0

    def translate(self, nets, images, direction, keys):
        self.calls += 1
        height, width = images.shape[1:3]
        if (height, width) != (8, 12) if self.multiple is None else height % self.multiple or width % self.multiple:
            raise TypeError("shapes do not fit")
        noise = jax.vmap(lambda key: jax.random.uniform(key, ()))(keys)
        return images * 0.5 + 0.25 * noise[:, None, None, None] * (1 if direction == "a2b" else -1)


def source_of(method, devices=1):
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    translator = make_translator(method, {}, scaling="symmetric", sharding=NamedSharding(mesh, PartitionSpec()))
    return types.SimpleNamespace(
        mesh=mesh, translator=translator, directions=("a2b",), data=DOMAINS, variables=lambda weights="auto": {}
    )


@pytest.mark.parametrize("multiple", [1, 2, 4, None])
def test_any_network_is_asked_for_its_multiple(multiple):
    assert size_multiple(source_of(Blurred(multiple)), "a2b", {}) == (multiple or 0)


def test_dropout_depends_on_seed_and_number_only():
    images = np.zeros((5, 8, 12, 3), np.float32)
    whole = translate(source_of(Blurred(4), 4), images, "a2b", seed=3, batch_size=5)
    drawn = whole[:, 0, 0, 0]
    assert len(set(drawn.tolist())) == 5 and (drawn >= 0).all()
    for batch_size, devices in ((1, 1), (2, 1), (3, 2)):
        again = translate(source_of(Blurred(4), devices), images, "a2b", seed=3, batch_size=batch_size)
        np.testing.assert_array_equal(again, whole)
    np.testing.assert_array_equal(translate(source_of(Blurred(4)), images[:2], "a2b", seed=3, start=3), whole[3:])
    assert not np.allclose(translate(source_of(Blurred(4)), images, "a2b", seed=4), whole)


def test_one_program_for_each_padded_size():
    method = Blurred(4)
    source = source_of(method)
    sizes = [(8, 12), (9, 12), (8, 12), (10, 11), (8, 12), (12, 12)]
    rng = np.random.default_rng(1)
    images = [rng.uniform(-1, 1, (*size, 3)).astype(np.float32) for size in sizes]
    shown = []
    progress = types.SimpleNamespace(advance=shown.append)
    found = dict(
        translate_lib.translate_each(source, images.__getitem__, sizes, "a2b", batch_size=2, progress=progress)
    )
    assert sorted(found) == list(range(6)) and sum(shown) == 6
    assert {number: one.shape[:2] for number, one in found.items()} == dict(enumerate(sizes))
    traced = method.calls
    list(translate_lib.translate_each(source, images.__getitem__, sizes, "a2b", batch_size=2))
    assert traced <= 4 + 2, "three questions for the multiple, two sizes" and method.calls - traced <= 3
    alone = dict(translate_lib.translate_each(source, lambda i: images[3], sizes[3:4], "a2b", numbers=[3]))
    np.testing.assert_array_equal(alone[0], found[3])


@pytest.mark.parametrize(
    ("images", "direction", "text"),
    [
        (IMAGES[0], "a2b", r"images \(shape \(8, 12, 3\)\) must be \(N, H, W, 3\)"),
        (IMAGES[..., :1], "a2b", r"must be \(N, H, W, 3\)"),
        (IMAGES[:0], "a2b", "at least one image"),
        (IMAGES.astype(np.int32), "a2b", r"images \(dtype int32\) must be uint8, or floats"),
        (IMAGES.astype(np.float32), "a2b", "reach from 0 to 255; scale them"),
        (np.full((1, 8, 12, 3), np.nan), "a2b", "reach from nan"),
        (IMAGES, "b2c", r"direction \(='b2c'\) must be a2b or b2a"),
    ],
)
def test_mistakes(run, images, direction, text):
    with pytest.raises(RunError, match=text):
        run.translate(images, direction)


def test_more_mistakes(run):
    with pytest.raises(RunError, match=r"the batch size \(=0\) must be at least 1"):
        run.translate(IMAGES, "a2b", batch_size=0)
    with pytest.raises(RunError, match="the direction is missing, since the run translates a2b and b2a"):
        one_direction(run, None)
    assert one_direction(source_of(Blurred(4)), None) == "a2b"
    other = dataclasses.replace(DOMAINS, height=12)
    assert isinstance(other, DataSpec)
    stubborn = source_of(Blurred(None))
    stubborn.data = other  # what was trained on does not fit either
    with pytest.raises(RunError, match=r"cannot translate images of 12 x 12 pixels \(shapes do not fit\); resize them"):
        translate(stubborn, np.zeros((1, 12, 12, 3), np.uint8), "a2b")
    with pytest.raises(RunError, match="network takes 8 x 12 only"):
        translate(source_of(Blurred(None)), np.zeros((1, 16, 12, 3), np.uint8), "a2b")


def test_what_draws_from_latents_points_to_translate(run):
    for wrong in (lambda: run.sample(2), lambda: run.latent_dim, lambda: run.class_id("cat")):
        with pytest.raises(RunError, match="was trained to translate images and draws none .* translate --workdir="):
            wrong()
