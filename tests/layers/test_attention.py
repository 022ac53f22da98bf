"""Self-attention against a NumPy restatement, its mask, and its parity switches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.layers.attention import SelfAttention, window_mask
from jaxgan.layers.init import Init
from jaxgan.layers.spectral_norm import SpectralNorm, SpectralVector


def random(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def softmax(scores, axis):
    weights = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def reference(layer, x, *, pooled, axis=-1):
    """The layer in float64; returns the output and the attention map."""
    b, h, w, c = x.shape

    def conv1x1(conv, x):
        y = x @ np.asarray(conv.kernel[...], np.float64)[0, 0]
        return y if conv.bias is None else y + np.asarray(conv.bias[...])

    def pixels(x, pool):
        if pool:
            x = np.max([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
        return x.reshape(b, -1, x.shape[-1])

    x = x.astype(np.float64)
    queries = pixels(conv1x1(layer.query, x), False)
    keys, values = (pixels(conv1x1(conv, x), pooled) for conv in (layer.key, layer.value))
    weights = softmax(queries @ keys.transpose(0, 2, 1), axis)
    y = (weights @ values).reshape(b, h, w, -1)
    if pooled:
        y = conv1x1(layer.output, y)
    return x + float(layer.gate[...]) * y, weights


def attention(channels=16, gate=0.7, **kwargs):
    layer = SelfAttention(channels, init=Init("torch"), rngs=nnx.Rngs(0), **kwargs)
    layer.gate[...] = jnp.float32(gate)
    return layer


@pytest.mark.parametrize("kind", ["pooled", "plain"])
@pytest.mark.parametrize("bias", [False, True])
def test_equals_numpy(kind, bias):
    layer, x = attention(kind=kind, bias=bias), 3 * random(0, (2, 4, 6, 16))
    expected, weights = reference(layer, x, pooled=kind == "pooled")
    np.testing.assert_allclose(layer(jnp.asarray(x), train=True), expected, rtol=1e-5, atol=1e-5)
    drawn = layer.attention_map(jnp.asarray(x), train=False)
    assert drawn.shape == (2, 24, 6 if kind == "pooled" else 24)
    np.testing.assert_allclose(drawn, weights, rtol=1e-4, atol=1e-6)


def test_parameters_by_kind():
    def shapes(**kwargs):
        params = nnx.to_pure_dict(nnx.state(SelfAttention(16, rngs=nnx.Rngs(0), **kwargs), nnx.Param))
        return {name: value["kernel"].shape[2:] for name, value in params.items() if name != "gate"}, params

    pooled, params = shapes(kind="pooled")
    assert pooled == {"query": (16, 2), "key": (16, 2), "value": (16, 8), "output": (8, 16)}
    assert all("bias" not in value for name, value in params.items() if name != "gate")
    plain, params = shapes(kind="plain", bias=True)
    assert plain == {"query": (16, 2), "key": (16, 2), "value": (16, 16)}
    assert all("bias" in value for name, value in params.items() if name != "gate")


@pytest.mark.parametrize("kind", ["pooled", "plain"])
def test_starts_as_the_identity_and_learns_its_gate(kind):
    layer, x = SelfAttention(8, kind=kind, rngs=nnx.Rngs(0)), jnp.asarray(random(0, (1, 4, 4, 8)))
    assert layer.gate[...].shape == ()
    np.testing.assert_array_equal(layer(x, train=True), x)
    graphdef, params = nnx.split(layer)
    grads = jax.jit(jax.grad(lambda params: nnx.merge(graphdef, params)(x, train=True).sum()))(params)
    assert float(grads["gate"][...]) != 0


def test_query_axis_normalises_over_the_queries():
    layer, x = attention(kind="plain", normalize_axis="query"), 3 * random(0, (2, 3, 3, 16))
    expected, weights = reference(layer, x, pooled=False, axis=-2)
    np.testing.assert_allclose(layer(jnp.asarray(x), train=True), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert np.abs(weights.sum(axis=2) - 1).max() > 0.1


def test_spectral_norm_covers_every_convolution_and_moves_once():
    layer = attention(kind="pooled", sn=SpectralNorm())
    before = nnx.to_pure_dict(nnx.state(layer, SpectralVector))
    assert set(before) == {"query", "key", "value", "output"}
    before = jax.tree.map(np.asarray, before)
    layer(jnp.asarray(random(0, (1, 4, 4, 16))), train=True)
    for name in before:
        kernel = np.asarray(getattr(layer, name).kernel[...], np.float64)[0, 0]
        v = kernel @ before[name]["u"]
        v /= np.linalg.norm(v)
        expected = kernel.T @ v / np.linalg.norm(kernel.T @ v)
        np.testing.assert_allclose(getattr(layer, name).u[...], expected, rtol=1e-4, atol=1e-6)


def masked_softmax(scores, height, width, span):
    """Non-local SAGAN's mask, one query after the other: what is outside of the window shares the weight of 1."""
    weights = np.zeros(scores.shape)
    for b, query in np.ndindex(scores.shape[:2]):
        y, x = divmod(query, width)
        window = {
            row * width + column
            for row in range(max(y - span, 0), min(y + span + 1, height))
            for column in range(max(x - span, 0), min(x + span + 1, width))
        }
        kept = [key for key in range(height * width) if key not in window]
        if kept:
            weights[b, query, kept] = softmax(scores[b, query, kept], -1)
        else:
            weights[b, query] = 1 / (height * width)
    return weights


def scores_of(layer, x):
    """The scores before the mask, from the layer's own queries and keys, in float64."""
    queries, keys = (
        np.asarray(conv(x, train=False), np.float64).reshape(len(x), -1, x.shape[-1] // 8)
        for conv in (layer.query, layer.key)
    )
    return queries @ keys.transpose(0, 2, 1)


@pytest.mark.parametrize("shape", [(4, 4), (8, 8), (4, 6), (6, 4)], ids=str)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_mask_takes_the_window_out_before_the_softmax(shape, dtype):
    x = jnp.asarray(3 * random(0, (2, *shape, 16)))
    for span in range(5):
        layer = attention(kind="plain", span=span, bias=True, dtype=dtype)
        expected = masked_softmax(scores_of(layer, x), *shape, span)
        weights = layer.attention_map(x, train=True)
        assert weights.dtype == jnp.float32
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)
        assert not np.asarray(weights)[expected == 0].any()
        values = np.asarray(layer.value(x, train=False), np.float64).reshape(2, -1, 16)
        attended = np.asarray(x, np.float64) + 0.7 * (expected @ values).reshape(x.shape)
        tolerance = 1e-5 if dtype == jnp.float32 else 0.05  # eight bits of the sum
        np.testing.assert_allclose(layer(x, train=True).astype(jnp.float32), attended, rtol=tolerance, atol=tolerance)


# Queries without a key left, of those of a square map; every other one attends outside of its window.
@pytest.mark.parametrize(
    ("side", "counts"), [(4, (0, 0, 4, 16, 16)), (8, (0, 0, 0, 0, 4)), (16, (0,) * 5), (32, (0,) * 5)]
)
def test_windows_that_cover_the_map(side, counts):
    for span, count in enumerate(counts):
        blocked = np.asarray(window_mask(side, side, span))
        assert blocked.all(axis=1).sum() == count
        along_one_side = np.mean([min(i + span, side - 1) - max(i - span, 0) + 1 for i in range(side)]) / side
        np.testing.assert_allclose(blocked.mean(), along_one_side**2)


@pytest.mark.parametrize(("side", "span", "count"), [(4, 2, 4), (4, 3, 16), (8, 4, 4)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_fully_masked_queries_attend_uniformly_whatever_their_scores(side, span, count, dtype):
    x = jnp.asarray(30 * random(0, (1, side, side, 8)))  # beyond 32, where float32 knows scores beside 1e9 again
    layer = attention(8, kind="plain", span=span, dtype=dtype)
    assert np.abs(scores_of(layer, x)).max() > 32
    weights = np.asarray(layer.attention_map(x, train=True))[0]
    empty = np.asarray(window_mask(side, side, span)).all(axis=1)
    assert empty.sum() == count
    np.testing.assert_allclose(weights[empty], 1 / side**2, rtol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)


def test_mask_equals_an_addition_of_minus_1e9_in_float32():
    """Non-local SAGAN's way, which swallows the scores of a fully masked query as long as they are below 32."""
    x = jnp.asarray(random(0, (2, 4, 4, 16)))
    for span in range(5):
        layer = attention(kind="plain", span=span, bias=True)
        scores = scores_of(layer, x).astype(np.float32)
        assert np.abs(scores).max() < 32
        added = scores + np.asarray(window_mask(4, 4, span)) * np.float32(-1e9)
        np.testing.assert_allclose(layer.attention_map(x, train=True), softmax(added, -1), rtol=1e-4, atol=1e-6)


def test_mask_leaves_finite_gradients():
    layer, x = attention(8, kind="plain", span=2), jnp.asarray(random(0, (1, 4, 4, 8)))
    grads = jax.jit(jax.grad(lambda x: jnp.sum(layer(x, train=False) ** 2)))(x)
    assert np.all(np.isfinite(grads))


def test_scores_that_are_never_seen_are_not_trained():
    layer, x = attention(8, kind="plain", span=3), jnp.asarray(random(0, (1, 4, 4, 8)))
    graphdef, params, rest = nnx.split(layer, nnx.Param, ...)
    loss = jax.jit(jax.grad(lambda params: jnp.sum(nnx.merge(graphdef, params, rest)(x, train=False) ** 2)))
    grads = nnx.to_pure_dict(loss(params))
    assert not grads["query"]["kernel"].any() and not grads["key"]["kernel"].any()
    assert grads["value"]["kernel"].any()


def test_query_axis_masks_along_its_own_axis():
    layer = attention(8, kind="plain", span=2, normalize_axis="query")
    weights = np.asarray(layer.attention_map(jnp.asarray(random(0, (1, 4, 4, 8))), train=True))[0]
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, rtol=1e-5)


def test_half_precision_computes_weights_in_float32():
    layer, x = attention(dtype=jnp.bfloat16, kind="plain"), jnp.asarray(random(0, (1, 4, 4, 16)))
    assert layer(x, train=True).dtype == jnp.bfloat16
    weights = layer.attention_map(x, train=True)
    assert weights.dtype == jnp.float32
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-6)
    grad = jax.jit(jax.grad(lambda x: layer(x, train=False).astype(jnp.float32).sum()))(x)
    assert np.all(np.isfinite(grad))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(channels=4), r"`channels` \(=4\) of self-attention must be a multiple of 8"),
        (dict(channels=12), r"`channels` \(=12\)"),
        (dict(channels=8, kind="dot"), r"`kind` \(='dot'\) of self-attention must be pooled or plain"),
        (dict(channels=8, span=0), r"`span` \(=0\) masks plain attention only"),
        (dict(channels=8, normalize_axis="both"), r"`normalize_axis` \(='both'\) must be key or query"),
    ],
)
def test_impossible_settings(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SelfAttention(**kwargs, rngs=nnx.Rngs(0))
