"""Sizes of maps, checks of settings, and where attention goes."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.layers.init import Init
from jaxgan.layers.spectral_norm import SpectralNorm
from jaxgan.models.maps import (
    AttentionAtMaps,
    check_images,
    check_latents,
    choose_spectral_norm,
    choose_widths,
    count_doublings,
    leaky_relu,
)


@pytest.mark.parametrize(
    ("resolution", "base_size", "k"),
    [((32, 32), 4, 3), ((128, 128), 4, 5), ((96, 96), 6, 4), ((16, 48), 4, 2), ((64, 24), 3, 3), ((8, 8), 4, 1)],
)
def test_count_doublings(resolution, base_size, k):
    assert count_doublings(resolution, base_size) == k


@pytest.mark.parametrize(("resolution", "base_size"), [((48, 48), 4), ((4, 4), 4), ((2, 2), 4), ((16, 18), 4)])
def test_sizes_without_doublings(resolution, base_size):
    with pytest.raises(ValueError, match=rf"`resolution` \(={resolution[0]} x {resolution[1]}\) must be `base_size`"):
        count_doublings(resolution, base_size)


def test_widths_override_the_rule():
    assert choose_widths((), [4, 2]) == (4, 2)
    assert choose_widths([7, 8], [4, 2]) == (7, 8)
    with pytest.raises(ValueError, match=r"`widths` \(=\(7,\)\) must have 2 entries"):
        choose_widths((7,), [4, 2])


def test_spectral_norm_modes():
    sn = SpectralNorm(3, 1e-8)
    assert choose_spectral_norm("all", 3, 1e-8) == (sn, sn)
    assert choose_spectral_norm("hidden", 3, 1e-8) == (sn, None)
    assert choose_spectral_norm("none", 3, 1e-8) == (None, None)
    with pytest.raises(ValueError, match=r"`spectral_norm` \(='some'\) must be all, hidden or none"):
        choose_spectral_norm("some", 1, 1e-12)


def test_inputs_of_another_shape():
    check_images(jnp.ones((2, 4, 6, 3)), (4, 6), 3)
    check_latents(jnp.ones((2, 5)), 5)
    with pytest.raises(ValueError, match=r"`images` \(shape \[2, 4, 6, 1\]\).*\[B, 4, 6, 3\]"):
        check_images(jnp.ones((2, 4, 6, 1)), (4, 6), 3)
    with pytest.raises(ValueError, match=r"`z` \(shape \[5\]\).*\[B, 5\]"):
        check_latents(jnp.ones(5), 5)
    with pytest.raises(ValueError, match=r"`z` \(shape \[1, 4\]\)"):
        check_latents(jnp.ones((1, 4)), 5)


def attention(maps, resolutions):
    options = dict(kind="plain", span=-1, bias=False, sn=None, init=Init(), dtype=jnp.float32)
    return AttentionAtMaps(maps, resolutions, **options, rngs=nnx.Rngs(0))


def test_attention_sits_at_the_first_map_of_a_size():
    layer = attention([(8, 16), (4, 24), (4, 32)], (4, 8))
    assert {index: module.value.kernel[...].shape[2] for index, module in layer.layers.items()} == {"0": 16, "1": 24}
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 4, 4, 24)), jnp.float32)
    layer.layers["1"].gate[...] = jnp.float32(1.0)
    weights = {}
    assert not np.allclose(layer(1, x, train=False, weights=weights), x)
    assert layer(2, x, train=False, weights=weights) is x
    assert {name: value.shape for name, value in weights.items()} == {"4x4": (1, 16, 16)}


def test_attention_at_a_size_that_no_map_has():
    with pytest.raises(ValueError, match=r"`attention_resolutions` \(=5\) is not the shorter side.*\[4, 8\]"):
        attention([(8, 16), (4, 24), (4, 32)], (4, 5))


def test_leaky_relu():
    x = jnp.array([-2.0, 0.0, 3.0])
    np.testing.assert_allclose(leaky_relu(x, 0.1), [-0.2, 0.0, 3.0])
    np.testing.assert_allclose(leaky_relu(x, 0.0), [0.0, 0.0, 3.0])
