"""The DCGAN family: the published networks layer by layer, its switches, and PyTorch restatements of two of them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.layers.spectral_norm import SpectralVector
from jaxgan.models.dcgan import DCGANDiscriminator, DCGANGenerator

# torchgan's self-attention tutorial.
TORCHGAN = dict(resolution=(64, 64), spectral_norm="all", conv_bias=True, last_activation=False, init="torch")
TORCHGAN_G = dict(TORCHGAN, widths=(256, 128, 64, 32), attention_resolutions=(16, 32), sn_axis="in", slope=0.2)
TORCHGAN_D = dict(TORCHGAN, widths=(32, 64, 128, 256), attention_resolutions=(4, 8), batch_norm="all", tanh=True)
# Non-local SAGAN.
NON_LOCAL = dict(resolution=(64, 64), spectral_norm="hidden", conv_bias=True, init="torch")
NON_LOCAL_G = dict(
    NON_LOCAL, latent_dim=128, widths=(512, 256, 128, 64), attention_resolutions=(16, 32), sn_axis="in", slope=0.0
)
NON_LOCAL_D = dict(NON_LOCAL, channels=64, attention_resolutions=(4, 8), batch_norm="none", slope=0.1)
# The MNIST tutorial of DCGAN at 64 x 64.
MNIST_G = dict(resolution=(64, 64), out_channels=1, channels=64, bn_scale_mean=0.0)
MNIST_D = dict(resolution=(64, 64), in_channels=1, channels=64, bn_scale_mean=0.0)

TINY = dict(resolution=(16, 16), channels=4)


def shapes(cls, kind, **kwargs):
    model = nnx.eval_shape(lambda: cls(**kwargs, rngs=nnx.Rngs(0)))
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model, kind)))
    return {"/".join(key.key for key in path): leaf.shape for path, leaf in leaves}


def apply(model, *args, method="__call__", **kwargs):
    """A jitted call."""
    graphdef, state = nnx.split(model)
    return jax.jit(lambda state, *args: getattr(nnx.merge(graphdef, state), method)(*args, **kwargs))(state, *args)


def latents(batch, size=100):
    return jnp.asarray(np.random.default_rng(0).standard_normal((batch, size)), jnp.float32)


def pictures(*shape):
    return jnp.asarray(np.random.default_rng(1).uniform(-1, 1, shape), jnp.float32)


@pytest.mark.parametrize(
    ("cls", "options", "expected"),
    [
        (DCGANGenerator, TORCHGAN_G, 1_107_229),
        (DCGANDiscriminator, TORCHGAN_D, 798_083),
        (DCGANGenerator, NON_LOCAL_G, 3_832_885),
        (DCGANDiscriminator, NON_LOCAL_D, 3_175_299),
        (DCGANGenerator, MNIST_G, 12_654_337),
        (DCGANDiscriminator, MNIST_D, 2_763_585),
    ],
)
def test_counts_of_the_published_networks(cls, options, expected):
    assert sum(math.prod(shape) for shape in shapes(cls, nnx.Param, **options).values()) == expected


def test_layers_of_the_published_networks():
    g, d = shapes(DCGANGenerator, nnx.Param, **TORCHGAN_G), shapes(DCGANDiscriminator, nnx.Param, **TORCHGAN_D)
    assert g["attention/layers/2/value/kernel"][2:] == (64, 64) and g["attention/layers/3/value/bias"] == (32,)
    assert d["attention/layers/2/value/kernel"][2:] == (128, 128) and d["attention/layers/3/query/kernel"][3] == 32
    assert d["norms/0/scale"] == (32,)
    vectors = shapes(DCGANGenerator, SpectralVector, **TORCHGAN_G)
    assert vectors == {
        "convs/0/u": (100,), "convs/1/u": (256,), "convs/2/u": (128,), "convs/3/u": (64,), "output/u": (32,),
    }  # fmt: skip
    assert set(shapes(DCGANDiscriminator, SpectralVector, **NON_LOCAL_D)) == {f"convs/{i}/u" for i in range(4)}
    mnist = shapes(DCGANDiscriminator, nnx.Param, **MNIST_D)
    assert [f"norms/{i}/scale" in mnist for i in range(4)] == [False, True, True, True]
    assert [f"convs/{i}/bias" in mnist for i in range(4)] == [True, False, False, False]
    assert mnist["output/kernel"] == (4, 4, 512, 1) and mnist["output/bias"] == (1,)


def test_attention_takes_part_in_spectral_norm_on_request():
    options = dict(resolution=(16, 16), widths=(8, 8), attention_resolutions=(8,), spectral_norm="hidden")
    vectors = shapes(DCGANGenerator, SpectralVector, **options, attention_spectral_norm=True)
    assert {path for path in vectors if path.startswith("attention")} == {
        f"attention/layers/1/{name}/u" for name in ("query", "key", "value")
    }


def test_initial_scale_of_batch_norm():
    scale = np.asarray(DCGANGenerator(**TINY, bn_scale_mean=0.0, rngs=nnx.Rngs(0)).norms["0"].scale[...])
    assert 0 < np.abs(scale).max() < 0.1
    scale = np.asarray(DCGANDiscriminator(**TINY, rngs=nnx.Rngs(0)).norms["1"].scale[...])
    assert 0 < np.abs(scale - 1).max() < 0.1
    np.testing.assert_array_equal(DCGANGenerator(**TINY, init="glorot", rngs=nnx.Rngs(0)).norms["0"].scale[...], 1.0)


def nchw(torch, x):
    return torch.tensor(np.ascontiguousarray(np.asarray(x).transpose(0, 3, 1, 2)))


def torch_kernel(torch, conv, transposed=False):
    """The layer's kernel in PyTorch's layout, divided as torchgan's SpectralNorm2d does where the layer has `u`."""
    kernel = np.asarray(conv.kernel[...])
    kernel = kernel[::-1, ::-1].transpose(2, 3, 0, 1) if transposed else kernel.transpose(3, 2, 0, 1)
    weight = torch.tensor(np.ascontiguousarray(kernel))
    if conv.u is None:
        return weight
    matrix, u = weight.reshape(weight.shape[0], -1), torch.tensor(np.asarray(conv.u[...]))
    v = torch.nn.functional.normalize(matrix.T @ u, dim=0)
    u = torch.nn.functional.normalize(matrix @ v, dim=0)
    return weight / (u @ matrix @ v)


def torch_bias(torch, conv):
    return None if conv.bias is None else torch.tensor(np.asarray(conv.bias[...]))


def torch_norm(torch, norm, x):
    scale, bias = torch.tensor(np.asarray(norm.scale[...])), torch.tensor(np.asarray(norm.bias[...]))
    return torch.nn.functional.batch_norm(x, None, None, scale, bias, training=True, eps=norm.eps)


def torch_attention(torch, layer, x):
    b, c, h, w = x.shape
    query, key, value = (
        torch.nn.functional.conv2d(x, torch_kernel(torch, conv), torch_bias(torch, conv)).reshape(b, -1, h * w)
        for conv in (layer.query, layer.key, layer.value)
    )
    weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)  # (B, queries, keys)
    return x + float(layer.gate[...]) * (value @ weights.transpose(1, 2)).reshape(b, c, h, w)


def open_gates(model):
    for layer in model.attention.layers.values():
        layer.gate[...] = jnp.float32(0.8)


SMALL_G = dict(
    resolution=(16, 16), latent_dim=5, widths=(16, 8), attention_resolutions=(8,), slope=0.2,
    spectral_norm="all", sn_axis="in", conv_bias=True, last_activation=False, init="torch",
)  # fmt: skip
SMALL_D = dict(
    resolution=(16, 16), widths=(8, 16), attention_resolutions=(8, 4), slope=0.2,
    spectral_norm="hidden", conv_bias=True, last_activation=False, init="torch", tanh=True,
)  # fmt: skip


def test_generator_equals_torch():
    torch = pytest.importorskip("torch")
    g, z = DCGANGenerator(**SMALL_G, rngs=nnx.Rngs(0)), latents(2, 5)
    open_gates(g)
    x = torch.tensor(np.asarray(z))[:, :, None, None]
    for i, (stride, padding) in enumerate(((1, 0), (2, 1))):
        conv = g.convs[str(i)]
        weight, bias = torch_kernel(torch, conv, True), torch_bias(torch, conv)
        x = torch_norm(torch, g.norms[str(i)], torch.nn.functional.conv_transpose2d(x, weight, bias, stride, padding))
        if i == 0:
            x = torch.nn.functional.leaky_relu(x, 0.2)
    x = torch_attention(torch, g.attention.layers["1"], x)
    weight, bias = torch_kernel(torch, g.output, True), torch_bias(torch, g.output)
    expected = torch.tanh(torch.nn.functional.conv_transpose2d(x, weight, bias, 2, 1))
    np.testing.assert_allclose(apply(g, z, train=True), expected.numpy().transpose(0, 2, 3, 1), atol=1e-5)


@pytest.mark.parametrize("batch_norm", ["none", "inner", "all"])
def test_discriminator_equals_torch(batch_norm):
    torch = pytest.importorskip("torch")
    d, images = DCGANDiscriminator(**SMALL_D, batch_norm=batch_norm, rngs=nnx.Rngs(0)), pictures(2, 16, 16, 3)
    open_gates(d)
    x = nchw(torch, images)
    for i in range(2):
        conv = d.convs[str(i)]
        x = torch.nn.functional.conv2d(x, torch_kernel(torch, conv), torch_bias(torch, conv), 2, 1)
        if batch_norm == "all" or (batch_norm == "inner" and i == 1):
            x = torch_norm(torch, d.norms[str(i)], x)
        if i == 0:
            x = torch.nn.functional.leaky_relu(x, 0.2)
        x = torch_attention(torch, d.attention.layers[str(i)], x)
    # The MNIST tutorial's stride of 2 on a map that the kernel covers.
    x = torch.nn.functional.conv2d(x, torch_kernel(torch, d.output), torch_bias(torch, d.output), stride=2)
    expected = torch.tanh(x).reshape(-1).numpy()
    np.testing.assert_allclose(apply(d, images, train=True), expected, atol=1e-5)
    assert np.ptp(expected) > 1e-3


def test_activation_after_the_last_hidden_layer_is_a_switch():
    for cls, x in ((DCGANGenerator, latents(2)), (DCGANDiscriminator, pictures(2, 16, 16, 3))):
        linear, active = (cls(**TINY, last_activation=on, rngs=nnx.Rngs(0)) for on in (False, True))
        assert not np.allclose(apply(linear, x, train=True), apply(active, x, train=True), atol=1e-6)


@pytest.mark.parametrize(("resolution", "base_size"), [((8, 16), 4), ((24, 12), 6)])
def test_oblong_images(resolution, base_size):
    common = dict(resolution=resolution, base_size=base_size, channels=4)
    images = apply(DCGANGenerator(**common, out_channels=1, rngs=nnx.Rngs(0)), latents(2), train=True)
    assert images.shape == (2, *resolution, 1) and images.dtype == jnp.float32
    logits = apply(DCGANDiscriminator(**common, in_channels=1, rngs=nnx.Rngs(0)), images, train=True)
    assert logits.shape == (2,) and logits.dtype == jnp.float32


def test_labels_are_ignored():
    g = DCGANGenerator(**TINY, rngs=nnx.Rngs(0))
    with_labels, without = apply(g, latents(2), jnp.array([0, 1]), train=False), apply(g, latents(2), train=False)
    np.testing.assert_array_equal(with_labels, without)


@pytest.mark.parametrize("train", [False, True])
def test_only_training_moves_vectors_and_statistics(train):
    for cls, x in ((DCGANGenerator, latents(2)), (DCGANDiscriminator, pictures(2, 16, 16, 3))):
        graphdef, params, rest = nnx.split(cls(**TINY, spectral_norm="all", rngs=nnx.Rngs(0)), nnx.Param, ...)

        @jax.jit
        def forward(params, rest, x, graphdef=graphdef):
            model = nnx.merge(graphdef, params, rest)
            model(x, train=train)
            return nnx.state(model, nnx.Param), nnx.state(model, nnx.Not(nnx.Param))

        new_params, new_rest = forward(params, rest, x)
        jax.tree.map(np.testing.assert_array_equal, params, new_params)
        moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), rest, new_rest)
        assert set(jax.tree.leaves(moved)) == {train}


def test_half_precision_returns_float32():
    g = DCGANGenerator(**TINY, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    d = DCGANDiscriminator(**TINY, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    images = apply(g, latents(2), train=True)
    assert images.dtype == apply(d, images, train=True).dtype == jnp.float32


def test_attention_maps_of_both():
    options = dict(resolution=(16, 16), attention_span=1)
    g = DCGANGenerator(**options, widths=(8, 8), attention_resolutions=(4, 8), rngs=nnx.Rngs(0))
    maps = apply(g, latents(1), method="attention_maps")
    assert {name: value.shape for name, value in maps.items()} == {"4x4": (1, 16, 16), "8x8": (1, 64, 64)}
    d = DCGANDiscriminator(**options, widths=(8, 8), attention_resolutions=(4,), rngs=nnx.Rngs(0))
    maps = apply(d, pictures(1, 16, 16, 3), method="attention_maps")
    assert set(maps) == {"4x4"} and maps["4x4"][0, 5, 6] == 0 < maps["4x4"][0, 5, 15]


def test_settings_that_do_not_fit():
    with pytest.raises(ValueError, match=r"`batch_norm` \(='some'\) must be none, inner or all"):
        DCGANDiscriminator(**TINY, batch_norm="some", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`widths` \(=\(8,\)\) must have 2 entries"):
        DCGANGenerator(**TINY, widths=(8,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`attention_resolutions` \(=16\)"):
        DCGANGenerator(**TINY, attention_resolutions=(16,), rngs=nnx.Rngs(0))
