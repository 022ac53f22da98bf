"""The projection head against the paper's formula."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.layers.projection import ProjectionHead
from jaxgan.layers.spectral_norm import SpectralNorm, SpectralVector

H = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def test_equals_the_formula():
    head, labels = ProjectionHead(4, 5, rngs=nnx.Rngs(0)), np.array([4, 0, 2])
    head.linear.bias[...] = jnp.array([0.5])
    kernel, table = np.asarray(head.linear.kernel[...]), np.asarray(head.embed.table[...])
    expected = H @ kernel[:, 0] + 0.5 + np.sum(table[labels] * H, axis=1)
    logits = head(jnp.asarray(H), jnp.asarray(labels), train=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_mixture_of_classes_mixes_the_projections():
    head, h = ProjectionHead(4, 2, rngs=nnx.Rngs(0)), jnp.asarray(H)
    ends = [head(h, jnp.full(3, y), train=False) for y in (0, 1)]
    mixed = head(h, jnp.tile(jnp.array([[0.25, 0.75]]), (3, 1)), train=False)
    np.testing.assert_allclose(mixed, 0.25 * ends[0] + 0.75 * ends[1], rtol=1e-5, atol=1e-6)


def test_spectral_norm_covers_both_terms():
    head = ProjectionHead(4, 5, sn=SpectralNorm(num_iters=100), rngs=nnx.Rngs(0))
    vectors = nnx.to_pure_dict(nnx.state(head, SpectralVector))
    assert vectors["linear"]["u"].shape == (1,) and vectors["embed"]["u"].shape == (5,)
    kernel, table = np.asarray(head.linear.kernel[...]), np.asarray(head.embed.table[...])
    expected = H @ kernel[:, 0] / np.linalg.norm(kernel) + np.sum(table[:3] * H, axis=1) / np.linalg.norm(table, 2)
    np.testing.assert_allclose(head(jnp.asarray(H), jnp.arange(3), train=True), expected, rtol=1e-4, atol=1e-5)


def test_unconditional_head_is_the_linear_layer():
    head = ProjectionHead(4, rngs=nnx.Rngs(0))
    logits = head(jnp.asarray(H), jnp.arange(3), train=False)
    np.testing.assert_array_equal(logits, head.linear(jnp.asarray(H), train=False)[:, 0])


def test_logits_are_float32_and_labels_are_needed():
    head = ProjectionHead(4, 5, rngs=nnx.Rngs(0))
    assert head(jnp.asarray(H, jnp.bfloat16), jnp.arange(3), train=False).dtype == jnp.float32
    with pytest.raises(ValueError, match=r"`labels` \(=None\) must be given"):
        head(jnp.asarray(H), train=False)
