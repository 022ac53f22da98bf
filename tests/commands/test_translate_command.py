"""`python -m jaxgan translate`: files of any size under their own names, and every mistake one sentence."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxgan.__main__ import main
from jaxgan.generation.images import to_uint8
from jaxgan.generation.run import open_run
from tests.tiny_run import DOMAINS, PERCEPTRON, TRANSLATING, write_run

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("translating"), TRANSLATING, DOMAINS, steps=(3, 7))


@pytest.fixture
def folder(tmp_path):
    """Images of several sizes, formats and modes; returns the folder."""
    root = tmp_path / "photos"
    for name, size in {"b.png": (12, 8), "A.PNG": (14, 11), "deep/er/c.bmp": (12, 8), "deep/b.png": (16, 9)}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (*size[::-1], 3), np.uint8)).save(root / name)
    Image.fromarray(RNG.integers(0, 256, (8, 8), np.uint8)).save(root / "grey.png")
    Image.fromarray(RNG.integers(0, 256, (8, 8, 4), np.uint8)).save(root / "glass.webp", lossless=True)
    (root / "notes.txt").write_text("not an image")
    return root


@pytest.fixture
def translate(workdir, capsys):
    def run(*args, workdir=workdir):
        try:
            code = main(["translate", f"--workdir={workdir}", *map(str, args)])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.err, captured.out

    return run


@pytest.fixture
def mistake(translate, tmp_path):
    def run(*args, **kwargs):
        before = sorted(tmp_path.rglob("*"))
        code, err, out = translate(*args, **kwargs)
        lines = [line for line in err.splitlines() if line.startswith("jaxgan: ")]
        assert code == 2 and len(lines) == 1 and not out and "Traceback" not in err, err
        assert sorted(tmp_path.rglob("*")) == before, "nothing is left behind"
        return lines[0]

    return run


def pixels(path):
    return np.asarray(Image.open(path))


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_translated_under_its_own_names(translate, workdir, folder, tmp_path):
    out = tmp_path / "out"
    code, err, said = translate("--images", folder, "--direction=a2b", "--out", out)
    assert code == 0 and said == f"6 translations (a2b) of step 7 are in {out}\n", err
    assert names(out) == [
        "A.png", "b.png", "deep/b.png", "deep/er/c.png", "glass.png", "grey.png", "translate.json",
    ]  # fmt: skip
    run = open_run(workdir)
    for name, source in {"b.png": "b.png", "A.png": "A.PNG", "deep/er/c.png": "deep/er/c.bmp"}.items():
        image = pixels(folder / source)
        expected = to_uint8(run.translate(image[None], "a2b"))[0]
        assert np.abs(pixels(out / name).astype(int) - expected).max() <= 1 and expected.std() > 3
    grey = pixels(folder / "grey.png")[..., None].repeat(3, axis=2)
    assert np.abs(pixels(out / "grey.png").astype(int) - to_uint8(run.translate(grey[None], "a2b"))[0]).max() <= 1
    glass = pixels(folder / "glass.webp").astype(float)
    alpha = glass[..., 3:] / 255
    over_white = np.floor(glass[..., :3] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)
    expected = to_uint8(run.translate(over_white[None], "a2b"))[0]
    assert np.abs(pixels(out / "glass.png").astype(int) - expected).max() <= 6  # a unit of the input, amplified
    assert json.loads((out / "translate.json").read_text()) == {
        "workdir": str(workdir.resolve()), "step": 7, "weights": "ema", "direction": "a2b", "images": str(folder),
        "resize": "none", "seed": 0, "num": 6, "left_out": [],
    }  # fmt: skip
    assert names(folder)[0] == "A.PNG", "what is read stays as it is"


def test_one_file_resized_raw_and_of_an_earlier_step(translate, workdir, folder):
    code, err, _ = translate(
        "--images", folder / "A.PNG", "--direction=b2a", "--step=3", "--weights=raw", "--resize=22x20"
    )
    out = workdir / "translated" / "step_00000003_b2a_raw_resized_22x20"
    assert code == 0 and names(out) == ["A.png", "translate.json"], err
    image = np.asarray(Image.open(folder / "A.PNG").resize((20, 22), Image.Resampling.BILINEAR))
    expected = to_uint8(open_run(workdir, step=3).translate(image[None], "b2a", weights="raw"))[0]
    found = pixels(out / "A.png")
    assert found.shape == (22, 20, 3) and np.abs(found.astype(int) - expected).max() <= 1

    code, err, _ = translate("--images", folder / "A.PNG", "--direction=b2a", "--resize=22")
    found = pixels(workdir / "translated" / "step_00000007_b2a_resized_22" / "A.png")
    assert code == 0 and found.shape == (22, 28, 3), "in proportion: 11 x 14 doubled"


def test_unreadable_files_are_named_or_left_out(translate, mistake, folder, tmp_path):
    (folder / "deep" / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    args = ("--images", folder / "deep", "--direction=a2b", "--out", tmp_path / "out")
    assert "deep/broken.jpg is not a readable image (" in mistake(*args)
    code, err, said = translate(*args, "--skip_corrupt")
    assert code == 0 and "left out" in err and said.startswith("2 translations")
    facts = json.loads((tmp_path / "out" / "translate.json").read_text())
    assert facts["left_out"] == [str(folder / "deep" / "broken.jpg")] and facts["num"] == 2
    (folder / "bad").mkdir()
    (folder / "bad" / "x.png").write_bytes(b"")
    text = mistake("--images", folder / "bad", "--direction=a2b", "--out", tmp_path / "other", "--skip_corrupt")
    assert "none of the 1 files is a readable image" in text


def test_mistakes(mistake, translate, folder, tmp_path, workdir):
    to = ("--direction=a2b", "--out", tmp_path / "out")
    assert "--images /nowhere does not exist" in mistake("--images=/nowhere", *to)
    assert "notes.txt is no image file" in mistake("--images", folder / "notes.txt", *to)
    (tmp_path / "empty").mkdir()
    assert "hold no image" in mistake("--images", tmp_path / "empty", *to)
    assert "the direction is missing" in mistake("--images", folder, "--out", tmp_path / "out")
    assert "--resize (='7x9') must be" in mistake("--images", folder, *to, "--resize=7x9")
    assert "--resize (='big') must be" in mistake("--images", folder, *to, "--resize=big")
    assert "the batch size (=0)" in mistake("--images", folder, *to, "--batch_size=0")
    assert "seed" in mistake("--images", folder, *to, "--seed=-1")
    assert "has no checkpoint of step 4" in mistake("--images", folder, *to, "--step=4")
    inside = ("--images", folder, "--direction=a2b", "--overwrite", "--out")
    assert "lies in the folder of the images" in mistake(*inside, folder)
    assert "lies in the folder of the images" in mistake(*inside, folder / "new")
    assert "lies in the folder" in mistake("--images", folder / "b.png", *inside[2:], folder)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "a.bmp")
    assert "A.PNG and a.bmp would both be written as a.png; rename" in mistake("--images", folder, *to)
    (folder / "a.bmp").unlink()
    Image.fromarray(np.zeros((7, 30, 3), np.uint8)).save(folder / "flat.png")
    assert "flat.png has 7 x 30 pixels, and at least 8 x 8" in mistake("--images", folder, *to)
    (folder / "flat.png").unlink()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    assert "exists and is not empty" in mistake("--images", folder, "--direction=a2b", "--out", tmp_path / "full")
    code, err, _ = translate("--images", folder / "b.png", "--direction=a2b", "--out", tmp_path / "full", "--overwrite")
    assert code == 0 and names(tmp_path / "full") == ["b.png", "mine", "translate.json"], err


def test_a_run_that_draws_from_latents(mistake, folder, tmp_path, tmp_path_factory):
    drawing = write_run(tmp_path_factory.mktemp("drawing"), PERCEPTRON)
    text = mistake("--images", folder, "--direction=a2b", "--out", tmp_path / "out", workdir=drawing)
    assert "draws images from latents and translates none; use `python -m jaxgan generate`" in text


@pytest.mark.parametrize(
    "args",
    [
        ("generate",), ("generate", "--class_id=cat"), ("generate", "--bn=standing:2"),
        ("morph", "--to_seed=1"), ("morph", "--classes=a,b"), ("match", "--out=x"), ("match", "--class_id=1"),
    ],
)  # fmt: skip
def test_the_other_commands_point_here(args, workdir, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = open_run(workdir)
    monkeypatch.setattr("jaxgan.commands.opening.open_run", lambda *args, **kwargs: run)
    assert main([*args, f"--workdir={workdir}"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("jaxgan: ")]
    assert len(lines) == 1 and "`python -m jaxgan translate --workdir=" in lines[0]
