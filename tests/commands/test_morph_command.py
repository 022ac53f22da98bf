"""`python -m jaxgan morph`: what is written for each kind of morph."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxgan.__main__ import main
from jaxgan.generation import images as images_lib
from jaxgan.generation.run import open_run
from tests.tiny_run import UNCONDITIONAL, write_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def opened(workdir):
    return open_run(workdir)


@pytest.fixture
def morph(workdir, tmp_path, monkeypatch, capsys, opened):
    """Runs the command on the run that is open already; returns (exit code, stderr, folder)."""
    monkeypatch.setattr("jaxgan.commands.opening.open_run", lambda *args, **kwargs: opened)

    def run(*args):
        code = main(["morph", f"--workdir={workdir}", f"--out={tmp_path / 'out'}", *map(str, args)])
        return code, capsys.readouterr().err, tmp_path / "out"

    return run


def frame(folder, number):
    return np.asarray(Image.open(folder / "frames" / f"{number:04d}.png")).astype(int)[..., None]


def close(a, b):
    return np.abs(a - b.astype(int)).max() <= 1


def test_between_two_classes(morph, opened):
    code, err, out = morph("--from_class=dog", "--to_class=0", "--num_frames=5", "--seed=2")
    assert code == 0, err
    assert sorted(path.name for path in out.iterdir()) == ["frames", "morph.gif", "morph.json", "strip.png"]
    assert sorted(path.name for path in (out / "frames").iterdir()) == [f"{i:04d}.png" for i in range(5)]
    dog, cat = (images_lib.to_uint8(opened.sample(1, seed=2, class_id=name))[0] for name in ("dog", "cat"))
    assert close(frame(out, 0), dog) and close(frame(out, 4), cat) and not close(dog.astype(int), cat)
    between = [np.abs(frame(out, i) - dog.astype(int)).mean() for i in range(5)]
    assert between == sorted(between)
    strip = np.asarray(Image.open(out / "strip.png")).astype(int)
    assert strip.shape == (68, 5 * 66 + 2), "pictures of 8 pixels are magnified to 64"
    assert all(np.array_equal(strip[2:66:8, 2 + 66 * i : 66 + 66 * i : 8, None], frame(out, i)) for i in range(5))
    with Image.open(out / "morph.gif") as gif:
        assert gif.n_frames == 5 and gif.size == (64, 64)
        gif.seek(4)
        assert np.abs(np.asarray(gif.convert("L")).astype(int)[::8, ::8] - cat[..., 0]).max() <= 1
    facts = json.loads((out / "morph.json").read_text())
    assert facts["classes"] == ["dog", "0"] and facts["step"] == 3 and facts["num_frames"] == 5


def test_nnablas_order(morph, opened):
    code, err, out = morph("--from_class=dog", "--to_class=cat", "--num_frames=4", "--nnabla_order")
    assert code == 0, err
    dog, cat = (images_lib.to_uint8(opened.sample(1, class_id=name))[0] for name in ("dog", "cat"))
    assert len(list((out / "frames").iterdir())) == 4
    assert close(frame(out, 0), cat) and not close(frame(out, 3), dog)
    mixed = opened.sample(z=opened_z(1), labels=np.array([[0.25, 0.75, 0, 0, 0]]))
    assert close(frame(out, 3), images_lib.to_uint8(mixed)[0])


def opened_z(num, seed=0):
    from jaxgan.generation.latents import draw

    return draw(4, 0, seed, 0, num)["z"]


def test_several_classes_and_several_latents(morph, opened):
    code, err, out = morph("--classes", "0, 1,cat", "--num_frames=3", "--num=2")
    assert code == 0, err
    assert len(list((out / "frames").iterdir())) == 5
    first = images_lib.to_uint8(opened.sample(2, class_id=0))
    assert close(frame(out, 0), images_lib.grid(first, columns=2))
    assert np.asarray(Image.open(out / "strip.png")).shape == (2 * 66 + 2, 5 * 66 + 2), "a row per latent"
    second_row = np.asarray(Image.open(out / "strip.png")).astype(int)[68:132:8, 2:66:8, None]
    assert close(second_row, first[1])


def test_between_two_latents(morph, opened):
    code, err, out = morph("--seed=1", "--to_seed=2", "--class_id=dog", "--num_frames=3")
    assert code == 0, err
    for number, seed in ((0, 1), (2, 2)):
        assert close(frame(out, number), images_lib.to_uint8(opened.sample(1, seed=seed, class_id="dog"))[0])
    a, b = opened_z(1, 1)[0].astype(float), opened_z(1, 2)[0].astype(float)
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    middle = np.sin(angle / 2) / np.sin(angle) * (a + b)
    assert close(frame(out, 1), images_lib.to_uint8(opened.sample(z=middle[None], labels=[1]))[0])


def test_class_and_latent_together(morph, opened):
    code, err, out = morph("--from_class=0", "--to_class=1", "--seed=1", "--to_seed=2", "--num_frames=3")
    assert code == 0, err
    assert close(frame(out, 0), images_lib.to_uint8(opened.sample(1, seed=1, class_id=0))[0])
    assert close(frame(out, 2), images_lib.to_uint8(opened.sample(1, seed=2, class_id=1))[0])


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "there is nothing to morph; give --from_class and --to_class, --classes, or --to_seed."),
        (["--from_class=0"], "--from_class and --to_class belong together"),
        (["--classes=0,1", "--to_class=3"], "leave --from_class and --to_class out"),
        (["--classes=0"], "at least two classes and got 1"),
        (["--classes=0,7"], "class '7' must be an id 0 ... 4"),
        (["--classes=0,1", "--class_id=3"], "--class_id fixes the class of all frames"),
        (["--classes=0,1", "--num_frames=1"], "number of frames (=1) must be at least 2"),
        (["--to_seed=1", "--num_frames=0"], "number of frames (=0) must be at least 2"),
        (["--classes=0,1", "--num=0"], "number of images (=0) must be at least 1"),
        (["--classes=0,1,2", "--nnabla_order"], "--nnabla_order is defined for two classes and got 3"),
        (["--classes=0,1", "--nnabla_order", "--to_seed=3"], "leave --to_seed out"),
        (["--to_seed=-3"], "seed (=-3)"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(morph, args, text):
    code, err, out = morph(*args)
    assert code == 2 and text in err and err.count("\n") == 1, err
    assert not out.exists()


def test_a_run_without_classes(tmp_path, capsys):
    workdir = write_run(tmp_path / "run", UNCONDITIONAL)
    assert main(["morph", f"--workdir={workdir}", "--classes=0,1"]) == 2
    assert "was trained without classes" in capsys.readouterr().err
    assert main(["morph", f"--workdir={workdir}", "--to_seed=1", "--num_frames=2"]) == 0
    assert len(list(workdir.glob("morphed/*/frames/*.png"))) == 2
