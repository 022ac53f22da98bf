"""Singular values and attention maps of a run: against NumPy's decomposition and against the modules themselves."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from jaxgan.commands import report_attention, report_samples, report_spectra
from jaxgan.commands.report_modules import structure, with_values
from jaxgan.generation.run import open_run
from jaxgan.layers.spectral_norm import spectral_normalize
from jaxgan.methods.adversarial import Adversarial
from tests.tiny_run import CONFIG, DATA, write_run

MODEL = dataclasses.replace(
    CONFIG.model, g_attention_resolutions=(8,), d_attention_resolutions=(4,), d_spectral_norm="all", sn_iters=2
)
SETTINGS = dataclasses.replace(CONFIG, model=MODEL, sample=dataclasses.replace(CONFIG.sample, rows=3, columns=2))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(write_run(tmp_path_factory.mktemp("run"), SETTINGS))


@pytest.fixture(scope="module")
def drawn(run):
    return report_samples.draw(run, seed=1)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (1, 3)])
def test_singular_values_are_those_of_the_decomposition(shape):
    matrix = np.random.default_rng(0).standard_normal(shape)
    found = report_spectra.singular_values(matrix.astype(np.float32))
    np.testing.assert_allclose(found, np.linalg.svd(matrix.astype(np.float32), compute_uv=False), rtol=1e-5)


def test_every_normalised_layer(run):
    layers = {f"{layer.network}.{layer.path}": layer for layer in report_spectra.spectral_layers(run)}
    normalised = [
        (name, jax.tree_util.keystr(path, simple=True, separator="."))
        for name in ("g", "d")
        for path, _ in jax.tree.leaves_with_path(run.nets[name].stats)
        if path[-1].key == "u"
    ]
    assert set(layers) == {f"{name}.{path.removesuffix('.u')}" for name, path in normalised} and len(layers) > 15
    for name, axis in (("g.linear", -1), ("g.blocks.1.conv1", -1), ("d.head.embed", 0)):
        network, path = name.split(".", 1)
        weights, stats = run.nets[network].params, run.nets[network].stats
        for key in path.split("."):
            weights, stats = weights[key], stats[key]
        kernel = weights.get("kernel", weights.get("table"))
        applied, _, sigma = spectral_normalize(kernel, stats["u"], num_iters=2, axis=axis)
        matrix = np.moveaxis(np.asarray(applied), axis, -1).reshape(-1, kernel.shape[axis])
        assert layers[name].shape == matrix.shape
        np.testing.assert_allclose(layers[name].estimate, sigma, rtol=1e-5)
        np.testing.assert_allclose(layers[name].normalized, np.linalg.svd(matrix, compute_uv=False)[0], rtol=1e-5)
    assert max(layer.normalized for layer in layers.values()) > 1.01, "the estimates of random vectors are too low"


def test_transposed_convolutions_as_they_are_normalised(tmp_path):
    model = dataclasses.replace(CONFIG.model, name="dcgan", g_widths=(), d_widths=(), g_channels=4, d_channels=4)
    model = dataclasses.replace(model, conditional=False, sn_axis="in", d_spectral_norm="all")
    data = dataclasses.replace(DATA, height=16, width=16)
    settings = dataclasses.replace(CONFIG, model=model, data=dataclasses.replace(CONFIG.data, resolution=16))
    layers = report_spectra.spectral_layers(open_run(write_run(tmp_path, settings, data)))
    assert layers and all(layer.normalized >= 1 - 1e-5 for layer in layers)


def test_modules_with_values_compute_what_the_run_computes(run, drawn):
    module = structure(run, "g")
    images = jax.jit(lambda values, *inputs: with_values(module, values)(*inputs, train=False))(
        run.variables()["g"], drawn.z, drawn.labels
    )
    np.testing.assert_allclose(images, run.sample(z=drawn.z, labels=drawn.labels), atol=1e-5)


def test_attention_of_the_chosen_pixels(run, drawn):
    rows = drawn.first_column(2)
    assert list(rows) == [0, 4]
    g, d = report_attention.attention_maps(run, drawn, rows)
    assert (g.network, g.size, g.weights.shape) == ("g", (8, 8), (2, 5, 4, 4))
    assert (d.network, d.size, d.weights.shape) == ("d", (4, 4), (2, 5, 2, 2))
    assert g.queries == ((2, 2), (2, 5), (4, 4), (5, 2), (5, 5))
    for found in (g, d):
        np.testing.assert_allclose(found.weights.sum((2, 3)), 1, rtol=1e-5)
    module = structure(run, "g")
    maps = jax.jit(lambda values, *inputs: with_values(module, values).attention_maps(*inputs))
    whole = maps(run.variables()["g"], drawn.z[rows], drawn.labels[rows])["8x8"]
    expected = np.asarray(whole).reshape(2, 8, 8, 4, 4)[:, [2, 2, 4, 5, 5], [2, 5, 4, 2, 5]]
    np.testing.assert_allclose(g.weights, expected, rtol=1e-4)


def test_the_section_shows_gates_of_raw_and_averaged_weights(run, drawn):
    body = report_attention.attention(run, drawn).body
    for part in (run.nets["g"], run.ema["g"], run.nets["d"]):
        (gate,) = (float(leaf) for path, leaf in jax.tree.leaves_with_path(part.params) if path[-1].key == "gate")
        assert f"<td>{gate:+.4f}</td>" in body
    assert body.count("<img") == 2 and "The generator at 8 × 8" in body and "The discriminator at 4 × 4" in body


def test_an_overlay_marks_its_pixel_and_is_bright_where_the_weight_is():
    weights = np.zeros((4, 4), np.float32)
    weights[0, 3] = 0.5
    image = np.full((96, 96, 3), 100, np.uint8)
    shown = report_attention._overlay(image, weights, (6, 1), (8, 8)).astype(int)
    assert shown[4, 92].sum() > 2 * shown[40, 10].sum()
    marked = (shown == (0, 255, 255)).all(axis=2)
    assert {(y // 12, x // 12) for y, x in np.argwhere(marked)} == {(6, 1)} and not marked[78, 18]


class Generator(nnx.Module):
    def __init__(self, rngs):
        self.out = nnx.Linear(4, 64, rngs=rngs)
        self.scale = float(np.asarray(self.out.kernel[...]).std())  # no shape alone can tell it

    def __call__(self, z, labels):
        return jax.numpy.tanh(self.out(z)).reshape(-1, 8, 8, 1)


class Discriminator(nnx.Module):
    def __init__(self, rngs):
        self.out = nnx.Linear(64, 1, rngs=rngs)

    def __call__(self, images, labels):
        return self.out(images.reshape(-1, 64))[:, 0]


def test_networks_of_a_users_own(tmp_path):
    method = Adversarial(generator=Generator, discriminator=Discriminator, latent_dim=4)
    settings = dataclasses.replace(SETTINGS, model=CONFIG.model)
    run = open_run(write_run(tmp_path, settings, method=method), method=method)
    drawn = report_samples.draw(run, seed=0)
    assert drawn.images.shape == (6, 8, 8, 1) and not drawn.labels.any()
    assert "No layer of this run" in report_spectra.spectra(run).body
    assert "no self-attention" in report_attention.attention(run, drawn).body
