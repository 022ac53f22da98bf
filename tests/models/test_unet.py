"""pix2pix's U-Net against a restatement in PyTorch, its published count, and its dropout."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.models.unet import UNetGenerator, drop

DEEP = dict(resolution=(64, 64), channels=2)  # 6 levels, the fewest that have dropout: after that of level 4
FLAT = dict(resolution=(8, 8), channels=4, dropout=0.0)  # 3 levels
KEY = jax.random.key(5)


def shapes(**options):
    model = nnx.eval_shape(lambda: UNetGenerator(**options, rngs=nnx.Rngs(0)))
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    return {"/".join(key.key for key in path): leaf.shape for path, leaf in leaves}


def apply(model, *args, **kwargs):
    """A jitted call."""
    graphdef, state = nnx.split(model)
    return jax.jit(lambda state, *args: nnx.merge(graphdef, state)(*args, **kwargs))(state, *args)


def pictures(*shape):
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def to_torch(torch, x):
    return torch.tensor(np.moveaxis(np.asarray(x), 3, 1).copy())


def torch_unet(torch, widths, in_channels=3, out_channels=2):
    """Nested from the inside out; the masks of level 4 are set from outside."""
    nn = torch.nn

    class Mask(nn.Module):
        value = 1.0

        def forward(self, x):
            return x * self.value

    class Level(nn.Module):
        def __init__(self, index, inner):
            super().__init__()
            self.outermost = index == 0
            wide_in = in_channels if index == 0 else widths[index - 1]
            wide_out = out_channels if index == 0 else widths[index - 1]
            wide = widths[index]
            self.down = nn.Conv2d(wide_in, wide, 4, 2, 1, bias=False)
            self.up = nn.ConvTranspose2d(wide if inner is None else 2 * wide, wide_out, 4, 2, 1, bias=index == 0)
            self.down_norm = nn.BatchNorm2d(wide) if index and inner is not None else None
            self.up_norm = nn.BatchNorm2d(wide_out) if index else None
            self.mask = Mask() if index == 4 and inner is not None else None
            before = [] if index == 0 else [nn.LeakyReLU(0.2)]
            path = [*before, self.down, self.down_norm, inner, nn.ReLU(), self.up, self.up_norm, self.mask]
            self.path = nn.Sequential(
                *[layer for layer in [*path, nn.Tanh() if index == 0 else None] if layer is not None]
            )

        def forward(self, x):
            y = self.path(x)
            return y if self.outermost else torch.cat([x, y], 1)

    level, levels = None, []
    for index in reversed(range(len(widths))):
        level = Level(index, level)
        levels.insert(0, level)
    return level, levels


def load(torch, ours, levels):
    """Copies random weights, scales and biases of PyTorch's network into ours."""

    def put(param, tensor):
        assert param.shape == tuple(tensor.shape)
        param[...] = jnp.asarray(tensor.detach().numpy().copy())

    for i, level in enumerate(levels):
        put(ours.down[str(i)].kernel, level.down.weight.permute(2, 3, 1, 0))
        put(ours.up[str(i)].kernel, level.up.weight.permute(2, 3, 0, 1).flip(0, 1))
        if i == 0:
            put(ours.up["0"].bias, level.up.bias)
        for norms, theirs in ((ours.down_norms, level.down_norm), (ours.up_norms, level.up_norm)):
            assert (str(i) in norms) == (theirs is not None)
            if theirs is not None:
                with torch.no_grad():
                    theirs.weight.normal_(1, 0.3)
                    theirs.bias.normal_(0, 0.3)
                put(norms[str(i)].scale, theirs.weight)
                put(norms[str(i)].bias, theirs.bias)


def assert_near(ours, theirs):
    """Relative to the largest value."""
    theirs = theirs.detach().numpy().transpose(0, 2, 3, 1)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.fixture(scope="module")
def both():
    """Ours and PyTorch's networks of six levels with the same weights, and two wide images."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    ours = UNetGenerator(**DEEP, out_channels=2, running_stats=True, rngs=nnx.Rngs(0))
    theirs, levels = torch_unet(torch, (2, 4, 8, 16, 16, 16))
    load(torch, ours, levels)
    return ours, theirs, levels, pictures(2, 64, 128, 3)


def test_training_equals_torch_with_the_same_dropout_and_running_statistics(both):
    torch = pytest.importorskip("torch")
    ours, theirs, levels, x = both
    keys = [jax.random.fold_in(jax.random.fold_in(KEY, image), 4) for image in range(2)]
    mask = jnp.stack([jax.random.bernoulli(key, 0.5, (4, 8, 16)) for key in keys]) / 0.5
    levels[4].mask.value = to_torch(torch, mask)
    graphdef, state = nnx.split(ours)

    @jax.jit
    def run(state, x, key):
        module = nnx.merge(graphdef, state)
        return module(x, key), nnx.state(module)

    y, state = run(state, jnp.asarray(x), KEY)
    assert_near(y, theirs.train()(to_torch(torch, x)))
    # Evaluation by the running statistics that this one forward has left on both sides.
    evaluated = apply(nnx.merge(graphdef, state), jnp.asarray(x), KEY, train=False)
    assert_near(evaluated, theirs.eval()(to_torch(torch, x)))
    assert np.abs(evaluated - y).max() > 0.01


def test_evaluation_is_torchs_training_mode_on_single_images(both):
    torch = pytest.importorskip("torch")
    _, theirs, levels, x = both
    ours = UNetGenerator(**DEEP, out_channels=2, dropout=0.0, rngs=nnx.Rngs(0))
    load(torch, ours, levels)
    levels[4].mask.value = 1.0
    theirs.train()
    y = apply(ours, jnp.asarray(x), train=False)
    for i in range(2):
        assert_near(y[i : i + 1], theirs(to_torch(torch, x[i : i + 1])))


def test_counts_and_layers_of_the_published_network():
    full = shapes(resolution=(256, 256))
    assert sum(math.prod(shape) for shape in full.values()) == 54_413_955
    assert sum(math.prod(shape) for shape in shapes(resolution=(128, 128)).values()) == 41_828_995
    assert sorted(name for name in full if name.startswith("up/0") or "down/0" in name) == [
        "down/0/kernel", "up/0/bias", "up/0/kernel",
    ]  # fmt: skip
    assert "down_norms/7/scale" not in full and full["up_norms/7/scale"] == (512,)


@pytest.mark.parametrize(
    ("options", "levels", "dropped"),
    [
        (dict(resolution=(256, 512)), 8, (4, 5, 6)),
        (dict(resolution=(512, 512)), 8, (4, 5, 6)),
        (dict(resolution=(128, 128)), 7, (4, 5)),
        (dict(resolution=(32, 64)), 5, ()),
        (dict(resolution=(96, 96), num_downs=5), 5, ()),
        (dict(resolution=(256, 256), dropout=0.0), 8, ()),
    ],
)
def test_levels_and_dropout_by_size(options, levels, dropped):
    model = nnx.eval_shape(lambda: UNetGenerator(channels=1, **options, rngs=nnx.Rngs(0)))
    assert model.num_downs == levels and model.dropped == dropped


def test_dropout_scales_what_it_keeps():
    x = jnp.full((2, 50, 40), 3.0)
    y = np.asarray(drop(x, jax.random.split(KEY, 2), 0.25))
    assert set(np.unique(y)) == {0.0, 4.0}
    np.testing.assert_allclose((y == 0).mean((1, 2)), 0.25, atol=0.05)
    assert (y[0] != y[1]).any()
    assert drop(x.astype(jnp.bfloat16), jax.random.split(KEY, 2), 0.25).dtype == jnp.bfloat16


def test_dropout_is_on_in_evaluation_and_depends_on_the_key_of_the_image_alone():
    model = UNetGenerator(**DEEP, rngs=nnx.Rngs(0), init="torch")
    graphdef, state = nnx.split(model)
    run = jax.jit(lambda state, x, key: nnx.merge(graphdef, state)(x, key, train=False))
    x = jnp.asarray(pictures(1, 64, 64, 3).repeat(2, axis=0))
    y = run(state, x, KEY)
    np.testing.assert_array_equal(run(state, x, KEY), y)
    assert np.abs(y[0] - y[1]).max() > 1e-3, "equal images drop different values"
    assert np.abs(run(state, x, jax.random.key(6)) - y).max() > 1e-3
    own = run(state, x, jnp.stack([jax.random.fold_in(KEY, 1), jax.random.fold_in(KEY, 0)]))
    np.testing.assert_allclose(own, y[::-1], atol=1e-5)


def test_half_precision_inside_float32_outside():
    x = jnp.asarray(pictures(2, 8, 8, 3))
    half, full = (
        UNetGenerator(**FLAT, dtype=dtype, init="torch", rngs=nnx.Rngs(0)) for dtype in ("bfloat16", "float32")
    )
    assert half.down["0"](x, train=True).dtype == jnp.bfloat16
    y, expected = apply(half, x), apply(full, x)
    assert y.dtype == jnp.float32
    assert 1e-4 < np.abs(y - expected).max() < 0.15


def test_initial_values():
    model = UNetGenerator(resolution=(16, 16), channels=24, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(np.std(model.up["1"].kernel[...]), 0.02, rtol=0.05)
    scales = np.concatenate([np.asarray(norm.scale[...]) for norm in model.up_norms.values()])
    np.testing.assert_allclose([scales.mean(), scales.std()], [1, 0.02], rtol=0.15)
    torchgan = UNetGenerator(resolution=(16, 16), channels=8, init="torchgan", rngs=nnx.Rngs(0))
    np.testing.assert_allclose(np.std(torchgan.up["1"].kernel[...]), math.sqrt(2 / (8 * 16)), rtol=0.05)
    np.testing.assert_allclose(np.std(torchgan.down["2"].kernel[...]), math.sqrt(1 / (3 * 16 * 16)), rtol=0.05)
    np.testing.assert_array_equal(torchgan.up_norms["1"].scale[...], 1)


def test_settings_and_images_that_do_not_fit():
    for options, message in (
        (dict(resolution=(96, 96)), r"`resolution` \(=96 x 96\) must have sides that are multiples of 64"),
        (dict(resolution=(64, 80)), r"`resolution` \(=64 x 80\) must have sides that are multiples of 64"),
        (dict(resolution=(2, 2)), r"`num_downs` \(=1\) must be at least 2"),
        (dict(resolution=(64, 64), dropout=1.0), r"`dropout` \(=1.0\) must lie in \[0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            UNetGenerator(**options, rngs=nnx.Rngs(0))
    model = UNetGenerator(**FLAT, rngs=nnx.Rngs(0))
    for shape, message in (((1, 8, 12, 3), r"\(8 x 12\) .* multiples of 8"), ((1, 8, 8, 4), r"shape \[B, H, W, 3\]")):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(model, jax.ShapeDtypeStruct(shape, jnp.float32))
    deep = UNetGenerator(**DEEP, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`key` \(=None\) must be given"):
        jax.eval_shape(deep, jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))
