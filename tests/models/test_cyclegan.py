"""CycleGAN's networks against restatements in PyTorch, the published counts and receptive fields."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.models.cyclegan import PatchDiscriminator, ResnetGenerator

TUTORIAL_G = dict(kernel=4, num_res_blocks=5)  # torchgan's
TUTORIAL_D = dict(last_stride=2)


def count(cls, **options):
    model = nnx.eval_shape(lambda: cls(**options, rngs=nnx.Rngs(0)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.to_pure_dict(nnx.state(model, nnx.Param))))


def apply(model, *args, **kwargs):
    """A jitted call."""
    graphdef, state = nnx.split(model)
    return jax.jit(lambda state, *args: nnx.merge(graphdef, state)(*args, **kwargs))(state, *args)


def pictures(*shape):
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def load(ours, theirs):
    """Copies a convolution of PyTorch's, plain or transposed; its bias only where ours has one."""
    weight = theirs.weight.detach().numpy()
    transposed = "Transpose" in type(theirs).__name__
    kernel = weight.transpose(2, 3, 0, 1)[::-1, ::-1] if transposed else weight.transpose(2, 3, 1, 0)
    ours.kernel[...] = jnp.asarray(kernel.copy())
    assert theirs.bias is not None and theirs.bias.abs().max() > 0
    if ours.bias is not None:
        ours.bias[...] = jnp.asarray(theirs.bias.detach().numpy())


def assert_near(ours, theirs):
    """Relative to the largest value."""
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def torch_generator(torch, width, num_res_blocks, kernel):
    nn = torch.nn

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            layers = []
            for _ in range(2):
                layers += [nn.ReflectionPad2d(1), nn.Conv2d(4 * width, 4 * width, 3), nn.InstanceNorm2d(4 * width)]
            self.path = nn.Sequential(*layers[:3], nn.ReLU(), *layers[3:])

        def forward(self, x):
            return x + self.path(x)

    more = dict(output_padding=1) if kernel == 3 else {}

    def normed(*layers):
        return [*layers, nn.InstanceNorm2d(layers[-1].out_channels), nn.ReLU()]

    return nn.Sequential(
        *normed(nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7)),
        *normed(nn.Conv2d(width, 2 * width, kernel, 2, 1)),
        *normed(nn.Conv2d(2 * width, 4 * width, kernel, 2, 1)),
        *[Residual() for _ in range(num_res_blocks)],
        *normed(nn.ConvTranspose2d(4 * width, 2 * width, kernel, 2, 1, **more)),
        *normed(nn.ConvTranspose2d(2 * width, width, kernel, 2, 1, **more)),
        nn.ReflectionPad2d(3), nn.Conv2d(width, 2, 7), nn.Tanh(),
    )  # fmt: skip


def torch_discriminator(torch, width, last_stride):
    nn = torch.nn
    layers = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for wide, stride in ((2, 2), (4, 2), (8, last_stride)):
        conv = nn.Conv2d(wide * width // 2, wide * width, 4, stride, 1)
        layers += [conv, nn.InstanceNorm2d(wide * width), nn.LeakyReLU(0.2)]
    border = [nn.ZeroPad2d((1, 0, 1, 0))] if last_stride == 2 else []
    return nn.Sequential(*layers, *border, nn.Conv2d(8 * width, 1, 4, padding=1))


def convolutions(torch, theirs):
    return [m for m in theirs.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]


@pytest.mark.parametrize("conv_bias", [False, True])
@pytest.mark.parametrize(("kernel", "size"), [(3, (16, 20)), (4, (12, 16))])
def test_generator_equals_torch(kernel, size, conv_bias):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch_generator(torch, width=4, num_res_blocks=2, kernel=kernel)
    ours = ResnetGenerator(
        out_channels=2, channels=4, num_res_blocks=2, kernel=kernel, conv_bias=conv_bias, rngs=nnx.Rngs(0)
    )
    blocks = [conv for i in range(2) for conv in (ours.blocks[str(i)].first, ours.blocks[str(i)].second)]
    mine = [ours.first, ours.down["0"], ours.down["1"], *blocks, ours.up["1"], ours.up["0"], ours.last]
    for one, other in zip(mine, convolutions(torch, theirs), strict=True):
        load(one, other)
    x = pictures(2, *size, 3)
    with torch.no_grad():
        expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    assert_near(apply(ours, jnp.asarray(x)), expected)


@pytest.mark.parametrize(("last_stride", "conv_bias"), [(1, False), (1, True), (2, False)])
def test_discriminator_equals_torch(last_stride, conv_bias):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch_discriminator(torch, 4, last_stride)
    ours = PatchDiscriminator(channels=4, last_stride=last_stride, conv_bias=conv_bias, rngs=nnx.Rngs(0))
    mine = [*(ours.convs[str(i)] for i in range(4)), ours.output]
    for one, other in zip(mine, convolutions(torch, theirs), strict=True):
        load(one, other)
    x = pictures(2, 32, 40, 3)
    with torch.no_grad():
        expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()[:, 0]
    assert_near(apply(ours, jnp.asarray(x)), expected)


@pytest.mark.parametrize(
    ("cls", "options", "without", "with_biases"),
    [
        (ResnetGenerator, {}, 11_372_931, 11_378_179),
        (ResnetGenerator, dict(num_res_blocks=6), 7_833_987, 7_837_699),
        (ResnetGenerator, TUTORIAL_G, 7_227_779, 7_230_979),
        (PatchDiscriminator, {}, 2_763_841, 2_764_737),
        (PatchDiscriminator, TUTORIAL_D, 2_763_841, 2_764_737),
    ],
)
def test_counts_of_the_published_networks(cls, options, without, with_biases):
    assert count(cls, **options) == without
    assert count(cls, **options, conv_bias=True) == with_biases


def test_count_of_pix2pixs_discriminator():
    assert count(PatchDiscriminator, in_channels=6, norm="batch") == 2_768_705


def test_widths_stop_growing_at_eight_times():
    d = nnx.eval_shape(lambda: PatchDiscriminator(channels=2, num_layers=5, rngs=nnx.Rngs(0)))
    assert [d.convs[str(i)].kernel.shape[-1] for i in range(6)] == [2, 4, 8, 16, 16, 16]
    assert sorted(d.norms) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("options", "size", "shape", "field"),
    [
        ({}, 256, (30, 30), 70),
        (dict(num_layers=2), 64, (14, 14), 34),
        (TUTORIAL_D, 256, (16, 16), 94),
        (TUTORIAL_D, 64, (4, 4), None),
    ],
)
def test_receptive_field_of_a_logit(options, size, shape, field):
    # Batch norm with its running statistics acts on single pixels; instance norm would spread gradients over the map.
    d = PatchDiscriminator(**options, in_channels=1, channels=1, norm="batch", init="glorot", rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(d)
    images = jnp.asarray(pictures(1, size, size, 1))
    logits = jax.eval_shape(lambda: d(images, train=False))
    assert logits.shape == (1, *shape)
    if field is None:
        return
    middle = shape[0] // 2
    gradient = jax.jit(
        jax.grad(lambda images: nnx.merge(graphdef, state)(images, train=False)[0, middle, middle])
    )(images)[0, :, :, 0]  # fmt: skip
    for axis in (0, 1):
        (seen,) = np.nonzero(np.abs(gradient).max(axis=axis))
        assert seen[-1] - seen[0] + 1 == field


@pytest.mark.parametrize("cls", [ResnetGenerator, PatchDiscriminator])
def test_images_are_treated_alone_and_alike_in_training_and_evaluation(cls):
    model = cls(channels=2, rngs=nnx.Rngs(0), **(dict(num_res_blocks=1) if cls is ResnetGenerator else {}))
    x = jnp.asarray(pictures(2, 24, 24, 3))
    y = apply(model, x)
    np.testing.assert_allclose(apply(model, x[:1], train=False), y[:1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", [ResnetGenerator, PatchDiscriminator])
def test_half_precision_inside_float32_outside(cls):
    options = dict(channels=4, init="torch", **(dict(num_res_blocks=1) if cls is ResnetGenerator else {}))
    x = jnp.asarray(pictures(1, 24, 24, 3))
    half, full = (cls(**options, dtype=dtype, rngs=nnx.Rngs(0)) for dtype in (jnp.bfloat16, jnp.float32))
    first = half.first if cls is ResnetGenerator else half.convs["0"]
    assert first(x, train=True).dtype == jnp.bfloat16 and first.kernel[...].dtype == jnp.float32
    y, expected = apply(half, x), apply(full, x)
    assert y.dtype == jnp.float32
    error = np.abs(y - expected).max() / np.abs(expected).max()
    assert 1e-4 < error < 0.1
    if cls is PatchDiscriminator:
        assert half.output.dtype == jnp.float32


def test_initial_values():
    g = ResnetGenerator(channels=32, num_res_blocks=1, conv_bias=True, rngs=nnx.Rngs(0))
    for conv in (g.first, g.down["1"], g.blocks["0"].second, g.up["0"], g.last):
        np.testing.assert_allclose(np.std(conv.kernel[...]), 0.02, rtol=0.05)
        assert not np.any(conv.bias[...])
    d = PatchDiscriminator(channels=32, norm="batch", rngs=nnx.Rngs(0))
    np.testing.assert_allclose(
        [np.mean(d.norms["3"].scale[...]), np.std(d.norms["3"].scale[...])], [1, 0.02], rtol=0.15
    )


def test_torchgan_redraws_transposed_convolutions_of_g_and_convolutions_of_d():
    g = ResnetGenerator(channels=16, num_res_blocks=1, kernel=4, init="torchgan", rngs=nnx.Rngs(0))
    d = PatchDiscriminator(channels=16, init="torchgan", rngs=nnx.Rngs(0))
    for conv, fan_in, he in (
        (g.up["1"], 32 * 16, True), (g.down["1"], 32 * 16, False), (g.blocks["0"].first, 64 * 9, False),
        (d.convs["3"], 64 * 16, True), (d.output, 128 * 16, True),
    ):  # fmt: skip
        std = math.sqrt(2 / fan_in) if he else math.sqrt(1 / (3 * fan_in))
        np.testing.assert_allclose(np.std(conv.kernel[...]), std, rtol=0.05)


def test_settings_and_images_that_do_not_fit():
    with pytest.raises(ValueError, match=r"`kernel` \(=5\) must be 3 or 4"):
        ResnetGenerator(kernel=5, rngs=nnx.Rngs(0))
    for options, message in (
        (dict(num_layers=0), r"`num_layers` \(=0\)"), (dict(last_stride=3), r"`last_stride` \(=3\)"),
        (dict(norm="layer"), r"`norm` \(='layer'\) must be one of instance, batch"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            PatchDiscriminator(**options, rngs=nnx.Rngs(0))
    g = ResnetGenerator(channels=1, num_res_blocks=1, rngs=nnx.Rngs(0))
    for shape, message in (
        ((1, 16, 18, 3), r"\(16 x 18\) must have sides that are multiples of 4"),
        ((1, 18, 16, 3), r"multiples of 4"),
        ((1, 16, 16, 1), r"\(shape \[1, 16, 16, 1\]\) must have the shape \[B, H, W, 3\]"),
        ((16, 16, 3), r"shape \[B, H, W, 3\]"),
        ((1, 4, 8, 3), r"sides of at least 2 pixels"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(g, jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize(
    ("options", "smallest", "side"), [({}, 24, 1), (TUTORIAL_D, 32, 2), (dict(num_layers=1), 6, 1)]
)
def test_smallest_images_of_the_discriminator(options, smallest, side):
    d = PatchDiscriminator(channels=1, **options, rngs=nnx.Rngs(0))
    logits = jax.eval_shape(d, jax.ShapeDtypeStruct((1, smallest, smallest, 3), jnp.float32))
    assert logits.shape == (1, side, side)
    with pytest.raises(ValueError, match=rf"must have sides of at least {smallest} pixels"):
        jax.eval_shape(d, jax.ShapeDtypeStruct((1, smallest, smallest - 1, 3), jnp.float32))
