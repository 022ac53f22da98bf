"""A SAGAN written down again in PyTorch, after the papers' block diagrams, with our weights: outputs must agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.models.resnet import ResNetDiscriminator, ResNetGenerator

torch = pytest.importorskip("torch")
F = torch.nn.functional

ATTENTION = dict(attention_resolutions=(8,), attention_kind="pooled", num_classes=3, resolution=(16, 16))


def tensor(x):
    return torch.tensor(np.ascontiguousarray(np.asarray(x)))


def divide(weight, u):
    """One power iteration from the right vector `u` of the matrix (columns: rest, rows: len(u))."""
    if u is None:
        return weight
    matrix, u = weight.reshape(weight.shape[0], -1), tensor(u[...])
    v = F.normalize(u @ matrix, dim=0)
    u = F.normalize(matrix @ v, dim=0)
    return weight / (u @ matrix @ v)


def conv(layer, x):
    weight = divide(tensor(np.asarray(layer.kernel[...]).transpose(3, 2, 0, 1)), layer.u)
    bias = None if layer.bias is None else tensor(layer.bias[...])
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def linear(layer, x):
    return F.linear(x, divide(tensor(np.asarray(layer.kernel[...]).T), layer.u), tensor(layer.bias[...]))


def normalize(x):
    return F.batch_norm(x, None, None, training=True, eps=1e-5)


def conditional_norm(layer, x, labels):
    gain, bias = tensor(layer.gain[...])[labels], tensor(layer.bias[...])[labels]
    return normalize(x) * (1 + gain)[:, :, None, None] + bias[:, :, None, None]


def attention(layer, x):
    b, c, h, w = x.shape
    theta = conv(layer.query, x).reshape(b, -1, h * w)
    phi, g = (F.max_pool2d(conv(each, x), 2).reshape(b, -1, h * w // 4) for each in (layer.key, layer.value))
    beta = torch.softmax(torch.bmm(theta.transpose(1, 2), phi), dim=-1)
    o = torch.bmm(g, beta.transpose(1, 2)).reshape(b, c // 2, h, w)
    return x + float(layer.gate[...]) * conv(layer.output, o)


def up(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def generate(g, z, labels):
    x = linear(g.linear, z).reshape(len(z), 4, 4, -1).permute(0, 3, 1, 2)
    for i in (1, 2):
        block = g.blocks[str(i)]
        h = conv(block.conv1, up(torch.relu(conditional_norm(block.norm1, x, labels))))
        h = conv(block.conv2, torch.relu(conditional_norm(block.norm2, h, labels)))
        x = h + conv(block.shortcut, up(x))
        x = attention(g.attention.layers["1"], x) if i == 1 else x
    scale, bias = tensor(g.norm.scale[...])[:, None, None], tensor(g.norm.bias[...])[:, None, None]
    return torch.tanh(conv(g.conv, torch.relu(normalize(x) * scale + bias)))


def discriminate(d, x, labels):
    first = d.first_block
    h = F.avg_pool2d(conv(first.conv2, torch.relu(conv(first.conv1, x))), 2)
    x = attention(d.attention.layers["0"], h + conv(first.shortcut, F.avg_pool2d(x, 2)))
    down, last = d.blocks["1"], d.blocks["2"]
    h = conv(down.conv2, torch.relu(conv(down.conv1, torch.relu(x))))
    x = F.avg_pool2d(h, 2) + F.avg_pool2d(conv(down.shortcut, x), 2)
    x = x + conv(last.conv2, torch.relu(conv(last.conv1, torch.relu(x))))
    features = torch.relu(x).sum(dim=(2, 3))
    table = divide(tensor(d.head.embed.table[...]), d.head.embed.u)
    return linear(d.head.linear, features)[:, 0] + (table[labels] * features).sum(dim=1)


def perturb(model):
    """Moves every parameter that starts at 0 or 1, so that nothing is hidden by its initial value."""
    random = np.random.default_rng(0)
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    for _, variable in nnx.to_flat_state(params):
        noise = random.standard_normal(variable[...].shape).astype(np.float32)
        variable[...] = variable[...] + 0.2 * jnp.asarray(noise)
    return nnx.merge(graphdef, params, rest)


def apply(model, *args):
    """A jitted training forward."""
    graphdef, state = nnx.split(model)
    return jax.jit(lambda state, *args: nnx.merge(graphdef, state)(*args, train=True))(state, *args)


@pytest.mark.parametrize("spectral_norm", ["all", "none"])
def test_generator(spectral_norm):
    g = perturb(ResNetGenerator(**ATTENTION, channels=8, latent_dim=5, spectral_norm=spectral_norm, rngs=nnx.Rngs(0)))
    z = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    labels = np.array([2, 0, 1])
    expected = generate(g, tensor(z), tensor(labels)).numpy().transpose(0, 2, 3, 1)
    images = apply(g, jnp.asarray(z), jnp.asarray(labels))
    np.testing.assert_allclose(images, expected, atol=1e-5)
    assert np.std(expected) > 0.05


@pytest.mark.parametrize("wide", [True, False])
def test_discriminator(wide):
    d = perturb(ResNetDiscriminator(**ATTENTION, widths=(8, 16, 16), wide=wide, rngs=nnx.Rngs(0)))
    images = np.random.default_rng(1).uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)
    labels = np.array([2, 0, 1])
    expected = discriminate(d, tensor(images.transpose(0, 3, 1, 2)), tensor(labels)).numpy()
    logits = apply(d, jnp.asarray(images), jnp.asarray(labels))
    np.testing.assert_allclose(logits, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))
    assert np.ptp(expected) > 1e-2
