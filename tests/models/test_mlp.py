"""The fully connected networks against NumPy, and the counts of the MNIST tutorial."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.models.mlp import MLPDiscriminator, MLPGenerator


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.to_pure_dict(nnx.state(model))))


def test_counts_of_the_mnist_tutorial():
    assert count(MLPGenerator(resolution=(28, 28), out_channels=1, rngs=nnx.Rngs(0))) == 218_128
    assert count(MLPDiscriminator(resolution=(28, 28), in_channels=1, rngs=nnx.Rngs(0))) == 100_609


def forward(layers, x, slope):
    for i in range(len(layers)):
        layer = layers[str(i)]
        x = x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])
        x = np.where(x > 0, x, slope * x) if i + 1 < len(layers) else x
    return x


@pytest.mark.parametrize("hidden", [(5,), (5, 4), ()])
def test_equal_numpy(hidden):
    random = np.random.default_rng(0)
    g = MLPGenerator(resolution=(2, 3), out_channels=2, latent_dim=4, hidden=hidden, slope=0.3, rngs=nnx.Rngs(0))
    z = random.standard_normal((3, 4)).astype(np.float32)
    expected = np.tanh(forward(g.layers, z, 0.3)).reshape(3, 2, 3, 2)
    images = g(jnp.asarray(z), train=True)
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-6)
    d = MLPDiscriminator(resolution=(2, 3), in_channels=2, hidden=hidden, slope=0.3, rngs=nnx.Rngs(0))
    logits = d(images, train=True)
    np.testing.assert_allclose(logits, forward(d.layers, expected.reshape(3, 12), 0.3)[:, 0], rtol=1e-4, atol=1e-6)


def test_half_precision_returns_float32():
    g = MLPGenerator(resolution=(2, 2), latent_dim=4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    d = MLPDiscriminator(resolution=(2, 2), dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    images = g(jnp.ones((1, 4)), train=False)
    assert images.dtype == d(images, train=False).dtype == jnp.float32
    single = MLPDiscriminator(resolution=(2, 2), rngs=nnx.Rngs(0))
    assert not np.array_equal(d(images, train=False), single(images, train=False))
    np.testing.assert_allclose(d(images, train=False), single(images, train=False), atol=0.02)


def test_inputs_of_another_shape():
    with pytest.raises(ValueError, match=r"`z` \(shape \[1, 3\]\)"):
        MLPGenerator(resolution=(2, 2), latent_dim=4, rngs=nnx.Rngs(0))(jnp.ones((1, 3)), train=False)
    with pytest.raises(ValueError, match=r"`images` \(shape \[1, 2, 2, 1\]\)"):
        MLPDiscriminator(resolution=(2, 2), rngs=nnx.Rngs(0))(jnp.ones((1, 2, 2, 1)), train=False)
