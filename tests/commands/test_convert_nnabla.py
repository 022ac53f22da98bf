"""nnabla's SAGAN, written down again in NumPy after its `models.py`: converted networks must compute the same."""

import argparse
import functools
import hashlib
import json

import h5py
import jax
import numpy as np
import pytest

from jaxgan.commands import convert, convert_nnabla, convert_spectral, convert_workdir
from jaxgan.commands.errors import CommandError
from jaxgan.core import network as network_lib
from jaxgan.generation.run import open_run
from jaxgan.methods import registry

CLASSES, LATENT = 3, 5


# The parameters, by the names and shapes that the example creates.


def scoped(parameters, scope, rng, shape, scale):
    parameters[scope] = (scale * rng.standard_normal(shape)).astype(np.float32)


def sn_layer(p, scope, rng, shape, u_size, *, bias=True):
    scoped(p, f"{scope}/W", rng, shape, 0.3)
    scoped(p, f"{scope}/singular-vector", rng, (u_size,), 1.0)
    if bias:
        scoped(p, f"{scope}/b", rng, (u_size,), 0.1)


def sn_conv(p, scope, rng, cin, cout, size, **kwargs):
    sn_layer(p, f"{scope}/sn_conv", rng, (cout, cin, size, size), cout, **kwargs)


def statistics(p, scope, rng, channels):
    scoped(p, f"{scope}/mean", rng, (1, channels, 1, 1), 0.2)
    p[f"{scope}/var"] = rng.uniform(0.5, 1.5, (1, channels, 1, 1)).astype(np.float32)


def attn(p, scope, rng, channels):
    for name, cout in (("f", channels // 8), ("g", channels // 8), ("h", channels)):
        sn_conv(p, f"{scope}/attn/{name}", rng, channels, cout, 1, bias=False)
    p[f"{scope}/attn/gamma"] = np.full((1, 1, 1, 1), 0.7, np.float32)


def make_parameters(widths, d_widths, g_attn, d_attn, side=4, seed=0):
    """widths: of the first map and the blocks of G; g_attn, d_attn: numbers of the blocks followed by attention."""
    p, rng = {}, np.random.default_rng(seed)
    outputs = widths[0] * side**2
    sn_layer(p, "generator/sn_affine", rng, (LATENT, outputs), outputs)
    for i, (cin, cout) in enumerate(zip(widths, widths[1:], strict=False), start=1):
        for conv, channels in (("conv1", cin), ("conv2", cout)):
            scope = f"generator/block-{i}/{conv}"
            statistics(p, f"{scope}/ccbn", rng, channels)
            p[f"{scope}/ccbn/gamma/embed/W"] = 1 + rng.uniform(-0.3, 0.3, (CLASSES, channels)).astype(np.float32)
            scoped(p, f"{scope}/ccbn/beta/embed/W", rng, (CLASSES, channels), 0.3)
            sn_conv(p, scope, rng, channels, cout, 3)
        sn_conv(p, f"generator/block-{i}/shortcut", rng, cin, cout, 1)
    attn(p, "generator", rng, widths[g_attn])
    statistics(p, "generator/bn", rng, widths[-1])
    scoped(p, "generator/bn/beta", rng, (1, widths[-1], 1, 1), 0.3)
    p["generator/bn/gamma"] = 1 + rng.uniform(-0.3, 0.3, (1, widths[-1], 1, 1)).astype(np.float32)
    sn_conv(p, "generator", rng, widths[-1], 3, 3)
    for i, cout in enumerate(d_widths, start=1):
        cin, scope = (d_widths[i - 2] if i > 1 else 3), f"discriminator/block-{i}"
        hidden = cin if cout == 2 * cin and i > 1 else cout
        sn_conv(p, f"{scope}/conv1", rng, cin, hidden, 3)
        sn_conv(p, f"{scope}/conv2", rng, hidden, cout, 3)
        if i < len(d_widths):
            sn_conv(p, f"{scope}/shortcut", rng, cin, cout, 1)
    attn(p, "discriminator", rng, d_widths[d_attn - 1])
    sn_layer(p, "discriminator/sn_affine", rng, (d_widths[-1], 1), 1)
    sn_layer(p, "discriminator/projection/embed", rng, (CLASSES, d_widths[-1]), d_widths[-1], bias=False)
    return p


# Its networks in test mode, NCHW.


def unit(x):
    return x / np.sqrt(np.sum(x * x) + 1e-12)


def divided(p, scope):
    """W / sigma; nothing to divide by where the example ran with --not-sn."""
    w, u = p[f"{scope}/W"], p.get(f"{scope}/singular-vector")
    if u is None:
        return w
    matrix = w.reshape(len(w), -1) if w.ndim == 4 else w.T  # (len(u), rest)
    v = unit(u @ matrix)
    u = unit(matrix @ v)
    return w / (u @ matrix @ v)


def conv(p, scope, x):
    w = divided(p, f"{scope}/sn_conv")
    pad, size = w.shape[-1] // 2, x.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    taps = [(i, j) for i in range(w.shape[2]) for j in range(w.shape[3])]
    windows = {(i, j): x[:, :, i : i + size[0], j : j + size[1]] for i, j in taps}
    y = sum(np.einsum("oi,bihw->bohw", w[:, :, i, j], windows[i, j], optimize=True) for i, j in taps)
    b = p.get(f"{scope}/sn_conv/b")
    return y if b is None else y + b[:, None, None]


def relu(x):
    return np.maximum(x, 0)


def up(x):
    return x.repeat(2, axis=2).repeat(2, axis=3)


def pool(x):
    b, c, h, w = x.shape
    return x.reshape(b, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))


def normalized(p, scope, x):
    return (x - p[f"{scope}/mean"]) / np.sqrt(p[f"{scope}/var"] + 1e-5)


def ccbn(p, scope, x, y):
    gamma, beta = (p[f"{scope}/ccbn/{name}/embed/W"][y][:, :, None, None] for name in ("gamma", "beta"))
    return gamma * normalized(p, f"{scope}/ccbn", x) + beta


def attention(p, scope, x):
    b, c, height, width = x.shape
    f, g, h = (conv(p, f"{scope}/attn/{name}", x).reshape(b, -1, height * width) for name in "fgh")
    scores = f.transpose(0, 2, 1) @ g
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return p[f"{scope}/attn/gamma"] * (h @ weights).reshape(x.shape) + x


def generate(p, z, y, *, num_blocks, attn_after, side=4):
    h = z @ divided(p, "generator/sn_affine") + p["generator/sn_affine/b"]
    h = h.reshape(len(z), -1, side, side)
    for i in range(1, num_blocks + 1):
        scope, s = f"generator/block-{i}", h
        h = conv(p, f"{scope}/conv1", up(relu(ccbn(p, f"{scope}/conv1", h, y))))
        h = conv(p, f"{scope}/conv2", relu(ccbn(p, f"{scope}/conv2", h, y)))
        h = h + conv(p, f"{scope}/shortcut", up(s))
        h = attention(p, "generator", h) if i == attn_after else h
    h = p["generator/bn/gamma"] * normalized(p, "generator/bn", h) + p["generator/bn/beta"]
    return np.tanh(conv(p, "generator", relu(h)))


def discriminate(p, x, y, *, num_blocks, attn_after):
    h = x
    for i in range(1, num_blocks + 1):
        scope, s, down = f"discriminator/block-{i}", h, i < num_blocks
        h = conv(p, f"{scope}/conv1", relu(h) if i > 1 else h)
        h = conv(p, f"{scope}/conv2", relu(h))
        if i == 1:
            h = pool(h) + conv(p, f"{scope}/shortcut", pool(s))
        else:
            h = pool(h) + pool(conv(p, f"{scope}/shortcut", s)) if down else h + s
        h = attention(p, "discriminator", h) if i == attn_after else h
    h = relu(h).sum(axis=(2, 3))
    embedded = divided(p, "discriminator/projection/embed")[y]
    return (h @ divided(p, "discriminator/sn_affine") + p["discriminator/sn_affine/b"])[:, 0] + (h * embedded).sum(1)


# Files and commands.


def write(path, parameters):
    with h5py.File(path, "w") as file:
        for index, (name, array) in enumerate(parameters.items()):
            dataset = file.create_dataset(name, data=array)
            dataset.attrs["need_grad"], dataset.attrs["index"] = not name.endswith("singular-vector"), index
    return path


def arguments(file, workdir, *flags):
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    return parser.parse_args(["nnabla", str(file), "--workdir", str(workdir), *flags])


def command(file, workdir, *flags):
    convert.run(arguments(file, workdir, *flags))


def relative_error(found, expected):
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


def check_parity(p, render, score, *, num_blocks, g_attn, d_attn):
    """Both networks (render(z, y), score(images, y), NHWC) against the NumPy ones; all in float32."""
    rng = np.random.default_rng(7)
    z, y = rng.standard_normal((3, LATENT)).astype(np.float32), np.array([2, 0, 1], np.int32)
    expected = generate(p, z, y, num_blocks=num_blocks, attn_after=g_attn)
    assert expected.dtype == np.float32 and np.std(expected) > 0.05
    assert relative_error(render(z, y), expected.transpose(0, 2, 3, 1)) <= 1e-4
    x = rng.uniform(-1, 1, expected.shape).astype(np.float32)
    expected = discriminate(p, x, y, num_blocks=num_blocks + 1, attn_after=d_attn)
    assert np.ptp(expected) > 1e-2 and relative_error(score(x.transpose(0, 2, 3, 1), y), expected) <= 1e-4


SMALL = dict(widths=(24, 24, 16), d_widths=(8, 16, 16), g_attn=1, d_attn=1)  # 16 x 16 pixels


@functools.partial(jax.jit, static_argnums=0)
def evaluate(network, params, stats, x, y):
    return network(params, stats, x, y, train=False)[0]


def call(converted, name):
    """The converted network in evaluation mode, as a function of its two inputs."""
    build = dict(zip("gd", registry.build_networks(converted.config, converted.num_classes), strict=True))[name]
    network, variables = network_lib.create(build, jax.random.key(0))[0], converted.networks[name]
    return functools.partial(evaluate, network, variables["params"], variables["stats"])


def test_the_published_layout(tmp_path):
    """maps=64: 128 x 128 pixels, attention at 32 in both networks."""
    widths, d_widths = (64, 64, 32, 16, 8, 4), (4, 8, 16, 32, 64, 64)
    p = make_parameters(widths, d_widths, g_attn=3, d_attn=2)
    converted = convert._nnabla(arguments(write(tmp_path / "a.h5", p), tmp_path))
    model = converted.config.model
    assert converted.config.data.resolution == 128 and converted.config.data.scaling == "nnabla"
    assert (model.attention_resolutions, model.g_attention_resolutions, model.d_attention_resolutions) == (
        (32,),
        (),
        (),
    )
    assert (model.attention_kind, model.d_wide, model.bn_decay, model.base_size) == ("plain", False, 0.999, 4)
    check_parity(p, call(converted, "g"), call(converted, "d"), num_blocks=5, g_attn=3, d_attn=2)


def test_the_workdir_opens(tmp_path, capsys):
    p = make_parameters(**SMALL)
    command(write(tmp_path / "params_41.h5", p), tmp_path / "run")
    assert "step 42, 16 x 16 pixels, 3 classes" in capsys.readouterr().out
    run = open_run(tmp_path / "run")
    score = functools.partial(evaluate, run.networks["d"], run.nets["d"].params, run.nets["d"].stats)
    check_parity(p, lambda z, y: run.sample(z=z, labels=y, batch_size=8), score, num_blocks=2, g_attn=1, d_attn=1)
    assert (run.step, run.num_classes, run.ema) == (42, CLASSES, {})
    state = convert_workdir._make_state(convert._nnabla(arguments(tmp_path / "params_41.h5", tmp_path)))
    assert int(state.step) == 42  # a training goes on counting from here
    origin = json.loads((tmp_path / "run" / "run.json").read_text())["converted"]
    digest = hashlib.sha256((tmp_path / "params_41.h5").read_bytes()).hexdigest()
    assert origin["networks"]["g"] == {"name": "params_41.h5", "sha256": digest}


def snapshots(p):
    """`W_sn` as the last training forward before the file left them: of the iterated vector that is stored."""
    normalised = [name.removesuffix("/singular-vector") for name in p if name.endswith("/singular-vector")]
    return {f"{scope}/W_sn": divided(p, scope) for scope in normalised}


def test_a_file_of_before_2021_converts_to_the_same(tmp_path, capsys):
    p = make_parameters(**SMALL)
    new = convert._nnabla(arguments(write(tmp_path / "new.h5", p), tmp_path))
    old = convert._nnabla(arguments(write(tmp_path / "old.h5", p | snapshots(p)), tmp_path, "--step", "7"))
    assert capsys.readouterr().err == "" and (new.step, old.step) == (0, 7) and old.config == new.config
    jax.tree.map(np.testing.assert_array_equal, old.networks, new.networks)


def test_another_size_without_spectral_norm(tmp_path):
    """What --not-sn saves, 16 x 16 pixels."""
    p = {name: array for name, array in make_parameters(**SMALL).items() if not name.endswith("singular-vector")}
    p |= {name: 0.3 * array for name, array in p.items() if name.endswith(("sn_conv/W", "sn_affine/W"))}
    converted = convert._nnabla(arguments(write(tmp_path / "plain.h5", p), tmp_path))
    model = converted.config.model
    assert converted.config.data.resolution == 16 and (model.g_spectral_norm, model.d_spectral_norm) == ("none", "none")
    check_parity(p, call(converted, "g"), call(converted, "d"), num_blocks=2, g_attn=1, d_attn=1)


def test_foreign_snapshots_are_named(tmp_path, capsys):
    p = make_parameters(**SMALL)
    foreign = "generator/block-1/conv1/sn_conv/W_sn"
    old = snapshots(p)
    assert convert_spectral.unlike_snapshots(p, old) == []
    old[foreign] = old[foreign] + 0.3 * np.abs(old[foreign]).mean()
    assert convert_spectral.unlike_snapshots(p, old) == [foreign]
    old[foreign] = np.zeros_like(old[foreign])
    convert._nnabla(arguments(write(tmp_path / "old.h5", p | old), tmp_path))
    assert f"{foreign} differ from W / sigma" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(3, 16), (16, 3), (1, 8), (6, 6)])
@pytest.mark.parametrize("converged", [0, 1, 200])
def test_class_side_vector(shape, converged):
    """One iteration from the vector on the classes' side has the sigma of one from nnabla's on the other side."""
    rng = np.random.default_rng(sum(shape))
    w, u = rng.standard_normal(shape), rng.standard_normal(shape[1])
    for _ in range(converged):
        u = w.T @ w @ u
        u /= np.linalg.norm(u)
    v = w @ u / np.linalg.norm(w @ u)
    sigma = np.linalg.norm(w.T @ v)
    s = convert_spectral.class_side_vector(w.astype(np.float32), u.astype(np.float32))
    other = w.T @ s / np.linalg.norm(w.T @ s)
    assert s.shape == (shape[0],) and s.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(w @ other), sigma, rtol=1e-5)
    if converged == 200:
        assert abs(s @ np.linalg.svd(w)[0][:, 0]) > 1 - 1e-4


def refused(file, workdir, *flags):
    with pytest.raises(CommandError) as caught:
        command(file, workdir, *flags)
    assert not workdir.exists()
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


def test_datasets_that_do_not_belong_are_listed(tmp_path):
    p = make_parameters(**SMALL)
    for name in ("generator/bn/beta", "generator/block-2/shortcut/sn_conv/singular-vector"):
        del p[name]
    p["generator/block-1/conv2/ccbn/mean"] = np.zeros((1, 5, 1, 1), np.float32)
    p["generator/block-1/conv3/W"] = np.zeros(3, np.float32)
    p["generator/sn_affine/b"][0] = np.nan
    message = refused(write(tmp_path / "a.h5", p), tmp_path / "run")
    missing = "generator/block-2/shortcut/sn_conv/singular-vector, generator/bn/beta"
    assert message == (
        f"{tmp_path / 'a.h5'} does not hold exactly the parameters of nnabla's SAGAN (missing: {missing}; unknown: "
        "generator/block-1/conv3/W; of another shape: generator/block-1/conv2/ccbn/mean is [1, 5, 1, 1] and not "
        "[1, 24, 1, 1]; not finite: generator/sn_affine/b); give the file as it was saved."
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("generator/sn_affine/W", "missing: generator/sn_affine/W"),
        ("discriminator/projection/embed/W", "missing: discriminator/projection/embed/W"),
        ("discriminator/block-2/shortcut/sn_conv/b", "missing: discriminator/block-2/shortcut/sn_conv/b"),
        ("discriminator/block-", "missing: discriminator/block-1"),
        ("discriminator/attn/f", "missing: discriminator/attn/f/sn_conv/W"),
    ],
)
def test_a_missing_dataset_is_named(tmp_path, name, text):
    p = {key: array for key, array in make_parameters(**SMALL).items() if not key.startswith(name)}
    assert text in refused(write(tmp_path / "a.h5", p), tmp_path / "run")


def test_files_that_are_none(tmp_path):
    p, run = make_parameters(**SMALL), tmp_path / "run"
    file = write(tmp_path / "a.h5", p | {"classifier/W": np.zeros(2)})
    assert "(unknown: classifier/W)" in refused(file, run)
    whole = write(tmp_path / "b.h5", p)
    (tmp_path / "cut.h5").write_bytes(whole.read_bytes()[:5000])
    assert "cut.h5 is not a readable HDF5 file" in refused(tmp_path / "cut.h5", run)
    assert "none.h5 is not a file" in refused(tmp_path / "none.h5", run)
    assert "--step (=-1)" in refused(whole, run, "--step", "-1")
    p["generator/sn_affine/W"] = np.zeros((LATENT, 24 * 15), np.float32)
    assert "(=360 outputs) must make a square map" in refused(write(tmp_path / "c.h5", p), run)


def test_ambiguous_attention(tmp_path):
    p = make_parameters(widths=(16, 16, 16), d_widths=(8, 16, 16), g_attn=1, d_attn=1)
    message = refused(write(tmp_path / "a.h5", p), tmp_path / "run")
    assert "generator/attn/f/sn_conv/W (=16 channels) must fit after exactly one block" in message


def test_a_folder_with_content_is_kept(tmp_path):
    file, run = write(tmp_path / "a.h5", make_parameters(**SMALL)), tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").write_text("mine")
    with pytest.raises(CommandError, match="not empty; choose another --workdir, or pass --overwrite"):
        command(file, run)
    assert [entry.name for entry in run.iterdir()] == ["notes.txt"]
    command(file, run, "--overwrite", "--data", "folder:/birds")
    assert json.loads((run / "config.json").read_text())["data"]["source"] == "folder:/birds"
    assert (run / "notes.txt").read_text() == "mine" and (run / "checkpoints" / "0").is_dir()


@pytest.mark.parametrize(("name", "step"), [("params_0", 1), ("params_999999", 1_000_000), ("best", 0)])
def test_step_of(tmp_path, name, step):
    assert convert_nnabla.step_of(tmp_path / f"{name}.h5") == step
