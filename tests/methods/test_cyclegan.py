"""CycleGAN's objective against sums written out in NumPy, its phases, and its grid."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxgan.config import Config, ConfigError, DataConfig, MeshConfig, MethodConfig, ModelConfig
from jaxgan.core import sharding
from jaxgan.core.network import BoundNetwork
from jaxgan.data.spec import DataSpec
from jaxgan.methods.base import initial_state
from jaxgan.methods.cyclegan import CYCLEGAN_LEAST_SQUARES, CycleGAN
from jaxgan.methods.registry import build_method
from jaxgan.training.step import make_step

KEY = jax.random.key(5)
RNG = np.random.default_rng(0)
A, B = (RNG.uniform(-1, 1, (3, 4, 4, 1)).astype(np.float32) for _ in range(2))
WEIGHTS = {"g_ab": (0.7, 0.1), "g_ba": (-0.4, 0.2), "d_a": (0.9, -0.3), "d_b": (-1.1, 0.4)}
SPEC = DataSpec(8, 8, 3, 0, (), 4, "", num_images_b=5)


class Affine(nnx.Module):
    """scale * images + shift: a generator, or a discriminator of single pixels."""

    def __init__(self, rngs):
        self.scale, self.shift = nnx.Param(jnp.ones(())), nnx.Param(jnp.zeros(()))

    def __call__(self, images):
        return self.scale[...] * images + self.shift[...]


def method(**kwargs):
    return CycleGAN(generator=Affine, discriminator=Affine, image_shape=(4, 4, 1), **kwargs)


def bound(m):
    state, networks = initial_state(m, seed=0, sharding=sharding.replicated(sharding.make_mesh(MeshConfig(data=1))))
    params = {name: {"scale": jnp.float32(s), "shift": jnp.float32(t)} for name, (s, t) in WEIGHTS.items()}
    return {name: BoundNetwork(networks[name], params[name], {}) for name in networks}, state


def by_hand(name, images):
    scale, shift = WEIGHTS[name]
    return np.float32(scale) * images + np.float32(shift)


@pytest.mark.parametrize(
    "weights", [{}, {"gan_weight": 0.25, "cycle_weight": 0.5, "identity_weight": 0.0, "paired_l1_weight": 0.5}]
)
def test_generators_minimise_the_weighted_sum(weights):
    m = method(**weights)
    nets, state = bound(m)
    loss, out = m.loss("g", nets, {"a": jnp.asarray(A), "b": jnp.asarray(B)}, KEY, None, state.aux)
    fake_b, fake_a = by_hand("g_ab", A), by_hand("g_ba", B)
    terms = {
        "gan_ab": np.mean((by_hand("d_b", fake_b) - 1) ** 2),
        "gan_ba": np.mean((by_hand("d_a", fake_a) - 1) ** 2),
        "cycle_a": np.mean(np.abs(by_hand("g_ba", fake_b) - A)),
        "cycle_b": np.mean(np.abs(by_hand("g_ab", fake_a) - B)),
        "identity_a": np.mean(np.abs(by_hand("g_ba", A) - A)),
        "identity_b": np.mean(np.abs(by_hand("g_ab", B) - B)),
        "paired_l1_ab": np.mean(np.abs(fake_b - B)),
        "paired_l1_ba": np.mean(np.abs(fake_a - A)),
    }
    weight = {"gan": m.gan_weight, "cycle": m.cycle_weight, "identity": m.identity_weight, "paired": m.paired_l1_weight}
    total = sum(weight[name.split("_")[0]] * value for name, value in terms.items())
    np.testing.assert_allclose(loss, total, rtol=1e-5)
    assert weights or m.identity_weight == 0.5 * m.cycle_weight  # as published
    for name, value in out.metrics.items():
        if name != "g_loss":
            np.testing.assert_allclose(value, terms[name.removesuffix("_loss")], rtol=1e-5)
    np.testing.assert_allclose(out.carry["b"], fake_b, rtol=1e-6)


def test_discriminators_halve_the_sum_of_squares():
    m = method(pool_size=0, d_loss_scale=0.5)
    nets, state = bound(m)
    fakes = {"a": jnp.asarray(by_hand("g_ba", B)), "b": jnp.asarray(by_hand("g_ab", A))}
    loss, out = m.loss("d", nets, {"a": jnp.asarray(A), "b": jnp.asarray(B)}, KEY, fakes, state.aux)
    parts = []
    for d, real, fake in (("d_a", A, np.asarray(fakes["a"])), ("d_b", B, np.asarray(fakes["b"]))):
        parts.append(0.5 * 0.5 * (np.mean((by_hand(d, real) - 1) ** 2) + np.mean(by_hand(d, fake) ** 2)))
    np.testing.assert_allclose(loss, sum(parts), rtol=1e-5)
    np.testing.assert_allclose([out.metrics["d_a_loss"], out.metrics["d_b_loss"]], parts, rtol=1e-5)
    assert out.aux is None


def test_discriminators_see_the_pool_and_fill_it():
    m = method(pool_size=2)
    nets, state = bound(m)
    old = {domain: pool.replace(count=jnp.int32(2)) for domain, pool in state.aux.items()}  # two black images each
    fakes = {"a": jnp.asarray(A) + 3, "b": jnp.asarray(B) + 3}
    _, out = m.loss("d", nets, {"a": jnp.asarray(A), "b": jnp.asarray(B)}, jax.random.key(0), fakes, old)
    stored = np.asarray(out.aux["a"].images)
    assert any(np.array_equal(image, np.asarray(fakes["a"][i])) for image in stored for i in range(3))


def test_the_grid_shows_input_translation_reconstruction_and_identity():
    m = method()
    nets, _ = bound(m)
    real = {"a": RNG.integers(0, 256, (5, 4, 4, 1), np.uint8), "b": RNG.integers(0, 256, (5, 4, 4, 1), np.uint8)}
    grid = np.asarray(m.sample(nets, m.sample_inputs(KEY, 2, 7, real)))
    assert grid.shape == (2 * m.grid_columns(7), 4, 4, 1)
    a, b = (real[domain][1].astype(np.float32) * 2 / 255 - 1 for domain in ("a", "b"))
    row = [a, by_hand("g_ab", a), by_hand("g_ba", by_hand("g_ab", a)), by_hand("g_ba", a)]
    row += [b, by_hand("g_ba", b), by_hand("g_ab", by_hand("g_ba", b)), by_hand("g_ab", b)]
    np.testing.assert_allclose(grid[8:], np.stack(row), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("direction, generator", [("a2b", "g_ab"), ("b2a", "g_ba")])
def test_translate(direction, generator):
    m = method()
    nets, _ = bound(m)
    np.testing.assert_allclose(m.translate(nets, jnp.asarray(A), direction), by_hand(generator, A), rtol=1e-6)


def test_it_learns_to_invert_the_colours():
    """Domain b holds the inverted images of a; the cycle alone is content with copies."""
    weights = {"cycle_weight": 1.0, "identity_weight": 0.0, "paired_l1_weight": 5.0}
    m = method(g_tx=optax.adam(0.03, b1=0.5), d_tx=optax.adam(0.003, b1=0.5), **weights)
    mesh = sharding.make_mesh(MeshConfig(data=1))
    state, networks = initial_state(m, seed=0, sharding=sharding.replicated(mesh))
    step = jax.jit(make_step(m, networks, scaling="symmetric", unroll=True))
    images = RNG.integers(0, 256, (1, 4, 4, 4, 1), np.uint8)
    batch = {"a": jnp.asarray(images), "b": jnp.asarray(255 - images)}
    first = None
    for _ in range(150):
        state, metrics = step(state, batch, KEY)
        first = first or float(metrics["paired_l1_ab_loss"])
    assert first is not None and float(metrics["paired_l1_ab_loss"]) < 0.1 * first
    assert float(state.nets["g_ab"].params["scale"]) < -0.8 and float(state.nets["g_ba"].params["scale"]) < -0.8
    assert int(state.aux["a"].count) == 50 and int(state.step) == 150


CYCLEGAN = Config(
    batch_size=2,
    data=DataConfig(source="unpaired:x", resolution=8),
    model=ModelConfig(name="cyclegan", g_channels=4, d_channels=4, num_res_blocks=1, d_num_layers=1),
    method=MethodConfig(name="cyclegan", loss="least_squares"),
)


def test_settings_become_the_method():
    m = build_method(CYCLEGAN, SPEC)
    assert isinstance(m, CycleGAN) and m.image_shape == (8, 8, 3) and m.loss_fns is CYCLEGAN_LEAST_SQUARES
    assert set(m.networks) == {"g_ab", "g_ba", "d_a", "d_b"}


def test_data_and_method_must_fit():
    with pytest.raises(ConfigError, match="of two domains; set it to cyclegan or pix2pix"):
        build_method(Config(), SPEC)
    with pytest.raises(ConfigError, match="of one domain; set it to adversarial, or give unpaired:PATH"):
        build_method(CYCLEGAN, DataSpec(8, 8, 3, 0, (), 4, ""))
