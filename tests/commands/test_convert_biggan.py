"""BigGAN-PyTorch's SAGAN, written down again with torch's functions after its `BigGAN.py` and `layers.py`."""

import argparse
import functools
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxgan.commands import convert, convert_biggan
from jaxgan.commands.errors import CommandError
from jaxgan.core import network as network_lib
from jaxgan.generation.run import open_run
from jaxgan.methods import registry

torch = pytest.importorskip("torch")
F = torch.nn.functional

CLASSES, LATENT = 3, 5


# State dictionaries, by the names and shapes that its modules have.


class State(dict):
    """A state dictionary of random float32 tensors under construction."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def draw(self, name, *shape, scale=0.3, mean=0.0):
        self[name] = torch.tensor((mean + scale * self.rng.standard_normal(shape)).astype(np.float32))

    def layer(self, name, *shape, bias=True):
        self.draw(f"{name}.weight", *shape)
        self.draw(f"{name}.u0", 1, shape[0], scale=1.0)
        self.draw(f"{name}.sv0", 1)
        if bias:
            self.draw(f"{name}.bias", shape[0], scale=0.1)

    def statistics(self, name, channels):
        self.draw(f"{name}.stored_mean", channels, scale=0.2)
        self[f"{name}.stored_var"] = torch.tensor(self.rng.uniform(0.5, 1.5, channels).astype(np.float32))

    def attention(self, name, channels):
        self[f"{name}.gamma"] = torch.tensor(0.7)
        for conv, cout, cin in (("theta", 8, 1), ("phi", 8, 1), ("g", 2, 1), ("o", 1, 2)):
            self.layer(f"{name}.{conv}", channels // cout, channels // cin, 1, 1, bias=False)


def make_generator(widths, attention, side=4):
    """widths: of the first map and the blocks; attention: indices of the blocks followed by it."""
    state = State(0)
    state.layer("linear", widths[0] * side**2, LATENT)
    for i, (cin, cout) in enumerate(zip(widths, widths[1:], strict=False)):
        block = f"blocks.{i}.0"
        state.layer(f"{block}.conv1", cout, cin, 3, 3)
        state.layer(f"{block}.conv2", cout, cout, 3, 3)
        state.layer(f"{block}.conv_sc", cout, cin, 1, 1)
        for name, channels in (("bn1", cin), ("bn2", cout)):
            state.statistics(f"{block}.{name}", channels)
            state.draw(f"{block}.{name}.gain.weight", CLASSES, channels)
            state.draw(f"{block}.{name}.bias.weight", CLASSES, channels)
        if i in attention:
            state.attention(f"blocks.{i}.1", cout)
    state.draw("output_layer.0.gain", widths[-1], mean=1.0)
    state.draw("output_layer.0.bias", widths[-1])
    state.statistics("output_layer.0", widths[-1])
    state.layer("output_layer.2", 3, widths[-1], 3, 3)
    return dict(state)


def make_discriminator(widths, num_down, attention, *, wide=True, classes=CLASSES):
    state = State(1)
    for i, cout in enumerate(widths):
        cin, block = (widths[i - 1] if i else 3), f"blocks.{i}.0"
        hidden = cout if wide else cin
        state.layer(f"{block}.conv1", hidden, cin, 3, 3)
        state.layer(f"{block}.conv2", cout, hidden, 3, 3)
        if i < num_down or cin != cout:
            state.layer(f"{block}.conv_sc", cout, cin, 1, 1)
        if i in attention:
            state.attention(f"blocks.{i}.1", cout)
    state.layer("linear", 1, widths[-1])
    state.layer("embed", classes, widths[-1], bias=False)
    return dict(state)


# Its networks in evaluation mode.


def divided(state, name):
    """weight / sigma; nothing to divide by for --G_param other than SN."""
    weight, u = state[f"{name}.weight"], state.get(f"{name}.u0")
    if u is None:
        return weight
    matrix = weight.reshape(len(weight), -1)
    v = F.normalize(u @ matrix, eps=1e-8)
    u = F.normalize(v @ matrix.T, eps=1e-8)
    return weight / torch.squeeze(v @ matrix.T @ u.T)


def conv(state, name, x):
    weight = divided(state, name)
    return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=weight.shape[-1] // 2)


def norm(state, name, x):
    return F.batch_norm(x, state[f"{name}.stored_mean"], state[f"{name}.stored_var"], eps=1e-5)


def ccbn(state, name, x, y):
    gain, bias = (state[f"{name}.{each}.weight"][y][:, :, None, None] for each in ("gain", "bias"))
    return norm(state, name, x) * (1 + gain) + bias


def attention(state, name, x):
    if f"{name}.gamma" not in state:
        return x
    theta = conv(state, f"{name}.theta", x).flatten(2)
    phi, g = (F.max_pool2d(conv(state, f"{name}.{each}", x), 2).flatten(2) for each in ("phi", "g"))
    beta = F.softmax(theta.transpose(1, 2) @ phi, -1)
    o = (g @ beta.transpose(1, 2)).reshape(len(x), -1, *x.shape[2:])
    return state[f"{name}.gamma"] * conv(state, f"{name}.o", o) + x


def generate(state, z, y, *, num_blocks, side=4):
    h = F.linear(z, divided(state, "linear"), state["linear.bias"]).reshape(len(z), -1, side, side)
    for i in range(num_blocks):
        block = f"blocks.{i}.0"
        x = F.interpolate(h, scale_factor=2)
        h = F.interpolate(F.relu(ccbn(state, f"{block}.bn1", h, y)), scale_factor=2)
        h = F.relu(ccbn(state, f"{block}.bn2", conv(state, f"{block}.conv1", h), y))
        h = attention(state, f"blocks.{i}.1", conv(state, f"{block}.conv2", h) + conv(state, f"{block}.conv_sc", x))
    gain, bias = (state[f"output_layer.0.{name}"][:, None, None] for name in ("gain", "bias"))
    return torch.tanh(conv(state, "output_layer.2", F.relu(norm(state, "output_layer.0", h) * gain + bias)))


def discriminate(state, x, y, *, num_blocks, num_down):
    for i in range(num_blocks):
        block, pool = f"blocks.{i}.0", (lambda x: F.avg_pool2d(x, 2)) if i < num_down else (lambda x: x)
        h = conv(state, f"{block}.conv1", F.relu(x) if i else x)
        h = pool(conv(state, f"{block}.conv2", F.relu(h)))
        if f"{block}.conv_sc.weight" in state:
            x = pool(conv(state, f"{block}.conv_sc", x)) if i else conv(state, f"{block}.conv_sc", pool(x))
        x = attention(state, f"blocks.{i}.1", h + x)
    h = F.relu(x).sum(dim=(2, 3))
    out = F.linear(h, divided(state, "linear"), state["linear.bias"])[:, 0]
    return out + (divided(state, "embed")[y] * h).sum(1)


# Files and commands.


def arguments(file, workdir, *flags):
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    return parser.parse_args(["biggan_pytorch", str(file), "--workdir", str(workdir), *map(str, flags)])


def save(path, state):
    if path.suffix == ".safetensors":
        save_file({name: tensor.numpy().copy() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)
    return path


@functools.partial(jax.jit, static_argnums=0)
def evaluate(network, params, stats, x, y):
    return network(params, stats, x, y, train=False)[0]


def call(converted, name):
    """The converted network in evaluation mode, as a function of its two inputs."""
    build = dict(zip("gd", registry.build_networks(converted.config, converted.num_classes), strict=True))[name]
    network, variables = network_lib.create(build, jax.random.key(0))[0], converted.networks[name]
    return functools.partial(evaluate, network, variables["params"], variables["stats"])


def relative_error(found, expected):
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


def check_generator(state, render, *, num_blocks):
    z = np.random.default_rng(7).standard_normal((3, LATENT)).astype(np.float32)
    y = np.array([2, 0, 1], np.int32)
    expected = generate(state, torch.tensor(z), torch.tensor(y), num_blocks=num_blocks).numpy().transpose(0, 2, 3, 1)
    assert np.std(expected) > 0.05 and relative_error(render(z, y), expected) <= 1e-4


def check_discriminator(state, score, side, *, num_blocks, num_down):
    x = np.random.default_rng(8).uniform(-1, 1, (3, 3, side, side)).astype(np.float32)
    y = np.array([2, 0, 1], np.int32)
    expected = discriminate(state, torch.tensor(x), torch.tensor(y), num_blocks=num_blocks, num_down=num_down).numpy()
    assert np.ptp(expected) > 1e-2 and relative_error(score(x.transpose(0, 2, 3, 1), y), expected) <= 1e-4


G = make_generator((24, 16, 8), attention=(0, 1))  # 16 x 16 pixels, attention at 8 and 16
D = make_discriminator((8, 16, 16), num_down=2, attention=(0,))  # attention at 8


def test_the_layout_of_64_pixels_and_more(tmp_path):
    """One block without halving at the end of D; a file of either kind."""
    files = save(tmp_path / "G_ema.pth", G), "--discriminator", save(tmp_path / "D.safetensors", D)
    converted = convert._biggan(arguments(files[0], tmp_path, *files[1:], "--step", "9"))
    check_generator(G, call(converted, "g"), num_blocks=2)
    check_discriminator(D, call(converted, "d"), 16, num_blocks=3, num_down=2)
    model = converted.config.model
    assert (model.attention_resolutions, model.g_attention_resolutions, model.d_attention_resolutions) == (
        (8,),
        (16,),
        (),
    )
    assert (model.attention_kind, model.d_wide, model.d_num_down, converted.step) == ("pooled", True, 0, 9)
    networks = converted.origin["networks"]
    assert (networks["g"]["name"], networks["d"]["name"]) == ("G_ema.pth", "D.safetensors")


def test_the_layout_of_32_pixels(tmp_path):
    """All maps of one width, D with two halvings in four blocks; G without spectral norm."""
    g_state = make_generator((16,) * 4, attention=(1,))
    g_state = {name: tensor for name, tensor in g_state.items() if not name.endswith((".u0", ".sv0"))}
    g_state |= {n: 0.3 * t for n, t in g_state.items() if n.endswith("conv1.weight") or n.endswith("conv2.weight")}
    d_state = make_discriminator((8,) * 4, num_down=2, attention=())
    files = save(tmp_path / "G.pth", g_state), "--discriminator", save(tmp_path / "D.pth", d_state)
    converted = convert._biggan(arguments(files[0], tmp_path, *files[1:]))
    model = converted.config.model
    assert (converted.config.data.resolution, model.d_num_down, model.g_spectral_norm) == (32, 2, "none")
    assert (model.g_attention_resolutions, model.d_attention_resolutions) == ((16,), ())
    check_generator(g_state, call(converted, "g"), num_blocks=3)
    check_discriminator(d_state, call(converted, "d"), 32, num_blocks=4, num_down=2)


def test_a_workdir_without_a_discriminator(tmp_path, capsys):
    """D is drawn anew; the raw and the averaged weights of G are the converted ones."""
    args = arguments(save(tmp_path / "G.pth", G), tmp_path / "run", "--step", "9")
    convert.run(args)
    assert "step 9, 16 x 16 pixels, 3 classes" in capsys.readouterr().out
    run, expected = open_run(tmp_path / "run"), convert._biggan(args).networks["g"]
    for weights in (run.nets["g"], run.ema["g"]):
        jax.tree.map(np.testing.assert_array_equal, {"params": weights.params, "stats": weights.stats}, expected)
    assert run.step == 9 and np.std(run.nets["d"].params["head"]["embed"]["table"]) > 0.05
    model = run.config.model  # the full resolution is no map of D's
    assert (model.attention_resolutions, model.g_attention_resolutions, model.d_attention_resolutions) == (
        (8,),
        (16,),
        (),
    )
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["converted"]["networks"]["d"] == "drawn anew" and facts["data"]["class_names"] == ["0", "1", "2"]


def variables(state, path, **changes):
    arrays = convert_biggan.read(save(path, state | changes))
    return convert_biggan.generator_variables(arrays, convert_biggan.generator_layout(arrays, file=path), file=path)


def test_other_names_of_the_same(tmp_path):
    """DataParallel's prefix, --mybn's statistics (running, or summed up), more singular vectors, half precision."""
    expected = variables(G, tmp_path / "plain.safetensors")
    mybn = {}
    for name, tensor in G.items():
        norm_name, _, leaf = name.rpartition(".")
        summed = norm_name == "blocks.0.0.bn2"
        if leaf in ("stored_mean", "stored_var"):
            mybn[f"module.{norm_name}.bn.{leaf}"] = 4 * tensor if summed else tensor
            mybn[f"module.{norm_name}.bn.accumulation_counter"] = torch.tensor([4.0 if summed else 0.0])
        else:
            mybn[f"module.{name}"] = tensor
    mybn |= {"module.linear.u1": torch.ones(1, 384), "module.linear.sv1": torch.ones(1)}
    jax.tree.map(np.testing.assert_array_equal, variables(mybn, tmp_path / "mybn.pth"), expected)
    half = variables({name: tensor.half() for name, tensor in G.items()}, tmp_path / "half.pth")
    assert half["params"]["linear"]["kernel"].dtype == np.float32
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), half, expected)


def refused(tmp_path, g_state, d_state=None):
    files = [save(tmp_path / "G.pth", g_state)]
    files += ["--discriminator", save(tmp_path / "D.pth", d_state)] if d_state is not None else []
    with pytest.raises(CommandError) as caught:
        convert.run(arguments(files[0], tmp_path / "run", *files[1:]))
    assert not (tmp_path / "run").exists() and "\n" not in str(caught.value)
    return str(caught.value)


def test_what_jaxgan_cannot_express_is_refused(tmp_path):
    assert "is a BigGAN (it holds shared.weight" in refused(tmp_path, G | {"shared.weight": torch.ones(3, 128)})
    synced = {n.replace(".stored_", ".bn.running_"): t for n, t in G.items()}
    assert "was trained with --cross_replica" in refused(tmp_path, synced)
    thin = make_discriminator((8, 16, 16), 2, (), wide=False)
    assert "--D_thin, whose first block has 3 hidden channels where jaxgan's has 8" in refused(tmp_path, G, thin)
    late = make_discriminator((8, 16, 16), 2, (1, 2))
    assert "attention after block 2, which does not halve its map" in refused(tmp_path, G, late)


def test_networks_of_two_runs(tmp_path):
    other = make_discriminator((8, 16, 16), 2, (), classes=4)
    assert "the generator has 3 classes and the discriminator 4" in refused(tmp_path, G, other)
    larger = make_discriminator((8, 16, 16, 16), 3, ())
    assert "(=3 halvings in 4 blocks) is not one for the generator's 16 x 16 pixels" in refused(tmp_path, G, larger)
    assert "missing: blocks.0.0.bn1.gain.weight, output_layer.2.weight" in refused(tmp_path, D)


def test_arrays_that_do_not_belong_are_listed(tmp_path):
    state = G | {"blocks.1.0.conv3.weight": torch.ones(2), "blocks.0.1.phi.weight": torch.ones(2, 16, 3, 3)}
    del state["blocks.1.1.gamma"], state["output_layer.0.stored_var"]
    message = refused(tmp_path, state)
    assert "missing: blocks.1.1.gamma, output_layer.0.stored_var; unknown: blocks.1.0.conv3.weight" in message
    assert "of another shape: blocks.0.1.phi.weight is [2, 16, 3, 3] and not [2, 16, 1, 1]" in message


def test_files_that_are_none(tmp_path):
    whole = save(tmp_path / "whole.pth", G).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CommandError, match="cut.pth is not a readable file of PyTorch"):
        convert_biggan.read(tmp_path / "cut.pth")
    (tmp_path / "cut.safetensors").write_bytes(save(tmp_path / "a.safetensors", G).read_bytes()[:500])
    with pytest.raises(CommandError, match="cut.safetensors is not a readable safetensors file"):
        convert_biggan.read(tmp_path / "cut.safetensors")
    torch.save({"state": {}, "param_groups": []}, tmp_path / "G_optim.pth")
    with pytest.raises(CommandError, match="is not a state dictionary of tensors by name; give the G.pth"):
        convert_biggan.read(tmp_path / "G_optim.pth")
