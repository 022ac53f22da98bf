"""The peer computes what jaxgan computes: same weights, same outputs, spectral vectors and running statistics."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

torch = pytest.importorskip("torch")

from benchmarks import torch_dcgan, torch_sagan  # noqa: E402
from jaxgan.models.dcgan import DCGANDiscriminator, DCGANGenerator  # noqa: E402
from jaxgan.models.resnet import ResNetDiscriminator, ResNetGenerator  # noqa: E402

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(4, 5)).astype(np.float32)
IMAGES = RNG.uniform(-1, 1, (4, 16, 16, 3)).astype(np.float32)
LABELS = np.array([2, 0, 1, 2])
SAGAN = {"channels": 8, "num_classes": 3, "attention_resolutions": (8,)}

# PyTorch's name -> jaxgan's, applied in this order.
RENAMES = [
    (r"\.running_", "."),
    (r"attention\.(\d+)\.theta", r"attention.layers.\1.query"),
    (r"attention\.(\d+)\.phi", r"attention.layers.\1.key"),
    (r"attention\.(\d+)\.g\.", r"attention.layers.\1.value."),
    (r"attention\.(\d+)\.out", r"attention.layers.\1.output"),
    (r"attention\.(\d+)\.gate", r"attention.layers.\1.gate"),
    (r"^out\.", "conv."),
    (r"^head\.(table|u)$", r"head.embed.\1"),
    (r"^norm\.weight", "norm.scale"),
    (r"weight$", "kernel"),
]


def sagan_name(name, is_generator):
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    if is_generator:  # jaxgan counts the first map as 0
        return re.sub(r"(blocks|layers)\.(\d+)", lambda m: f"{m[1]}.{int(m[2]) + 1}", name)
    return name.replace("blocks.0.", "first_block.")


def dcgan_names(net):
    """Yields (PyTorch's name, jaxgan's name): the layers in their order, convolutions and norms counted apart."""
    convs = [i for i, layer in enumerate(net.layers) if hasattr(layer, "kernel_size")]
    for name in net.state_dict():
        _, index, leaf = name.split(".")
        number = sum(i < int(index) for i in convs)
        if int(index) in convs:
            owner = "output" if int(index) == convs[-1] else f"convs.{number}"
            yield name, f"{owner}.{leaf.replace('weight', 'kernel')}"
        else:
            yield name, f"norms.{number - 1}.{leaf.replace('weight', 'scale').replace('running_', '')}"


def to_torch(value, name):
    """Converts an array of jaxgan to PyTorch's layout; gains of class-conditional batch norm are stored minus 1."""
    if name == "linear.kernel" and value.shape[0] == Z.shape[1]:  # G's first map is (H, W, C) there, (C, H, W) here
        value = value.reshape(value.shape[0], 4, 4, -1).transpose(0, 3, 1, 2).reshape(value.shape)
    if name in ("linear.u", "linear.bias") and value.size > 1:
        value = value.reshape(4, 4, -1).transpose(2, 0, 1).reshape(-1)
    if value.ndim == 4:
        # jaxgan stores the taps of a transposed convolution flipped: as those of the convolution it is.
        return value[::-1, ::-1].transpose(2, 3, 0, 1) if "transposed" in name else value.transpose(3, 2, 0, 1)
    if name.endswith("kernel"):
        return value.T
    return value + 1.0 if name.endswith("gain") else value


def randomized(net):
    """Fills biases, gains and gates too, so that no term is multiplied by its initial 0."""
    state = nnx.state(net, nnx.Param)
    noise = lambda p: p + jnp.asarray(RNG.normal(0, 0.1, p.shape), p.dtype)  # noqa: E731
    nnx.update(net, jax.tree.map(noise, state))
    return net


def compare(ours, theirs, names, inputs, transposed=False):
    """Copies the weights of `ours` (jaxgan), runs both in training mode, compares outputs and every buffer."""

    def flat():
        return {".".join(map(str, path)): np.asarray(v[...]) for path, v in nnx.to_flat_state(nnx.state(ours))}

    def convert():
        values = flat()
        assert set(values) == set(names.values())
        tag = "transposed " if transposed else ""
        return {name: torch.tensor(to_torch(values[n], tag + n).copy()) for name, n in names.items()}

    before = convert()
    for name, tensor in theirs.state_dict().items():
        tensor.copy_(before[name])
    x, *labels = inputs
    out = nnx.jit(lambda net, *args: net(*args, train=True))(ours, *map(jnp.asarray, inputs))
    torch_x = torch.tensor(x if x.ndim == 2 else x.transpose(0, 3, 1, 2))
    expected = theirs(torch_x, *map(torch.tensor, labels)).detach().numpy()
    expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=2e-5 * np.abs(expected).max())
    after = convert()
    for name, buffer in theirs.named_buffers():
        np.testing.assert_allclose(after[name], buffer, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_sagan(network):
    is_generator = network == "generator"
    if is_generator:
        ours = ResNetGenerator(resolution=(16, 16), latent_dim=5, **SAGAN, rngs=nnx.Rngs(0))
        theirs = torch_sagan.SAGANGenerator(16, latent_dim=5, **SAGAN)
    else:
        ours = ResNetDiscriminator(resolution=(16, 16), **SAGAN, rngs=nnx.Rngs(0))
        theirs = torch_sagan.SAGANDiscriminator(16, **SAGAN)
    names = {name: sagan_name(name, is_generator) for name in theirs.state_dict()}
    compare(randomized(ours), theirs, names, (Z if is_generator else IMAGES, LABELS))


def test_dcgan():
    theirs = torch_dcgan.DCGANGenerator(16, widths=(16, 8), latent_dim=5)
    ours = DCGANGenerator(resolution=(16, 16), widths=(16, 8), latent_dim=5, rngs=nnx.Rngs(0))
    compare(randomized(ours), theirs, dict(dcgan_names(theirs)), (Z,), transposed=True)
    theirs = torch_dcgan.DCGANDiscriminator(16, widths=(4, 8))
    ours = DCGANDiscriminator(resolution=(16, 16), widths=(4, 8), rngs=nnx.Rngs(0))
    names = {name: re.sub(r"norms\.0", "norms.1", n) for name, n in dcgan_names(theirs)}
    compare(randomized(ours), theirs, names, (IMAGES,))
