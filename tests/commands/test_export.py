"""`python -m jaxgan export`: the files say the same as the run, and need nothing of this package."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest
import safetensors.numpy

from jaxgan.__main__ import main
from jaxgan.commands import export_program, export_stablehlo
from jaxgan.core import checksum
from jaxgan.generation.run import open_run
from jaxgan.generation.standing import standing_statistics
from tests.tiny_run import PERCEPTRON, UNCONDITIONAL, write_run

FILES = ["check.npz", "config.json", "example.py", "generator.safetensors", "generator.stablehlo"]

# Run in the folder of an export by a Python that sees its own packages only.
USER = """
import json, runpy, sys
import jax, jax.export
import numpy as np
generator = jax.export.deserialize(bytearray(open("generator.stablehlo", "rb").read()))
generate = jax.jit(generator.call)
check = dict(np.load("check.npz"))
found = {"drawn": {}, "devices": jax.device_count()}
for count in (1, 3):
    images = np.asarray(generate(check["z"][:count], check["labels"][:count]))
    assert images.dtype == np.float32 and images.shape == (count, *check["images"].shape[1:]), images.shape
    found["drawn"][count] = float(np.abs(images - check["images"][:count]).max())
others = np.asarray(generate(check["z"][:1], (check["labels"][:1] + 1) % 5))
found["other_class"] = float(np.abs(others - check["images"][:1]).max())
runpy.run_path("example.py")
found["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def opened(workdir):
    return open_run(workdir)


@pytest.fixture(scope="module")
def perceptron(tmp_path_factory):
    return open_run(write_run(tmp_path_factory.mktemp("perceptron"), PERCEPTRON))


@pytest.fixture(scope="module")
def exported(workdir, opened, tmp_path_factory):
    """What the command writes of the conditional run with no flags but the necessary ones, and --seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxgan.commands.opening.open_run", lambda *args, **kwargs: opened)
        out = tmp_path_factory.mktemp("exported") / "deep" / "out"
        assert main(["export", f"--workdir={workdir}", f"--out={out}", "--seed=5"]) == 0
    return out


@pytest.fixture
def export(tmp_path, monkeypatch, capsys):
    """Runs the command on a run that is open already; returns (exit code, stderr, stdout, folder)."""

    def run(opened, *args):
        monkeypatch.setattr("jaxgan.commands.opening.open_run", lambda *args, **kwargs: opened)
        out = tmp_path / "out"
        code = main(["export", f"--workdir={opened.workdir}", f"--out={out}", *map(str, args)])
        captured = capsys.readouterr()
        return code, captured.err, captured.out, out

    return run


def facts(folder):
    return json.loads((folder / "config.json").read_text())


def deserialized(folder):
    return jax.export.deserialize(bytearray((folder / "generator.stablehlo").read_bytes()))


def assert_holds(folder, variables):
    """safetensors has exactly these variables of the generator, bit by bit."""
    found = safetensors.numpy.load_file(folder / "generator.safetensors")
    assert sorted(found) == sorted(checksum.paths({"g": variables}))
    for name, leaf in zip(checksum.paths({"g": variables}), jax.tree.leaves(variables), strict=True):
        assert found[name].dtype == np.float32 and np.array_equal(found[name], leaf), name


def test_a_fresh_process_without_the_project_draws_the_same(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "elsewhere")  # nothing of it is looked for where it was written
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    clean["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    user = subprocess.run(
        [sys.executable, "-I", "-c", USER], cwd=folder, env=clean, capture_output=True, text=True, timeout=300
    )
    assert user.returncode == 0, user.stderr
    *said, last = user.stdout.splitlines()
    found = json.loads(last)
    assert found["devices"] == 1  # and this process has eight
    assert max(found["drawn"].values()) < 1e-5 and len(found["drawn"]) == 2
    assert found["other_class"] > 1e-3
    assert not {"jaxgan", "flax", "optax", "orbax", "safetensors"} & set(found["modules"])
    assert said[0].startswith("(4, 8, 8, 1) differ from the run's own by at most") and float(said[0].split()[-1]) < 1e-5


def test_check_holds_what_the_run_draws(exported, opened):
    with np.load(exported / "check.npz") as check:
        assert sorted(check) == ["images", "labels", "z"]
        assert check["z"].shape == (4, 4) and check["z"].dtype == np.float32 and check["labels"].dtype == np.int32
        np.testing.assert_allclose(check["images"], opened.sample(4, seed=5), atol=1e-5)
        np.testing.assert_allclose(
            check["images"], opened.sample(z=check["z"], labels=check["labels"], weights="ema"), atol=1e-5
        )


def test_the_program_takes_any_batch_on_cpus_and_nvidias(exported):
    program = deserialized(exported)
    assert program.platforms == ("cpu", "cuda") and program.nr_devices == 1
    assert [str(aval) for aval in program.in_avals] == ["float32[b,4]", "int32[b]"]
    assert str(program.out_avals[0]) == "float32[b,8,8,1]"
    assert "optimization_barrier" in program.mlir_module()  # the weights are not folded while compiling


def test_weights_are_averaged_ones_unless_asked_otherwise(exported, opened):
    assert_holds(exported, opened.ema["g"])


def test_config_describes_the_generator(exported, opened):
    described = facts(exported)
    assert sorted(path.name for path in exported.iterdir()) == FILES
    assert described["sha256"] == {
        name: hashlib.sha256((exported / name).read_bytes()).hexdigest() for name in FILES if name != "config.json"
    }
    expected = {
        "latent_dim": 4, "num_classes": 5, "class_names": ["cat", "dog", "a/b", "a b", "2"], "resolution": 8,
        "height": 8, "width": 8, "channels": 1, "dtype": "float32", "step": 3, "weights": "ema", "bn": "running",
        "seed": 5, "truncation": None, "platforms": ["cpu", "cuda"], "workdir": opened.workdir.name,
        "jax_version": jax.__version__,
    }  # fmt: skip
    assert {name: described[name] for name in expected} == expected
    assert described["model"]["g_widths"] == [8, 8] and 0 <= described["max_abs_difference"] <= 1e-4


def test_raw_weights_with_standing_statistics(export, opened):
    code, err, out, folder = export(opened, "--weights=raw", "--bn=standing:2", "--truncation=0.5", "--platforms=cpu")
    assert code == 0, err
    raw = opened.variables("raw")
    standing = standing_statistics(opened, raw, num_batches=2, batch_size=8, seed=0, truncation=0.5)["g"]
    assert not all(jax.tree.leaves(jax.tree.map(np.array_equal, standing.stats, raw["g"].stats)))
    assert_holds(folder, standing)
    described = facts(folder)
    assert (described["weights"], described["bn"], described["truncation"]) == ("raw", "standing:2", 0.5)
    assert deserialized(folder).platforms == ("cpu",) == tuple(described["platforms"])
    with np.load(folder / "check.npz") as check:
        assert np.abs(check["z"]).max() < 0.5
    assert "step 3 is in" in out and "at most" in out


def test_nothing_is_overwritten_unasked(export, perceptron, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("mine")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    code, err, _, folder = export(perceptron)
    assert code == 2 and "--overwrite" in err and err.count("\n") == 1
    assert (folder / "config.json").read_text() == "mine" and len(list(folder.iterdir())) == 2
    code, err, _, folder = export(perceptron, "--overwrite")
    assert code == 0, err
    assert facts(folder)["step"] == 3 and (folder / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "notes.txt"])


def test_a_run_without_classes_and_averages(export, tmp_path):
    opened = open_run(write_run(tmp_path / "run", UNCONDITIONAL))
    code, err, _, folder = export(opened)
    assert code == 0, err
    described = facts(folder)
    assert (described["num_classes"], described["class_names"], described["weights"]) == (0, [], "raw")
    assert_holds(folder, opened.nets["g"])
    with np.load(folder / "check.npz") as check:
        assert not check["labels"].any()
        images = export_stablehlo.call((folder / "generator.stablehlo").read_bytes(), (check["z"], check["labels"]))
        np.testing.assert_allclose(images, opened.sample(4), atol=1e-5)
    example = (folder / "example.py").read_text()
    assert "zeros, for it was trained without classes" in example and "float32 (N, 4)" in example


def test_a_bfloat16_run_computes_in_bfloat16(export, monkeypatch, tmp_path):
    opened = open_run(write_run(tmp_path / "run", dataclasses.replace(PERCEPTRON, dtype="bfloat16")))
    call = export_stablehlo.call
    for shift, expected in ((0.2, 2), (0.05, 0)):  # two compilations of it need not agree to 1e-4
        monkeypatch.setattr(export_stablehlo, "call", lambda *args, shift=shift: call(*args) + shift)
        code, err, _, folder = export(opened, "--platforms=tpu,cuda,cpu,cuda")
        assert code == expected, err
    program = deserialized(folder)
    assert "bf16" in program.mlir_module() and program.out_avals[0].dtype == np.float32
    assert program.platforms == ("tpu", "cuda", "cpu")
    inputs = {"z": np.ones((2, 4), np.float32), "labels": np.zeros((2,), np.int32)}
    images = call((folder / "generator.stablehlo").read_bytes(), list(inputs.values()))
    np.testing.assert_allclose(images, opened.sample(**inputs), atol=0.02)


@pytest.mark.parametrize("spoil", [lambda images: images + np.float32(2e-4), lambda images: images * np.nan])
def test_a_program_that_draws_otherwise_is_not_handed_over(spoil, export, perceptron, monkeypatch, tmp_path):
    call = export_stablehlo.call
    monkeypatch.setattr(export_stablehlo, "call", lambda program, inputs: spoil(call(program, inputs)))
    code, err, out, folder = export(perceptron)
    assert code == 2 and "differ from those of" in err.splitlines()[-1] and "0.0001 is allowed" in err
    assert not out and not list(tmp_path.iterdir())


def test_the_file_that_was_written_is_what_is_tried(export, perceptron, monkeypatch, tmp_path):
    other = open_run(write_run(tmp_path / "run", PERCEPTRON, steps=(4,)))
    serialize = export_stablehlo.serialize
    program = export_program.drawing(other, seed=0, truncation=None)
    used = export_stablehlo.used_networks(other, other.variables(), program)
    monkeypatch.setattr(
        export_stablehlo, "serialize", lambda run, variables, names, program: serialize(run, used, names, program)
    )
    code, err, _, folder = export(perceptron)
    assert code == 2 and "differ from those of" in err and not folder.exists()


def test_the_program_does_not_fill_the_compilation_cache(perceptron):
    inputs = np.ones((3, 4), np.float32), np.zeros((3,), np.int32)
    drawing = export_program.drawing(perceptron, seed=0, truncation=None)
    used = export_stablehlo.used_networks(perceptron, perceptron.variables(), drawing)
    assert set(used) == {"g"}
    program = export_stablehlo.serialize(perceptron, used, ["cpu"], drawing)
    name, cache = "jax_persistent_cache_min_compile_time_secs", jax.config.jax_compilation_cache_dir
    before = getattr(jax.config, name)
    jax.config.update(name, 0.0)
    try:
        entries = set(os.listdir(cache)) if os.path.isdir(cache) else set()
        export_stablehlo.call(program, inputs)
        assert getattr(jax.config, name) == 0.0
        assert not {entry for entry in set(os.listdir(cache)) - entries if "call" in entry}
    finally:
        jax.config.update(name, before)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--platforms=cpu,gpu"], ["'gpu'", "cpu, cuda, rocm, tpu", "write cuda"]),
        (["--platforms=cuda"], ["must include cpu"]),
        (["--platforms="], ["''"]),
        (["--bn=standing:0"], ["standing:N"]),
        (["--truncation=0"], ["truncation", "positive"]),
        (["--seed=-1"], ["seed"]),
        (["--step=7"], ["no checkpoint of step 7", "3"]),
    ],
)
def test_mistakes_get_one_sentence(args, words, workdir, tmp_path, capsys):
    assert main(["export", f"--workdir={workdir}", f"--out={tmp_path / 'out'}", *args]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and all(word in err for word in words), err
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_checkpoint(workdir, tmp_path, capsys):
    young = tmp_path / "young"
    shutil.copytree(workdir, young, ignore=shutil.ignore_patterns("checkpoints"))
    assert main(["export", f"--workdir={young}", f"--out={tmp_path / 'out'}"]) == 2
    err = capsys.readouterr().err
    assert "has no checkpoint yet" in err and err.count("\n") == 1 and not (tmp_path / "out").exists()
