"""Distributions of initial values, from concrete and from traced keys."""

import functools
import math

import jax
import numpy as np
import pytest
from flax import nnx

from jaxgan.layers.conv import Conv, ConvTranspose
from jaxgan.layers.init import SCHEMES, Init, constant, normal
from jaxgan.layers.linear import Embed, Linear

SHAPE = (3, 3, 24, 40)
FAN_IN, FAN_OUT = 9 * 24, 9 * 40


def draw(scheme, traced, shape=SHAPE, **kwargs):
    if traced:
        return np.asarray(jax.jit(lambda key: Init(scheme).kernel(nnx.Rngs(key), shape, **kwargs))(jax.random.key(3)))
    return np.asarray(Init(scheme).kernel(nnx.Rngs(3), shape, **kwargs))


def assert_uniform(x, limit):
    assert np.abs(x).max() <= limit * (1 + 1e-6)
    assert x.max() > 0.99 * limit and x.min() < -0.99 * limit
    np.testing.assert_allclose(x.std(), limit / math.sqrt(3), rtol=0.03)
    assert abs(x.mean()) < 0.03 * limit


@pytest.mark.parametrize("traced", [False, True])
def test_uniform_schemes(traced):
    glorot = math.sqrt(6 / (FAN_IN + FAN_OUT))
    assert_uniform(draw("glorot", traced), glorot)
    assert_uniform(draw("glorot_sqrt2", traced), glorot)
    assert_uniform(draw("glorot_sqrt2", traced, gain=Init("glorot_sqrt2").residual_gain), math.sqrt(2) * glorot)
    assert_uniform(draw("torch", traced), 1 / math.sqrt(FAN_IN))
    assert_uniform(draw("torch", traced, layer="conv"), 1 / math.sqrt(FAN_IN))
    assert_uniform(draw("torch", traced, layer="transposed"), 1 / math.sqrt(FAN_OUT))


def test_residual_gain_belongs_to_one_scheme():
    assert {scheme: Init(scheme).residual_gain for scheme in SCHEMES if scheme != "glorot_sqrt2"} == {
        scheme: 1.0 for scheme in SCHEMES if scheme != "glorot_sqrt2"
    }


@pytest.mark.parametrize("traced", [False, True])
def test_normal_scheme(traced):
    x = draw("normal", traced)
    np.testing.assert_allclose(x.std(), 0.02, rtol=0.03)
    assert abs(x.mean()) < 1e-3
    np.testing.assert_allclose(np.mean((x / 0.02) ** 4), 3, rtol=0.1)  # kurtosis of a Gaussian


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (2, 12)])
def test_orthogonal_scheme(traced, shape):
    matrix = draw("orthogonal", traced, shape, gain=2.0).reshape(-1, shape[-1])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


def test_orthogonal_has_no_preferred_sign():
    # Without the correction by R's diagonal, the first entry of LAPACK's Q is never positive.
    corners = [Init("orthogonal").kernel(nnx.Rngs(seed), (3, 2))[0, 0] for seed in range(40)]
    assert 0.25 < np.mean(np.stack(corners) > 0) < 0.75


def test_determined_by_the_seed_and_different_at_every_draw():
    rngs = nnx.Rngs(7)
    first, second = (np.asarray(Init().kernel(rngs, SHAPE)) for _ in range(2))
    np.testing.assert_array_equal(first, Init().kernel(nnx.Rngs(7), SHAPE))
    assert np.abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05
    other = np.asarray(Init().kernel(nnx.Rngs(8), SHAPE))
    assert np.abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("scheme", SCHEMES)
def test_concrete_keys_do_not_draw_with_jax(scheme, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a compilation per shape")

    monkeypatch.setattr(jax.random, "uniform", refuse)
    monkeypatch.setattr(jax.random, "normal", refuse)
    monkeypatch.setattr(jax.nn.initializers, "orthogonal", refuse)
    assert Init(scheme).kernel(nnx.Rngs(0), (2, 3)).shape == (2, 3)
    assert Init(scheme).bias(nnx.Rngs(0), 3, fan_in=2).dtype == np.float32


def test_normal_has_the_mean_and_constant_is_full():
    x = np.asarray(normal(nnx.Rngs(0), (4000,), 0.5, 3.0))
    np.testing.assert_allclose([x.mean(), x.std()], [3.0, 0.5], rtol=0.03)
    np.testing.assert_array_equal(constant((2, 3), 1.5), np.full((2, 3), 1.5, np.float32))
    np.testing.assert_array_equal(jax.jit(lambda: constant((2,), 1.5))(), np.full(2, 1.5, np.float32))


def test_biases_are_zero_but_under_torch():
    assert not np.any(Linear(4, 5, init=Init("glorot"), rngs=nnx.Rngs(0)).bias[...])
    assert_uniform(np.asarray(Init("torch").bias(nnx.Rngs(0), 5000, fan_in=16)), 0.25)


def test_layers_pass_pytorchs_fan_in():
    torch_init = Init("torch")
    linear = Linear(25, 400, init=torch_init, rngs=nnx.Rngs(0))
    assert_uniform(np.asarray(linear.kernel[...]), 1 / 5)
    assert 0.9 / 5 < np.abs(linear.bias[...]).max() <= 1 / 5
    conv = Conv(4, 300, kernel_size=5, init=torch_init, rngs=nnx.Rngs(0))
    assert_uniform(np.asarray(conv.kernel[...]), 1 / 10)
    assert 0.09 < np.abs(conv.bias[...]).max() <= 0.1
    transposed = ConvTranspose(16, 100, kernel_size=2, init=torch_init, rngs=nnx.Rngs(0))
    assert_uniform(np.asarray(transposed.kernel[...]), 1 / 20)  # out * k * k = 400
    assert 0.045 < np.abs(transposed.bias[...]).max() <= 0.05
    table = np.asarray(Embed(100, 50, init=torch_init, rngs=nnx.Rngs(0)).table[...])
    np.testing.assert_allclose(table.std(), 1.0, rtol=0.03)


@pytest.mark.parametrize("traced", [False, True])
def test_torchgan_scheme(traced):
    def drawn(layer, *redrawn):
        draw = functools.partial(Init("torchgan", redrawn=redrawn).kernel, shape=SHAPE, layer=layer)
        return np.asarray(jax.jit(lambda key: draw(nnx.Rngs(key)))(jax.random.key(3)) if traced else draw(nnx.Rngs(3)))

    for layer, fan_in in (("conv", FAN_IN), ("transposed", FAN_OUT)):
        x = drawn(layer, layer)
        np.testing.assert_allclose(x.std(), math.sqrt(2 / fan_in), rtol=0.03)
        np.testing.assert_allclose(np.mean(x**4) / x.var() ** 2, 3, rtol=0.1)
        assert_uniform(drawn(layer, "linear"), 1 / math.sqrt(fan_in))
    assert_uniform(drawn("linear", "conv", "transposed"), 1 / math.sqrt(FAN_IN))


def test_torchgan_redraws_the_layers_that_torch_names():
    torch = pytest.importorskip("torch")
    init = Init("torchgan")
    for ours, theirs in (
        (Conv(6, 300, kernel_size=4, init=init, rngs=nnx.Rngs(0)), torch.nn.Conv2d(6, 300, 4)),
        (ConvTranspose(300, 6, kernel_size=4, init=init, rngs=nnx.Rngs(0)), torch.nn.ConvTranspose2d(300, 6, 4)),
    ):
        torch.nn.init.kaiming_normal_(theirs.weight)  # torchgan's initialiser
        np.testing.assert_allclose(np.std(ours.kernel[...]), theirs.weight.detach().numpy().std(), rtol=0.03)
        assert 0 < np.abs(ours.bias[...]).max() <= 1 / math.sqrt(6 * 16)  # fan_in of both


def test_torchgan_leaves_linear_layers_embeddings_and_the_layers_not_named_as_torch_draws_them():
    for redrawn, cls in ((("transposed",), Conv), (("conv",), ConvTranspose)):
        pair = [
            cls(4, 5, kernel_size=3, init=Init(*args), rngs=nnx.Rngs(0)) for args in (("torchgan", redrawn), ("torch",))
        ]
        np.testing.assert_array_equal(pair[0].kernel[...], pair[1].kernel[...])
        np.testing.assert_array_equal(pair[0].bias[...], pair[1].bias[...])
    for cls, name in ((Linear, "kernel"), (Linear, "bias"), (Embed, "table")):
        pair = [cls(4, 5, init=Init(scheme), rngs=nnx.Rngs(0)) for scheme in ("torchgan", "torch")]
        np.testing.assert_array_equal(getattr(pair[0], name)[...], getattr(pair[1], name)[...])


def test_gain_reaches_the_convolution():
    conv = Conv(24, 40, kernel_size=3, gain=3.0, rngs=nnx.Rngs(0))
    assert_uniform(np.asarray(conv.kernel[...]), 3 * math.sqrt(6 / (FAN_IN + FAN_OUT)))


def test_unknown_scheme():
    with pytest.raises(ValueError, match=r"`init` \(='xavier'\) must be one of glorot"):
        Init("xavier")


def test_unknown_layer():
    with pytest.raises(ValueError, match=r"`redrawn` \(=\('convolution',\)\) must be some of linear, conv, transposed"):
        Init("torchgan", redrawn=("convolution",))
