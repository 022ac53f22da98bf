"""The residual networks: parameter counts of the published ones, shapes, modes, and settings that do not fit."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.layers.spectral_norm import SpectralVector
from jaxgan.models.resnet import ResNetDiscriminator, ResNetGenerator

TINY_G = dict(resolution=(8, 8), latent_dim=3, channels=4)
TINY_D = dict(resolution=(8, 8), channels=4)


def params(cls, **kwargs):
    """Shapes of the parameters by path, without allocating them."""
    model = nnx.eval_shape(lambda: cls(**kwargs, rngs=nnx.Rngs(0)))
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    return {"/".join(key.key for key in path): leaf.shape for path, leaf in leaves}


def count(cls, **kwargs):
    return sum(math.prod(shape) for shape in params(cls, **kwargs).values())


def apply(model, *args, method="__call__", **kwargs):
    """One jitted call; returns the output and the model's state after it."""
    graphdef, state = nnx.split(model)

    @jax.jit
    def forward(state, *args):
        model = nnx.merge(graphdef, state)
        return getattr(model, method)(*args, **kwargs), nnx.to_pure_dict(nnx.state(model))

    return forward(state, *args)


def latents(batch, size=3):
    return jnp.asarray(np.random.default_rng(0).standard_normal((batch, size)), jnp.float32)


def pictures(*shape):
    return jnp.asarray(np.random.default_rng(1).uniform(-1, 1, shape), jnp.float32)


SAGAN128 = dict(resolution=(128, 128), num_classes=1000)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(attention_resolutions=(32,), attention_kind="plain"), 42_078_852),  # nnabla
        (dict(attention_resolutions=(32,)), 42_078_852),  # self-attention-gan
        (dict(attention_resolutions=(64,)), 42_017_412),  # BigGAN-PyTorch's SAGAN script
    ],
)
def test_generator_counts_of_sagan_128(options, expected):
    assert count(ResNetGenerator, **SAGAN128, **options) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(attention_resolutions=(32,), attention_kind="plain", wide=False), 30_062_338),  # nnabla
        (dict(attention_resolutions=(32,)), 39_463_618),  # self-attention-gan
        (dict(attention_resolutions=(64,)), 39_448_258),  # BigGAN-PyTorch's SAGAN script
    ],
)
def test_discriminator_counts_of_sagan_128(options, expected):
    assert count(ResNetDiscriminator, **SAGAN128, **options) == expected


def test_layer_table_of_sagan_128():
    g, d = (params(cls, **SAGAN128, attention_resolutions=(32,)) for cls in (ResNetGenerator, ResNetDiscriminator))
    assert g["linear/kernel"] == (128, 16_384)
    assert [g[f"blocks/{i}/conv1/kernel"][2:] for i in range(1, 6)] == [
        (1024, 1024), (1024, 512), (512, 256), (256, 128), (128, 64),
    ]  # fmt: skip
    assert g["attention/layers/3/query/kernel"] == (1, 1, 256, 32)
    assert g["blocks/1/norm1/gain"] == (1000, 1024) and g["blocks/5/norm2/bias"] == (1000, 64)
    assert g["norm/scale"] == (64,) and g["conv/kernel"] == (3, 3, 64, 3)
    assert sum(math.prod(shape) for path, shape in g.items() if "/gain" in path or "/norm" in path) == 9_856_000
    assert d["first_block/conv1/kernel"] == (3, 3, 3, 64)
    assert [d[f"blocks/{i}/conv1/kernel"][2:] for i in range(1, 6)] == [
        (64, 128), (128, 256), (256, 512), (512, 1024), (1024, 1024),
    ]  # fmt: skip
    assert d["attention/layers/1/query/kernel"] == (1, 1, 128, 16)
    assert "blocks/5/shortcut/kernel" not in d and "blocks/4/shortcut/kernel" in d
    assert d["head/embed/table"] == (1000, 1024)


def test_thin_blocks_widen_in_their_second_convolution():
    d = params(ResNetDiscriminator, **SAGAN128, wide=False)
    assert d["blocks/2/conv1/kernel"][2:] == (128, 128) and d["blocks/2/conv2/kernel"][2:] == (128, 256)


def test_widths_of_sngan_on_cifar():
    d = params(ResNetDiscriminator, resolution=(32, 32), widths=(128,) * 4, num_down=2)
    assert d["first_block/conv2/kernel"] == (3, 3, 128, 128)
    assert [f"blocks/{i}/shortcut/kernel" in d for i in (1, 2, 3)] == [True, False, False]
    assert "blocks/4/conv1/kernel" not in d
    g = params(ResNetGenerator, resolution=(32, 32), widths=(256,) * 4)
    assert g["linear/kernel"] == (128, 4096) and g["blocks/3/conv2/kernel"] == (3, 3, 256, 256)


def test_a_block_without_halving_that_widens_has_a_shortcut():
    d = params(ResNetDiscriminator, resolution=(16, 16), widths=(8, 8, 16), num_down=1)
    assert "blocks/1/shortcut/kernel" not in d and d["blocks/2/shortcut/kernel"] == (1, 1, 8, 16)


@pytest.mark.parametrize(
    ("resolution", "base_size", "channels", "first_map"),
    [((8, 8), 4, 1, (4, 4)), ((8, 24), 4, 3, (4, 12)), ((24, 12), 6, 4, (12, 6)), ((96, 96), 6, 3, (6, 6))],
)
def test_shapes_and_ranges(resolution, base_size, channels, first_map):
    common = dict(resolution=resolution, base_size=base_size, channels=4)
    g = ResNetGenerator(**common, out_channels=channels, latent_dim=3, rngs=nnx.Rngs(0))
    assert g.first_map[:2] == first_map
    images, _ = apply(g, 10 * latents(2), train=True)
    assert images.shape == (2, *resolution, channels) and images.dtype == jnp.float32
    assert np.abs(images).max() <= 1 and np.std(images) > 0.01
    d = ResNetDiscriminator(**common, in_channels=channels, rngs=nnx.Rngs(0))
    logits, _ = apply(d, images, train=True)
    assert logits.shape == (2,) and logits.dtype == jnp.float32


def test_labels_choose_the_image_and_the_logit():
    g = ResNetGenerator(**TINY_G, num_classes=3, rngs=nnx.Rngs(0))
    block = g.blocks["1"]
    block.norm1.gain[...] = jnp.asarray(np.random.default_rng(2).standard_normal((3, 8)), jnp.float32)
    z = jnp.tile(latents(1), (3, 1))
    images, _ = apply(g, z, jnp.array([0, 1, 1]), train=False)
    assert np.abs(images[0] - images[1]).max() > 1e-4
    np.testing.assert_allclose(images[1], images[2], atol=1e-6)
    mixed, _ = apply(g, z, jax.nn.one_hot(jnp.array([0, 1, 1]), 3), train=False)
    np.testing.assert_allclose(mixed, images, atol=1e-6)
    d = ResNetDiscriminator(**TINY_D, num_classes=3, rngs=nnx.Rngs(0))
    logits, _ = apply(d, jnp.tile(pictures(1, 8, 8, 3), (3, 1, 1, 1)), jnp.array([0, 1, 1]), train=False)
    assert abs(logits[0] - logits[1]) > 1e-4
    np.testing.assert_allclose(logits[1], logits[2], rtol=1e-5)


def test_conditional_networks_need_labels():
    g = ResNetGenerator(**TINY_G, num_classes=3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`labels` \(=None\) must be given"):
        apply(g, latents(2), train=False)
    d = ResNetDiscriminator(**TINY_D, num_classes=3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`labels` \(=None\) must be given"):
        apply(d, pictures(2, 8, 8, 3), train=False)


def test_mean_pool_divides_the_features_by_the_pixels():
    summed, averaged = (ResNetDiscriminator(**TINY_D, pool=pool, rngs=nnx.Rngs(0)) for pool in ("sum", "mean"))
    x = pictures(2, 8, 8, 3)
    by_sum, by_mean = apply(summed, x, train=False)[0], apply(averaged, x, train=False)[0]
    np.testing.assert_allclose(by_sum, 16 * by_mean, rtol=1e-4, atol=1e-6)  # the linear layer's bias is zero


@pytest.mark.parametrize("train", [False, True])
def test_only_training_moves_vectors_and_statistics(train):
    options = dict(attention_resolutions=(4,), attention_kind="plain", num_classes=2)
    g = ResNetGenerator(**TINY_G, **options, rngs=nnx.Rngs(0))
    d = ResNetDiscriminator(**TINY_D, **options, widths=(8, 8), rngs=nnx.Rngs(0))
    for model, x in ((g, latents(2)), (d, pictures(2, 8, 8, 3))):
        before = dict(jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model))))
        is_param = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
        is_param = {path for path, _ in is_param}
        _, state = apply(model, x, jnp.array([0, 1]), train=train)
        after = dict(jax.tree_util.tree_leaves_with_path(state))
        assert before.keys() == after.keys()
        moved = {path for path in before if not np.array_equal(before[path], after[path])}
        assert moved == ({path for path in before if path not in is_param} if train else set())


@pytest.mark.parametrize(
    ("mode", "last", "hidden"), [("all", True, True), ("hidden", False, True), ("none", False, False)]
)
def test_spectral_norm_modes(mode, last, hidden):
    attention = dict(attention_resolutions=(4,), attention_kind="plain", spectral_norm=mode, num_classes=2)
    g = nnx.eval_shape(lambda: ResNetGenerator(**TINY_G, **attention, rngs=nnx.Rngs(0)))
    g = nnx.to_pure_dict(nnx.state(g, SpectralVector))
    d = nnx.eval_shape(lambda: ResNetDiscriminator(**TINY_D, widths=(8, 8), **attention, rngs=nnx.Rngs(0)))
    d = nnx.to_pure_dict(nnx.state(d, SpectralVector))
    assert ("conv" in g, "head" in d) == (last, last)
    for state, names in ((g, {"linear", "blocks", "attention"}), (d, {"first_block", "blocks", "attention"})):
        assert (set(state) - {"conv", "head"}) == (names if hidden else set())
    if hidden:
        assert set(g["blocks"]["1"]) == {"conv1", "conv2", "shortcut"}
    if last:
        assert set(d["head"]) == {"linear", "embed"}


def test_sqrt_2_on_the_residual_convolutions_alone():
    for cls, options in ((ResNetGenerator, TINY_G), (ResNetDiscriminator, TINY_D)):
        plain, scaled = (
            nnx.to_pure_dict(nnx.state(cls(**options, num_classes=2, init=init, rngs=nnx.Rngs(0)), nnx.Param))
            for init in ("glorot", "glorot_sqrt2")
        )
        for path, kernel in jax.tree_util.tree_leaves_with_path(plain):
            names = [key.key for key in path]
            residual = names[-2] in ("conv1", "conv2") and names[-1] == "kernel"
            other = scaled
            for name in names:
                other = other[name]
            np.testing.assert_allclose(other, (math.sqrt(2) if residual else 1) * kernel, rtol=1e-6)


def test_half_precision_follows_float32():
    for cls, kwargs, x in ((ResNetGenerator, TINY_G, latents(4)), (ResNetDiscriminator, TINY_D, pictures(4, 8, 8, 3))):
        single, half = (cls(**kwargs, dtype=dtype, rngs=nnx.Rngs(0)) for dtype in (jnp.float32, jnp.bfloat16))
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(nnx.to_pure_dict(nnx.state(half))))
        a, b = apply(single, x, train=True)[0], apply(half, x, train=True)[0]
        assert b.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=0.05 * float(np.abs(a).max()))
        assert not np.array_equal(a, b)


def test_attention_maps_are_named_by_their_size_and_change_nothing():
    options = dict(attention_resolutions=(4, 8), attention_kind="plain", num_classes=2)
    g = ResNetGenerator(**dict(TINY_G, channels=8), **options, rngs=nnx.Rngs(0))
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(g)))
    maps, after = apply(g, latents(1), jnp.array([1]), method="attention_maps")
    assert {name: value.shape for name, value in maps.items()} == {"4x4": (1, 16, 16), "8x8": (1, 64, 64)}
    jax.tree.map(np.testing.assert_array_equal, before, after)
    d = ResNetDiscriminator(**dict(TINY_D, channels=8), attention_resolutions=(4,), rngs=nnx.Rngs(0))
    maps, _ = apply(d, pictures(1, 8, 8, 3), method="attention_maps")
    assert {name: value.shape for name, value in maps.items()} == {"4x4": (1, 16, 4)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: ResNetGenerator(**dict(TINY_G, resolution=(12, 12)), rngs=r), r"`resolution` \(=12 x 12\)"),
        (lambda r: ResNetGenerator(**TINY_G, widths=(8,), rngs=r), r"`widths` \(=\(8,\)\) must have 2 entries"),
        (lambda r: ResNetGenerator(**TINY_G, init="xavier", rngs=r), r"`init` \(='xavier'\)"),
        (lambda r: ResNetGenerator(**TINY_G, sn_iters=0, rngs=r), r"`num_iters` \(=0\)"),
        (lambda r: ResNetDiscriminator(**TINY_D, pool="max", rngs=r), r"`pool` \(='max'\) must be sum or mean"),
        (lambda r: ResNetDiscriminator(**TINY_D, num_down=4, rngs=r), r"`num_down` \(=4\) halvings do not divide"),
        (lambda r: ResNetDiscriminator(**TINY_D, widths=(4,), num_down=2, rngs=r), r"`widths` \(=\(4,\)\) must have"),
        (lambda r: ResNetDiscriminator(**TINY_D, attention_resolutions=(8,), rngs=r), r"`attention_resolutions`"),
        (lambda r: ResNetGenerator(**TINY_G, rngs=r)(latents(2, 4), train=True), r"`z` \(shape \[2, 4\]\)"),
        (lambda r: ResNetDiscriminator(**TINY_D, rngs=r)(pictures(2, 16, 16, 3), train=True), r"`images` \(shape"),
    ],
)  # fmt: skip
def test_settings_and_inputs_that_do_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make(nnx.Rngs(0))
