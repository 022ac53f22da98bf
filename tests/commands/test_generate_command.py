"""`python -m jaxgan generate`, and the door that all commands share."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan.__main__ import COMMANDS, main
from jaxgan.commands import generate as command
from jaxgan.generation import images as images_lib
from jaxgan.generation.run import open_run
from tests.tiny_run import CONFIG, PERCEPTRON, UNCONDITIONAL, write_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("perceptron"), PERCEPTRON, steps=(3, 5))


@pytest.fixture
def jaxgan(capsys):
    """Runs `python -m jaxgan ARGS` within this process; returns (exit code, stderr, stdout)."""

    def run(*args):
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.err, captured.out

    return run


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_images_one_by_one_and_as_floats(jaxgan, tmp_path_factory, tmp_path, monkeypatch):
    workdir = write_run(tmp_path_factory.mktemp("resnet"), CONFIG)
    run = open_run(workdir)
    monkeypatch.setattr("jaxgan.commands.opening.open_run", lambda *args, **kwargs: run)  # once is enough
    out = tmp_path / "out"
    code, err, said = jaxgan("generate", f"--workdir={workdir}", "--num=11", "--seed=3", "--batch_size=8", "--out", out)
    assert code == 0 and said == f"11 images of step 3 are in {out}\n", err
    assert names(out) == ["generate.json", "grid.png", *(f"images/{i:06d}.png" for i in range(11))]
    expected = images_lib.to_uint8(run.sample(11, seed=3))
    written = np.stack([pixels(out / "images" / f"{i:06d}.png") for i in range(11)])[..., None]
    assert np.abs(written - expected).max() <= 1 and expected.std(axis=0).mean() > 3
    np.testing.assert_array_equal(
        pixels(out / "grid.png"), images_lib.grid(written.astype(np.uint8), columns=4, scale=8)[..., 0]
    )
    facts = json.loads((out / "generate.json").read_text())
    assert facts == {
        "workdir": str(workdir.resolve()), "step": 3, "weights": "ema", "bn": "running", "truncation": None, "seed": 3,
        "num": 11, "class_id": None, "all_classes": False, "latents": None,
    }  # fmt: skip

    # Other statistics, other weights, a class by its name, truncated: as floats.
    args = ("--num=3", "--class_id=dog", "--truncation=0.5", "--format=npz", f"--out={tmp_path / 'npz'}")
    code, err, _ = jaxgan("generate", f"--workdir={workdir}", *args, "--bn=standing:2", "--weights=raw")
    assert code == 0, err
    assert names(tmp_path / "npz") == ["generate.json", "samples.npz"]
    with np.load(tmp_path / "npz" / "samples.npz") as file:
        samples = dict(file)
    assert {name: (array.shape, str(array.dtype)) for name, array in samples.items()} == {
        "images": ((3, 8, 8, 1), "float32"), "z": ((3, 4), "float32"), "labels": ((3,), "int32"),
    }  # fmt: skip
    assert list(samples["labels"]) == [1, 1, 1] and np.abs(samples["z"]).max() < 0.5
    running = run.sample(3, class_id="dog", truncation=0.5, weights="raw")
    assert 1e-3 < np.abs(samples["images"] - running).max() < 1, "standing statistics are others, of the same weights"
    from jaxgan.generation.standing import standing_statistics

    nets = standing_statistics(run, run.nets, num_batches=2, batch_size=8, seed=0, truncation=0.5)
    standing = jax.device_get(run.sampler(nets, {name: samples[name] for name in ("z", "labels")}))
    np.testing.assert_allclose(samples["images"], standing, atol=2e-6)


def test_given_latents_give_their_images_again(jaxgan, workdir, tmp_path):
    ask = ("generate", f"--workdir={workdir}", "--format=npz")
    assert jaxgan(*ask, "--num=5", "--seed=9", "--out", tmp_path / "a")[0] == 0
    code, err, _ = jaxgan(*ask, "--latents", tmp_path / "a" / "samples.npz", "--batch_size=2", "--out", tmp_path / "b")
    assert code == 0, err
    with np.load(tmp_path / "a" / "samples.npz") as a, np.load(tmp_path / "b" / "samples.npz") as b:
        for name in ("z", "labels"):
            assert np.array_equal(a[name], b[name])
        np.testing.assert_allclose(a["images"], b["images"], atol=2e-6)


def test_all_classes(jaxgan, workdir, tmp_path):
    code, err, said = jaxgan("generate", f"--workdir={workdir}", "--all_classes", "--num=3", "--out", tmp_path / "a")
    assert code == 0 and said.startswith("15 images of step 5"), err
    # Names that collide as files, or on a disk that ignores case, get their id.
    files = [f"classes/{name}.png" for name in ("2", "a_b_0002", "a_b_0003", "cat", "dog")]
    assert names(tmp_path / "a") == [*files, "generate.json"]
    assert pixels(tmp_path / "a" / "classes" / "cat.png").shape == (2 * 66 + 2, 2 * 66 + 2)
    args = ("--all_classes", "--num=3", "--format=npz", "--out", tmp_path / "b")
    assert jaxgan("generate", f"--workdir={workdir}", *args)[0] == 0
    with np.load(tmp_path / "b" / "samples.npz") as file:
        assert list(file["labels"]) == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
        assert np.array_equal(file["z"][:3], file["z"][3:6]), "every class gets the same z"


def test_the_default_folder_tells_what_is_in_it(jaxgan, workdir):
    args = ("generate", f"--workdir={workdir}", "--num=2", "--step=3", "--class_id=dog", "--truncation=0.5")
    assert jaxgan(*args)[0] == 0
    folder = workdir / "generated" / "step_00000003_class_dog_seed_0_truncation_0.5"
    assert "grid.png" in names(folder)
    code, err, _ = jaxgan(*args)
    assert code == 2 and "exists and is not empty" in err and "--overwrite" in err
    (folder / "grid.png").write_text("")
    assert jaxgan(*args, "--overwrite")[0] == 0 and (folder / "grid.png").stat().st_size > 0


def test_the_grid_is_limited(jaxgan, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_MAX_TILES", 4)
    assert jaxgan("generate", f"--workdir={workdir}", "--num=7", "--batch_size=3", "--out", tmp_path / "a")[0] == 0
    assert len(names(tmp_path / "a" / "images")) == 7 and pixels(tmp_path / "a" / "grid.png").shape == (134, 134)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--class_id=5"], "class '5' must be an id 0 ... 4 or one of 5 names"),
        (["--class_id=bird"], "class 'bird' must be"),
        (["--truncation=0"], "truncation (=0.0) must be a positive number"),
        (["--truncation=nan"], "truncation (=nan)"),
        (["--seed=-1"], "seed (=-1) must be 0"),
        (["--num=0"], "number of images (=0) must be at least 1"),
        (["--batch_size=0"], "batch size (=0)"),
        (["--step=4"], "has no checkpoint of step 4; there are 3, 5."),
        (["--weights=ema"], "keeps no averaged weights"),
        (["--weights=best"], "invalid choice: 'best'"),
        (["--bn=standing"], "--bn (='standing') must be running or standing:N"),
        (["--bn=standing:0"], "--bn (='standing:0')"),
        (["--bn=standing:2"], "has no batch norm"),
        (["--format=jpg"], "invalid choice: 'jpg'"),
        (["--num=many"], "invalid int value: 'many'"),
        (["--nums=3"], "generate does not know the argument '--nums=3'; did you mean --num?"),
        (["--class_id=1", "--all_classes"], "not allowed with argument"),
        (["--latents=x.npz", "--num=3"], "--num says how to draw latents, but --latents gives them"),
        (["--latents=/no/such.npz"], "/no/such.npz: No such file or directory."),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(jaxgan, workdir, tmp_path, args, text):
    code, err, out = jaxgan("generate", f"--workdir={workdir}", f"--out={tmp_path / 'out'}", *args)
    assert code == 2 and out == "" and text in err, err
    assert err.startswith("jaxgan: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"x": np.zeros(3)}, "has no array `z`"),
        ({"z": np.zeros((2, 3)), "labels": [0, 0]}, "z (=float64[2, 3]) must be numbers [N, 4]"),
        ({"z": np.zeros((2, 4))}, "labels are missing"),
        ({"z": np.zeros((2, 4)), "labels": [0, 5]}, "labels (0 ... 5) must be integers [2] within 0 ... 4"),
    ],
)
def test_latents_that_do_not_fit(jaxgan, workdir, tmp_path, arrays, text):
    np.savez(tmp_path / "x.npz", **arrays)
    code, err, _ = jaxgan(
        "generate", f"--workdir={workdir}", f"--latents={tmp_path / 'x.npz'}", "--out", tmp_path / "o"
    )
    assert code == 2 and text in err and not (tmp_path / "o").exists()


def test_files_that_hold_no_latents(jaxgan, workdir, tmp_path):
    (tmp_path / "text.npz").write_text("no zip")
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", z=np.array([{}], dtype=object))
    for name in ("text.npz", "array.npy", "objects.npz"):
        code, err, _ = jaxgan("generate", f"--workdir={workdir}", f"--latents={tmp_path / name}")
        assert code == 2 and "is not an .npz file of arrays" in err and err.count("\n") == 1, err


def test_runs_without_classes_and_folders_without_runs(jaxgan, tmp_path):
    code, err, _ = jaxgan("generate", f"--workdir={tmp_path}")
    assert code == 2 and "is not a workdir of jaxgan" in err
    workdir = write_run(tmp_path / "run", UNCONDITIONAL)
    for flag in ("--all_classes", "--class_id=0"):
        code, err, _ = jaxgan("generate", f"--workdir={workdir}", flag)
        assert code == 2 and "was trained without classes" in err
    assert jaxgan("generate", f"--workdir={workdir}", "--num=2")[0] == 0


def test_the_door(jaxgan):
    code, err, out = jaxgan("--help")
    assert code == 0 and err == "" and all(f"\n  {name} " in out for name in COMMANDS)
    assert command.HELP in out
    assert jaxgan() == (0, "", out)
    code, err, _ = jaxgan("generat")
    assert code == 2 and err == "jaxgan: there is no command 'generat'; did you mean generate?\n"
    code, err, _ = jaxgan("paint")
    assert code == 2 and "the commands are generate, morph," in err
    code, err, _ = jaxgan("generate")
    assert code == 2 and "arguments are required: --workdir" in err
    code, _, out = jaxgan("generate", "--help")
    assert code == 0 and "--truncation" in out and "--batch_size" in out


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "interrupted."),
        (OSError(28, "No space left on device", "/disk/x"), 2, "/disk/x: No space left on device."),
        (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), 2, "lower --batch_size"),
    ],
)
def test_what_happens_to_a_command_is_told(jaxgan, monkeypatch, error, code, text):
    def fail(args):
        raise error

    monkeypatch.setattr(command, "run", fail)
    found, err, _ = jaxgan("generate", "--workdir=x")
    assert found == code and text in err and err.count("\n") == 1


def test_a_defect_is_not_dressed_as_a_mistake(monkeypatch):
    def fail(args):
        raise RuntimeError("a defect")

    monkeypatch.setattr(command, "run", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["generate", "--workdir=x"])
