"""`python -m jaxgan match`: the neighbours are the nearest ones, in order, and the picture shows them in that order."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxgan.__main__ import main
from jaxgan.commands import match_embedding
from jaxgan.evaluation.protocol import Protocol
from jaxgan.generation import images as images_lib
from jaxgan.generation.run import open_run
from tests.tiny_run import DATA, UNCONDITIONAL, write_run

CLASSES = [name for name in DATA.class_names if "/" not in name] + ["a_b"]  # what a folder can be called


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return open_run(write_run(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def real_images():
    """Eight images of each of five classes, uint8 (40, 8, 8), in the order in which a folder source has them."""
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, real_images):
    folder = tmp_path_factory.mktemp("images")
    for i, image in enumerate(real_images):
        path = folder / sorted(CLASSES)[i // 8] / f"{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


@pytest.fixture
def match(opened, folder, tmp_path, monkeypatch, capsys):
    """Runs the command with pixels; returns (exit code, stderr, match.json, stdout)."""
    monkeypatch.setattr("jaxgan.commands.opening.open_run", lambda *args, **kwargs: opened)

    def run(*args, data=f"folder:{folder}", extractor="pixels"):
        out = tmp_path / "out"
        given = [f"--workdir={opened.workdir}", f"--out={out}", f"--extractor={extractor}", f"--data={data}"]
        code = main(["match", *given, *map(str, args)])
        said = capsys.readouterr()
        return code, said.err, json.loads((out / "match.json").read_text()) if code == 0 else {}, said.out

    return run


def expected_order(image, real_images, rows):
    difference = (real_images[rows].astype(np.float64) - image[None, :, :, 0]) / 255
    distances = (difference**2).sum((1, 2))
    order = np.argsort(distances, kind="stable")
    return rows[order], distances[order]


def test_nearest_images_of_the_same_class(match, opened, real_images, folder, tmp_path):
    code, err, facts, said = match("--class_id=dog", "--seed=5", "--top_n=3", "--batch_size=3")
    assert code == 0, err
    image = images_lib.to_uint8(opened.sample(1, seed=5, class_id="dog"))[0]
    dogs = np.arange(8) + 8 * sorted(CLASSES).index("dog")
    order, distances = expected_order(image, real_images, dogs)
    (found,) = facts["matches"]
    assert (found["sample"], found["label"], found["class"], found["image"]) == (0, 1, "dog", "match.png")
    assert [entry["index"] for entry in found["neighbours"]] == list(order[:3])
    np.testing.assert_allclose([entry["distance"] for entry in found["neighbours"]], distances[:3], rtol=1e-5)
    assert [entry["rank"] for entry in found["neighbours"]] == [1, 2, 3]
    assert found["neighbours"][0]["where"].endswith(f"dog/{order[0]:02d}.png")
    assert {(entry["label"], entry["class"]) for entry in found["neighbours"]} == {(dogs[0] // 8, "dog")}
    assert f"nearest is {found['neighbours'][0]['where']}" in said
    protocol = Protocol.parse(facts["protocol"])
    assert (protocol.extractor, protocol.dims, protocol.num_reference) == ("pixels", 64, 40)
    assert (protocol.weights, protocol.seed, protocol.reference) == ("ema", 5, f"folder:{folder}")
    assert facts["among"] == "same class" and facts["step"] == 3


def test_the_picture_has_the_generated_image_top_left_and_the_neighbours_after_it(match, opened, real_images, tmp_path):
    code, err, facts, _ = match("--any_class", "--seed=1")
    assert code == 0, err
    image = images_lib.to_uint8(opened.sample(1, seed=1))[0]
    order, _ = expected_order(image, real_images, np.arange(40))
    assert [entry["index"] for entry in facts["matches"][0]["neighbours"]] == list(order[:15])
    tiles = np.concatenate([image[None], real_images[order[:15], :, :, None]])
    picture = np.asarray(Image.open(tmp_path / "out" / "match.png"))
    expected = images_lib.grid(tiles, columns=4, scale=8)[..., 0]
    assert picture.shape == (4 * 66 + 2, 4 * 66 + 2)
    assert np.abs(picture.astype(int) - expected).max() <= 1


def test_several_images_each_with_its_own_class(match, opened, real_images, tmp_path):
    """Seed 3 draws several classes within four samples, and the folder has all of them."""
    code, err, facts, _ = match("--num=4", "--seed=3", "--top_n=2")
    assert code == 0, err
    images = images_lib.to_uint8(opened.sample(4, seed=3))
    assert len({entry["class"] for entry in facts["matches"]}) > 1
    for i, entry in enumerate(facts["matches"]):
        rows = np.arange(8) + 8 * sorted(CLASSES).index(entry["class"])
        order, _ = expected_order(images[i], real_images, rows)
        assert [neighbour["index"] for neighbour in entry["neighbours"]] == list(order[:2])
        assert entry["image"] == f"match_{i:04d}.png" and (tmp_path / "out" / entry["image"]).is_file()


def test_classes_go_by_name_where_names_are_others(match, opened):
    code, err, _, _ = match("--class_id=a/b")
    assert code == 2 and "has no class 'a/b' (its classes are" in err and "pass --any_class" in err
    code, err, facts, said = match("--class_id=2", "--top_n=20")
    assert code == 0, err
    assert {entry["class"] for entry in facts["matches"][0]["neighbours"]} == {"2"}, "the class called 2, not class 2"
    assert len(facts["matches"][0]["neighbours"]) == 8 and "only 8 real images to compare with" in said


def test_a_broken_image_is_no_neighbour(match, opened, folder, monkeypatch):
    """A source puts the next image in the place of one that does not decode; it must not be found twice."""
    from jaxgan.commands import match_reals

    original = match_reals.Reals.__init__

    def with_a_broken_one(self, *args):
        original(self, *args)
        self.source.skipped.append((self.source.where(0), "broken"))

    monkeypatch.setattr(match_reals.Reals, "__init__", with_a_broken_one)
    code, err, facts, _ = match("--any_class", "--top_n=40")
    assert code == 0, err
    assert sorted(entry["index"] for entry in facts["matches"][0]["neighbours"]) == list(range(1, 40))


def test_an_embedding_learnt_from_the_labels(match, monkeypatch):
    monkeypatch.setattr(match_embedding, "_TRAINING_STEPS", 3)
    monkeypatch.setattr(match_embedding, "_TRAINING_BATCH", 8)
    code, err, facts, _ = match("--class_id=cat", "--top_n=2", extractor="classifier")
    assert code == 0, err
    protocol = Protocol.parse(facts["protocol"])
    assert protocol.extractor.startswith("small-classifier-8x8x1-5-") and protocol.dims == 64


def test_mistakes_are_one_sentence(match, opened, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_INCEPTION_WEIGHTS", str(tmp_path / "absent.pth"))
    code, err, _, _ = match("--any_class", extractor="inception")
    assert (
        code == 2
        and "absent.pth" in err
        and "or pass --extractor classifier" in err
        and not (tmp_path / "out").exists()
    )
    for flags, message in (
        (["--top_n=0"], "--top_n (=0) must be at least 1"),
        (["--num=0"], "number of images (=0)"),
        (["--class_id=elk"], "class 'elk' must be an id"),
        (["--same_class", "--any_class"], "not allowed with"),
        (["--truncation=0"], "truncation (=0.0) must be"),
    ):
        code, err, _, _ = match(*flags)
        assert code == 2 and message in err and err.count("\n") == 1, err
    code, err, _, _ = match("--any_class", data="digits:test", extractor="pixels")
    assert code == 0, err
    code, err, _, _ = match("--any_class", "--class_id=cat")
    assert code == 2 and "not empty" in err


def test_data_and_runs_without_labels(match, folder, tmp_path, monkeypatch):
    flat = f"folder:{folder / 'dog'}"
    code, err, _, _ = match("--any_class", data=flat, extractor="classifier")
    assert code == 2 and "learns from labels" in err
    code, err, _, _ = match("--same_class", data=flat)
    assert code == 2 and "has no classes; leave it out" in err
    unlabelled = open_run(write_run(tmp_path / "unlabelled", UNCONDITIONAL))
    monkeypatch.setattr("jaxgan.commands.opening.open_run", lambda *args, **kwargs: unlabelled)
    code, err, facts, _ = match("--top_n=2")
    assert code == 0, err
    assert facts["matches"][0]["label"] is None and facts["among"] == "any class"
    code, err, _, _ = match("--same_class")
    assert code == 2 and "has no classes" in err
