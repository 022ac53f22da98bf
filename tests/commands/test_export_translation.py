"""`python -m jaxgan export` of a run that translates: one generator, with the same images as the run's own."""

import json
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest
import safetensors.numpy

from jaxgan.__main__ import main
from jaxgan.commands import export_program, export_stablehlo
from jaxgan.generation.run import open_run
from tests.tiny_run import DOMAINS, PAIRED, PAIRS, PERCEPTRON, TRANSLATING, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(write_run(tmp_path_factory.mktemp("run"), TRANSLATING, DOMAINS))


@pytest.fixture
def export(run, tmp_path, monkeypatch, capsys):
    def call(*args, opened=run):
        monkeypatch.setattr("jaxgan.commands.opening.open_run", lambda *args, **kwargs: opened)
        out = tmp_path / "out"
        code = main(["export", f"--workdir={opened.workdir}", f"--out={out}", *args])
        return code, capsys.readouterr().err, out

    return call


def test_a_generator_without_jaxgan(export, run):
    code, err, out = export("--direction=b2a", "--platforms=cpu", "--seed=4")
    assert code == 0, err
    with np.load(out / "check.npz") as file:
        check = dict(file)
    assert check["images"].shape == (4, 8, 12, 3) and check["images"].min() < -0.9 and check["images"].max() > 0.9
    np.testing.assert_allclose(check["translations"], run.translate(check["images"], "b2a"), atol=1e-5)
    generator = jax.export.deserialize(bytearray((out / "generator.stablehlo").read_bytes()))
    for images in (check["images"], check["images"][:1]):
        found = np.asarray(jax.jit(generator.call)(images))
        np.testing.assert_allclose(found, run.translate(images, "b2a"), atol=1e-4)
    weights = safetensors.numpy.load_file(out / "generator.safetensors")
    assert {name.split("/")[0] for name in weights} == {"g_ba"}
    kernel = run.ema["g_ba"].params["first"]["kernel"]
    np.testing.assert_array_equal(weights["g_ba/params/first/kernel"], kernel)
    facts = json.loads((out / "config.json").read_text())
    assert facts["direction"] == "b2a" and facts["inputs"]["images"].startswith("(b, ")
    assert {"latent_dim", "num_classes", "bn", "truncation"}.isdisjoint(facts) and facts["max_abs_difference"] < 1e-4
    done = subprocess.run([sys.executable, "example.py"], cwd=out, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("(4, 8, 12, 3) differ from the run's own by at most ")
    assert "Translates images (b2a)" in (out / "example.py").read_text()


def test_pix2pix_for_every_size_of_its_network(export, tmp_path):
    opened = open_run(write_run(tmp_path / "run", PAIRED, PAIRS))
    code, err, out = export("--platforms=cpu", opened=opened)
    assert code == 0, err
    facts = json.loads((out / "config.json").read_text())
    assert facts["direction"] == "a2b" and facts["inputs"] == {"images": "(b, 8*h, 8*w, 3)"}
    images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 24, 3)).astype(np.float32)
    found = export_stablehlo.call((out / "generator.stablehlo").read_bytes(), [images])
    np.testing.assert_allclose(found, opened.translate(images, "a2b"), atol=1e-4)
    assert found.std() > 0.1 and "any sides of this form from 8 pixels on" in (out / "example.py").read_text()


def test_any_size_where_the_network_can_be_traced_so(run):
    """Networks that ask nothing of a size but what its multiple answers have programs for all sizes."""
    program = export_program.translating(run, "a2b", seed=0)
    any_size, fixed = program.symbolic
    assert str(any_size["images"].shape) == "(b, 4*h, 4*w, 3)" and str(fixed["images"].shape) == "(b, 8, 12, 3)"

    def shrink(nets, inputs):
        images = inputs["images"]
        if images.shape[1] % 4:
            raise ValueError
        return -images

    asking = export_program.Program(shrink, program.example, program.symbolic, program.draw, program.output)
    serialized = export_stablehlo.serialize(run, {}, ["cpu"], asking)
    assert export_stablehlo.input_shapes(serialized) == ["(b, 4*h, 4*w, 3)"]
    images = np.ones((2, 16, 8, 3), np.float32)
    np.testing.assert_array_equal(export_stablehlo.call(serialized, [images]), -images)

    def curious(nets, inputs):
        images = inputs["images"]
        return images if images.shape[1] < images.shape[2] else -images

    asking = export_program.Program(curious, program.example, program.symbolic, program.draw, program.output)
    serialized = export_stablehlo.serialize(run, {}, ["cpu"], asking)
    assert export_stablehlo.input_shapes(serialized) == ["(b, 8, 12, 3)"]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "the direction is missing, since the run translates a2b and b2a"),
        (("--direction=a2b", "--truncation=1"), "--truncation and --bn do not apply, since"),
        (("--direction=a2b", "--bn=standing:2"), "--truncation and --bn do not apply, since"),
    ],
)
def test_mistakes(export, args, text):
    code, err, out = export(*args)
    assert code == 2 and text in err and not out.exists()


def test_a_run_without_directions(export, tmp_path):
    opened = open_run(write_run(tmp_path / "run", PERCEPTRON))
    code, err, _ = export("--direction=a2b", opened=opened)
    assert code == 2 and "--direction does not apply" in err
