"""CycleGAN's peer: the networks and losses of jaxgan on the same weights, its pool, and that it trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

torch = pytest.importorskip("torch")

from benchmarks import torch_cyclegan  # noqa: E402
from benchmarks.torch_cyclegan_peer import CycleGANPeer  # noqa: E402
from jaxgan.methods.cyclegan import CycleGAN  # noqa: E402
from jaxgan.models.cyclegan import PatchDiscriminator, ResnetGenerator  # noqa: E402

RNG = np.random.default_rng(0)
PIXELS = {name: RNG.integers(0, 256, (1, 2, 16, 16, 3), np.uint8) for name in ("a", "b")}
TINY = {"resolution": 16, "batch_size": 2, "g_channels": 4, "d_channels": 4, "num_res_blocks": 1, "num_layers": 1}


def generator(seed):
    return ResnetGenerator(channels=4, num_res_blocks=1, rngs=nnx.Rngs(seed))


def discriminator(seed):
    return PatchDiscriminator(channels=4, num_layers=1, rngs=nnx.Rngs(seed))


def weights(net):
    """Yields (kernel, bias or None) of jaxgan's layers in the order of the forward pass."""
    if isinstance(net, PatchDiscriminator):
        layers = [*net.convs.values(), net.output]
    else:
        blocks = [layer for block in net.blocks.values() for layer in (block.first, block.second)]
        layers = [net.first, *(net.down[str(i)] for i in (0, 1)), *blocks, *(net.up[str(i)] for i in (1, 0)), net.last]
    for layer in layers:
        yield np.asarray(layer.kernel[...]), None if layer.bias is None else np.asarray(layer.bias[...])


def copy_weights(ours, theirs):
    kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    modules = [module for module in theirs.modules() if isinstance(module, kinds)]
    with torch.no_grad():
        for (kernel, bias), module in zip(weights(ours), modules, strict=True):
            transposed = isinstance(module, torch.nn.ConvTranspose2d)
            kernel = kernel[::-1, ::-1].transpose(2, 3, 0, 1) if transposed else kernel.transpose(3, 2, 0, 1)
            module.weight.copy_(torch.tensor(kernel.copy()))
            assert (module.bias is None) == (bias is None)
            if bias is not None:
                module.bias.copy_(torch.tensor(bias))


def scaled(pixels):
    return pixels.astype(np.float32) * (2.0 / 255.0) - 1.0


@pytest.mark.parametrize("make, peer", [
    (generator, lambda: torch_cyclegan.ResnetGenerator(channels=4, num_res_blocks=1)),
    (discriminator, lambda: torch_cyclegan.PatchDiscriminator(channels=4, num_layers=1)),
])  # fmt: skip
def test_networks(make, peer):
    ours, theirs, images = make(0), peer(), scaled(PIXELS["a"][0])
    copy_weights(ours, theirs)
    found = np.asarray(nnx.jit(lambda net, x: net(x, train=True))(ours, jnp.asarray(images)))
    expected = theirs(torch.tensor(images.transpose(0, 3, 1, 2))).detach().numpy()
    expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_losses():
    nets = {"g_ab": generator(0), "g_ba": generator(1), "d_a": discriminator(2), "d_b": discriminator(3)}
    peer = CycleGANPeer(**TINY)
    for name, net in nets.items():
        copy_weights(net, peer.nets[name])
    method = CycleGAN(generator=generator, discriminator=discriminator, image_shape=(16, 16, 3), pool_size=0)
    real = {name: jnp.asarray(scaled(pixels[0])) for name, pixels in PIXELS.items()}
    call = {name: lambda x, net=net: net(x, train=True) for name, net in nets.items()}

    @jax.jit
    def losses():
        g_loss, out = method.loss("g", call, real, jax.random.key(0), None, {})
        d_loss, _ = method.loss("d", call, real, jax.random.key(0), out.carry, {})
        return g_loss, d_loss

    a, b = (peer._stage(PIXELS[name]) for name in ("a", "b"))
    g_loss, fakes = peer._g_loss(a, b)
    d_loss = peer._d_loss(a, b, fakes["a"].detach(), fakes["b"].detach())
    np.testing.assert_allclose(losses(), (g_loss.item(), d_loss.item()), rtol=1e-4)


def test_the_pool_stores_until_full_and_then_exchanges_half():
    peer = CycleGANPeer(**TINY | {"pool_size": 4, "batch_size": 1})
    image = lambda value: torch.full((1, 3, 16, 16), float(value))  # noqa: E731
    for i in range(4):
        assert peer._exchange("a", image(i))[0, 0, 0, 0] == i
        peer.filled += 1
    seen = [int(peer._exchange("a", image(i))[0, 0, 0, 0]) for i in range(4, 204)]
    fresh = sum(value == i for i, value in enumerate(seen, 4))
    assert 70 < fresh < 130  # of 200
    assert all(value < i for i, value in enumerate(seen, 4) if value != i)
    assert not peer.pools["b"].any()


def test_both_sides_of_the_game_move():
    peer = CycleGANPeer(**TINY, dtype="bfloat16")
    before = {name: [p.clone() for p in net.parameters()] for name, net in peer.nets.items()}
    peer.step(PIXELS["a"], PIXELS["b"])
    losses = peer.step(PIXELS["a"], PIXELS["b"])
    assert all(torch.isfinite(loss) and loss.dtype == torch.float32 for loss in losses.values())
    for name, net in peer.nets.items():
        assert all(not torch.equal(old, new) for old, new in zip(before[name], net.parameters(), strict=True)), name
    assert peer.filled == 4


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="must be uint8 of shape"):
        CycleGANPeer(**TINY).step(PIXELS["a"][:, :1], PIXELS["b"])
