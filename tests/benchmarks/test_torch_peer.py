"""The PyTorch peer: published parameter counts, plain restatements of its parts, and one step against a naive loop."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import torch_dcgan, torch_sagan  # noqa: E402
from benchmarks.torch_peer import TorchPeer  # noqa: E402

F = torch.nn.functional
SAGAN = {
    "kind": "sagan", "resolution": 16, "channels": 8, "num_classes": 3, "attention_resolutions": (8,), "latent_dim": 5,
    "batch_size": 4,
}  # fmt: skip
DCGAN = {"kind": "dcgan", "resolution": 16, "channels": 4, "latent_dim": 5, "batch_size": 4}
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)  # two batches of four
LABELS = RNG.integers(0, 3, (2, 4))


@pytest.fixture(autouse=True)
def _one_thread_and_a_fixed_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    "attention, wide, g_count, d_count",
    [(32, True, 42_078_852, 39_463_618), (64, True, 42_017_412, 39_448_258), (32, False, 42_078_852, 30_062_338)],
    ids=["self-attention-gan", "BigGAN-PyTorch", "nnabla-examples"],
)
def test_sagan_has_the_parameter_counts_of_the_references(attention, wide, g_count, d_count):
    with torch.device("meta"):
        assert count(torch_sagan.SAGANGenerator(attention_resolutions=(attention,))) == g_count
        assert count(torch_sagan.SAGANDiscriminator(attention_resolutions=(attention,), wide=wide)) == d_count


def test_dcgan_has_the_parameter_counts_of_its_references():
    with torch.device("meta"):
        blog = torch_dcgan.DCGANGenerator(image_channels=1, widths=(1024, 512, 256, 128))
        assert count(blog) == 12_654_337
        assert count(torch_dcgan.DCGANDiscriminator(image_channels=1)) == 2_763_585
        # pytorch/examples prints 3,576,704 and 2,765,568; it has no biases, here the outer layers have 3, 64 and 1.
        assert count(torch_dcgan.DCGANGenerator()) == 3_576_704 + 3
        assert count(torch_dcgan.DCGANDiscriminator()) == 2_765_568 + 64 + 1


def test_the_channel_rule():
    assert torch_sagan.generator_widths(128, 64) == (1024, 1024, 512, 256, 128, 64)
    assert torch_sagan.discriminator_widths(128, 64) == (64, 128, 256, 512, 1024, 1024)
    assert torch_sagan.generator_widths(32, 64) == (512, 256, 128, 64)
    assert torch_sagan.discriminator_widths(32, 64) == (64, 128, 256, 512)


@pytest.mark.parametrize("layer", ["conv", "conv channels_last", "linear", "embedding"])
def test_spectral_norm_is_one_power_iteration_and_converges_to_the_largest_singular_value(layer):
    module = {
        "conv": lambda: torch_sagan.SNConv(3, 6, 3),
        "conv channels_last": lambda: torch_sagan.SNConv(3, 6, 3).to(memory_format=torch.channels_last),
        "linear": lambda: torch_sagan.SNLinear(7, 5),
        "embedding": lambda: torch_sagan.Projection(7, 5),
    }[layer]()
    weight = module.table if layer == "embedding" else module.weight
    matrix, u = weight.detach().reshape(weight.shape[0], -1), module.u.clone()
    v = matrix.T @ u / torch.linalg.norm(matrix.T @ u)
    once = matrix @ v / torch.linalg.norm(matrix @ v)
    normalized = module.normalized(weight).reshape(matrix.shape)
    torch.testing.assert_close(module.u, once)
    torch.testing.assert_close(normalized, matrix / (once @ matrix @ v))
    for _ in range(300):
        normalized = module.normalized(weight).reshape(matrix.shape)
    torch.testing.assert_close(torch.linalg.matrix_norm(normalized, 2), torch.tensor(1.0), rtol=1e-4, atol=0)

    frozen = module.eval().u.clone()
    module.normalized(weight)
    assert torch.equal(module.u, frozen)


def test_spectral_norm_has_the_gradient_of_torchs_own():
    own = torch_sagan.SNConv(3, 6, 3)
    u, _, v = torch.linalg.svd(own.weight.detach().reshape(6, 27), full_matrices=False)
    own.u.copy_(u[:, 0])  # at the fixed point, as torch iterates in another order
    theirs = torch.nn.Conv2d(3, 6, 3, padding=1)
    theirs.load_state_dict({"weight": own.weight.detach(), "bias": own.bias.detach()})
    theirs = torch.nn.utils.parametrizations.spectral_norm(theirs)
    theirs.parametrizations.weight[0]._u.copy_(u[:, 0])
    theirs.parametrizations.weight[0]._v.copy_(v[0])
    x = torch.randn(2, 3, 5, 5)
    own(x).square().sum().backward()
    theirs(x).square().sum().backward()
    torch.testing.assert_close(own.weight.grad, theirs.parametrizations.weight.original.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_attention_equals_its_formula(fused):
    layer = torch_sagan.PooledAttention(16, fused=fused).eval()
    layer.gate.data.fill_(0.7)
    x = torch.randn(2, 16, 4, 4)

    def project(conv, x):  # (B, H, W, C)
        return np.einsum("bchw,oc->bhwo", x.numpy(), conv.normalized(conv.weight).detach().numpy()[:, :, 0, 0])

    def pool(t):
        return t.reshape(2, 2, 2, 2, 2, -1).max(axis=(2, 4)).reshape(2, 4, -1)

    queries = project(layer.theta, x).reshape(2, 16, 2)
    scores = queries @ pool(project(layer.phi, x)).transpose(0, 2, 1)
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    mixed = (weights @ pool(project(layer.g, x))).reshape(2, 4, 4, 8)
    out = np.einsum("bhwc,oc->bohw", mixed, layer.out.normalized(layer.out.weight).detach().numpy()[:, :, 0, 0])
    np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy() + 0.7 * out, rtol=1e-4, atol=1e-5)


def test_conditional_batch_norm_uses_the_row_of_each_label():
    norm = torch_sagan.ConditionalBatchNorm(3, num_classes=4)
    torch.nn.init.normal_(norm.gain), torch.nn.init.normal_(norm.bias)
    x, labels = torch.randn(5, 3, 2, 2), torch.tensor([3, 0, 3, 1, 2])
    plain = F.batch_norm(x, None, None, training=True)
    expected = plain * norm.gain[labels][:, :, None, None] + norm.bias[labels][:, :, None, None]
    torch.testing.assert_close(norm(x, labels), expected)


def test_projection_equals_its_formula():
    head = torch_sagan.Projection(6, num_classes=4).eval()
    torch.nn.init.normal_(head.linear.bias)
    h, labels = torch.randn(5, 6), torch.tensor([3, 0, 3, 1, 2])
    embedded = head.normalized(head.table)[labels]
    torch.testing.assert_close(head(h, labels), head.linear(h)[:, 0] + (embedded * h).sum(dim=1))


@pytest.mark.parametrize("setting", ["commute_shortcuts", "fused_attention", "channels_last"])
def test_settings_for_speed_do_not_change_what_is_computed(setting):
    losses = [TorchPeer(**SAGAN, **{setting: value}).step(IMAGES[0], LABELS[0]) for value in (True, False)]
    for name in ("d_loss", "g_loss"):  # of the second forward of D's weights: the first update is in it
        torch.testing.assert_close(losses[0][name], losses[1][name], rtol=1e-4, atol=1e-5)


def test_commuted_shortcuts_compute_the_same_images_and_logits():
    kwargs = {"resolution": 16, "channels": 8, "num_classes": 3, "attention_resolutions": ()}
    for network, x in ((torch_sagan.SAGANGenerator, (4, 128)), (torch_sagan.SAGANDiscriminator, (4, 3, 16, 16))):
        plain, commuted = (network(**kwargs, commute_shortcuts=commute) for commute in (False, True))
        commuted.load_state_dict(plain.state_dict())
        x, labels = torch.randn(x), torch.tensor([0, 2, 1, 2])
        torch.testing.assert_close(plain(x, labels), commuted(x, labels), rtol=1e-4, atol=1e-5)


def naive_step(peer, images, labels):
    """One step as in a textbook, on copies of the peer's networks: no no_grad, no frozen D, unfused Adam."""
    g, d = copy.deepcopy(peer.g), copy.deepcopy(peer.d).requires_grad_(True)
    sagan = peer.config.kind == "sagan"
    lrs, b1 = ((1e-4, 4e-4), 0.0) if sagan else ((2e-4, 2e-4), 0.5)
    g_optim, d_optim = (torch.optim.Adam(n.parameters(), lr, (b1, 0.999)) for n, lr in zip((g, d), lrs, strict=True))

    generator = torch.Generator().manual_seed(0)

    def draw():
        z = torch.randn(4, 5, generator=generator)
        return z, torch.randint(3, (4,), generator=generator) if sagan else None

    for batch, y in zip(images, labels, strict=True):
        real = torch.tensor(batch).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        z, fake_y = draw()
        fake = g(z, fake_y).detach()
        d_optim.zero_grad()
        if sagan:
            logits = d(torch.cat([real, fake]), torch.cat([torch.tensor(y), fake_y]))
            d_loss = torch.relu(1 - logits[:4]).mean() + torch.relu(1 + logits[4:]).mean()
        else:
            d_loss = F.softplus(-d(real)).mean() + F.softplus(d(fake)).mean()
        d_loss.backward()
        d_optim.step()
    d_grads = [p.grad.clone() for p in d.parameters()]
    g_optim.zero_grad()
    z, fake_y = draw()
    logits = d(g(z, fake_y), fake_y)
    g_loss = -logits.mean() if sagan else F.softplus(-logits).mean()
    g_loss.backward()
    g_optim.step()
    g_grads = [p.grad.clone() for p in g.parameters()]
    return [(peer.g, g, g_grads), (peer.d, d, d_grads)], {"d_loss": d_loss.detach(), "g_loss": g_loss.detach()}


@pytest.mark.parametrize("settings", [SAGAN, DCGAN], ids=["sagan", "dcgan"])
@pytest.mark.parametrize("num_d_steps", [1, 2])
def test_a_step_equals_a_naive_loop(settings, num_d_steps):
    peer = TorchPeer(**settings, num_d_steps=num_d_steps, ema_decay=0.75)
    before = [p.clone() for p in peer.ema.parameters()]
    for p in (*peer.g.parameters(), *peer.d.parameters()):
        p.data.add_(0.1 * torch.randn(p.shape))  # opens the gates and makes the classes differ
    networks, expected = naive_step(peer, IMAGES[:num_d_steps], LABELS[:num_d_steps])
    losses = peer.step(IMAGES[:num_d_steps], LABELS[:num_d_steps])
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    for ours, theirs, grads in networks:
        for (name, p), q, grad in zip(ours.named_parameters(), theirs.parameters(), grads, strict=True):
            torch.testing.assert_close(p.grad, grad, rtol=1e-3, atol=1e-4)  # of D: nothing from G's phase in it
            # Adam's first steps are as large as lr wherever the gradient is not zero: compare to a fraction of lr, but
            # not where the gradient is rounding error (a bias in front of batch norm, an attention behind a shut gate).
            assert (torch.isclose(p, q, rtol=0, atol=2e-5) | (grad.abs() < 1e-6)).all(), name
        for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)
    for p, q, average in zip(before, peer.g.parameters(), peer.ema.parameters(), strict=True):
        torch.testing.assert_close(average, 0.75 * p + 0.25 * q.detach())
    for p, q in zip(peer.ema.buffers(), peer.g.buffers(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("settings", [SAGAN, DCGAN], ids=["sagan", "dcgan"])
def test_ds_loss_has_no_graph_through_g(settings):
    peer = TorchPeer(**settings)
    real, labels = peer._stage(IMAGES[0], LABELS[0])
    loss = peer._discriminator_loss(real[0], labels[0], *peer._draw())
    grads = torch.autograd.grad(loss, list(peer.g.parameters()), allow_unused=True)
    assert all(grad is None for grad in grads)


@pytest.mark.parametrize("settings", [SAGAN, DCGAN], ids=["sagan", "dcgan"])
def test_channel_orders_and_tensors_are_equivalent(settings):
    results = []
    for images in (IMAGES[0], IMAGES[0].transpose(0, 3, 1, 2), torch.tensor(IMAGES[0]), IMAGES[:1]):
        results.append(TorchPeer(**settings).step(images, LABELS[:1] if images.ndim == 5 else LABELS[0]))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [SAGAN, DCGAN], ids=["sagan", "dcgan"])
def test_bfloat16_keeps_parameters_statistics_and_losses_in_float32(settings):
    full, half = (TorchPeer(**settings, dtype=dtype) for dtype in ("float32", "bfloat16"))
    expected, losses = full.step(IMAGES[0], LABELS[0]), half.step(IMAGES[0], LABELS[0])
    for name in ("d_loss", "g_loss"):
        assert losses[name].dtype == torch.float32
        torch.testing.assert_close(losses[name], expected[name], rtol=0.02, atol=0.02)
        assert losses[name] != expected[name]  # it did run in another precision
    for network in (half.g, half.d):
        assert {t.dtype for t in (*network.parameters(), *network.buffers())} == {torch.float32}


def test_unconditional_sagan_needs_no_labels():
    peer = TorchPeer(**(SAGAN | {"num_classes": 0, "wide": False}))
    assert all(torch.isfinite(loss) for loss in peer.step(IMAGES[0]).values())
    assert peer.num_params() == {"g": count(peer.g), "d": count(peer.d)}
    peer.synchronize()


def test_explicit_widths_are_built():
    peer = TorchPeer(**SAGAN, g_widths=(24, 16, 8), d_widths=(8, 16, 16))
    assert peer.g.linear.weight.shape == (24 * 16, 5) and peer.g.out.weight.shape == (3, 8, 3, 3)
    assert peer.d.head.table.shape == (3, 16) and peer.d.blocks[2].shortcut is None
    assert torch_dcgan.DCGANGenerator(16, widths=(6, 4)).layers[0].weight.shape == (100, 6, 4, 4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "vae"}, "kind"),
        ({"dtype": "float16"}, "dtype"),
        ({"compile_mode": "reduce-overhead"}, "compile_mode"),
        ({"resolution": 24}, "power of two"),
        ({"g_widths": (8, 8)}, "g_widths .* 3 entries"),
        ({"d_widths": (8,)}, "d_widths .* at least 2 entries"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TorchPeer(**(SAGAN | change))


def test_data_that_does_not_fit_is_refused():
    peer = TorchPeer(**SAGAN)
    with pytest.raises(ValueError, match="images .*must be"):
        peer.step(IMAGES, LABELS)
    with pytest.raises(ValueError, match="must be uint8"):
        peer.step(IMAGES[0].astype(np.float32), LABELS[0])
    with pytest.raises(ValueError, match="labels"):
        peer.step(IMAGES[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_compiled_peer_trains_like_an_eager_one_and_compiles_once():
    eager, compiled = (TorchPeer(**SAGAN, compile=compile) for compile in (False, True))
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(3):  # spectral vectors and statistics of one step show in the losses of the next
            expected, losses = eager.step(IMAGES[0], LABELS[0]), compiled.step(IMAGES[0], LABELS[0])
            torch.testing.assert_close(losses, expected, rtol=10.0**-5 * 20**step, atol=1e-5 * 20**step)
