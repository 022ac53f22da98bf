"""`python -m jaxgan evaluate`: runs, folders and features; one JSON object; every mistake one sentence."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan import __main__
from jaxgan.commands import opening
from jaxgan.config import EvalConfig
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.sources import open_source
from jaxgan.evaluation import evaluator as evaluator_lib
from jaxgan.evaluation.features import CallableExtractor
from jaxgan.evaluation.fid import frechet_distance
from jaxgan.evaluation.inception_score import inception_score
from jaxgan.evaluation.kid import kid
from jaxgan.evaluation.prdc import prdc
from jaxgan.evaluation.protocol import Protocol
from jaxgan.evaluation.records import read
from jaxgan.generation.images import to_uint8
from jaxgan.generation.run import open_run
from tests.tiny_run import PERCEPTRON, write_run

CONFIG = dataclasses.replace(PERCEPTRON, eval=EvalConfig(num_samples=25))
PARTS = (("train", 200, 1347), ("test", 100, 450))
RNG = np.random.default_rng(0)


def corner(images):
    """Eight numbers of an image; blocks of pixels of any size and number of channels."""
    rows = images.astype(np.float32).mean(axis=(2, 3))[:, :8] / 255
    return rows, 9 * rows[:, :3]


def features_of(images):
    return corner(images)[0].astype(np.float64)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), CONFIG, open_dataset(CONFIG.data).spec, steps=(3, 20, 100))


@pytest.fixture
def copy(workdir, tmp_path):
    return Path(shutil.copytree(workdir, tmp_path / "copy"))


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Puts a network of a line in Inception's place and counts its images; caches go to a folder of the test."""
    seen = []

    def extractor(**options):
        def extract(images):
            seen.append(len(images))
            features, logits = corner(images)
            return (features, logits) if options["logits"] else features

        return CallableExtractor(f"inception-stand-in/{options['dims']}/{options['resizer']}", extract)

    monkeypatch.setattr(evaluator_lib, "inception_extractor", extractor)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(__main__, "_prepare_libraries", lambda: None)
    return seen


@pytest.fixture
def evaluate(calls, capsys):
    def run(*args):
        capsys.readouterr()
        code = __main__.main(["evaluate", *map(str, args)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def scores(evaluate):
    """Returns the one object that stands on standard output."""

    def run(*args):
        code, out, err = evaluate(*args, "--json")
        assert code == 0 and len(out.splitlines()) == 1, err
        return json.loads(out)

    return run


@pytest.fixture
def mistake(evaluate):
    def run(*args):
        code, out, err = evaluate(*args)
        lines = [line for line in err.splitlines() if line.startswith("jaxgan: ")]
        assert code == 2 and len(lines) == 1 and not out and "Traceback" not in err, err
        return lines[0]

    return run


def distance(a, b):
    a, b = features_of(a), features_of(b)
    return frechet_distance(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))


def digits():
    dataset = open_dataset(CONFIG.data)
    return dataset.gather(np.arange(dataset.spec.num_images))[0]


def test_a_run_is_evaluated_against_its_training_images(scores, copy):
    found = scores("--workdir", copy)
    images = to_uint8(open_run(copy).sample(25))
    np.testing.assert_allclose(found["fid"], distance(digits(), images), rtol=1e-5)
    assert (found["step"], found["num_samples"], found["num_reference"]) == (100, 25, 1797)
    assert (found["weights"], found["bn"], found["truncation"]) == ("raw", "running", None)
    protocol = Protocol.parse(found["protocol"])
    assert (protocol.extractor, protocol.resizer, protocol.seed) == ("inception-stand-in/2048/tf1", "tf1", 0)
    assert read(copy) == [found]


def test_flags_choose_what_is_evaluated(scores, copy):
    chosen = ("--num_samples", 30, "--seed", 4, "--truncation", 0.7, "--weights", "raw", "--num_reference", 100)
    found = scores("--workdir", copy, "--step", 20, *chosen, "--data", "digits:test", "--feature_dims", 64)
    images = to_uint8(open_run(copy, step=20).sample(30, seed=4, truncation=0.7, weights="raw"))
    data = dataclasses.replace(CONFIG.data, source="digits:test")
    real = open_dataset(data).gather(np.arange(100) * 450 // 100)[0]
    np.testing.assert_allclose(found["fid"], distance(real, images), rtol=1e-5)
    assert (found["truncation"], found["step"], found["num_reference"]) == (0.7, 20, 100)
    protocol = Protocol.parse(found["protocol"])
    assert (protocol.reference, protocol.truncation, protocol.seed, protocol.dims) == ("digits:test", "0.7", 4, 64)


def test_every_metric_by_its_name(scores, copy):
    sizes = ("--kid_subsets", 2, "--kid_subset_size", 20, "--k", 3, "--is_splits", 2, "--classifier_steps", 2)
    found = scores("--workdir", copy, "--metrics", "fid,is,kid,prdc,intra_fid,cas", *sizes)
    images = to_uint8(open_run(copy).sample(25))
    wanted = {"kid": kid(corner(digits())[0], corner(images)[0], subsets=2, subset_size=20)[0]}
    wanted |= prdc(corner(digits())[0], corner(images)[0], k=3)
    wanted |= dict(zip(("is", "is_std"), inception_score(corner(images)[1], splits=2), strict=True))
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-9, err_msg=name)
    assert {"fid", "kid_std", "intra_fid", "cas"} <= set(found)


def test_all_checkpoints_in_numeric_order_going_on_where_it_stopped(scores, evaluate, copy, calls):
    first = scores("--workdir", copy, "--step", 20)
    calls.clear()
    found = scores("--workdir", copy, "--step", "all")["evaluations"]
    assert [record["step"] for record in found] == [3, 20, 100] and found[1] == first
    assert sum(calls) == 2 * 25, "step 20 is done, and the reference is kept"
    for record in found:
        images = to_uint8(open_run(copy, step=record["step"]).sample(25))
        np.testing.assert_allclose(record["fid"], distance(digits(), images), rtol=1e-5)
    assert [record["step"] for record in read(copy)] == [20, 3, 100]
    calls.clear()
    assert scores("--workdir", copy, "--step", "all")["evaluations"] == found and not calls
    scores("--workdir", copy, "--step", "all", "--seed", 1)
    assert len(read(copy)) == 6, "another seed is another protocol"
    again = scores("--workdir", copy, "--step", 20)
    assert len(read(copy)) == 6 and again["fid"] == first["fid"], "one step is evaluated whenever it is asked for"


def test_a_truncation_curve(scores, copy):
    found = scores("--workdir", copy, "--truncation_curve", "0.3, 2", "--metrics", "is,fid", "--is_splits", 1)
    assert [record["truncation"] for record in found["evaluations"]] == [0.3, 2.0]
    for record in found["evaluations"]:
        images = to_uint8(open_run(copy).sample(25, truncation=record["truncation"]))
        np.testing.assert_allclose(record["fid"], distance(digits(), images), rtol=1e-5)
        np.testing.assert_allclose(record["is"], inception_score(corner(images)[1], splits=1)[0], rtol=1e-6)


def test_standing_statistics_are_recomputed_for_the_weights_that_are_evaluated(scores, copy, monkeypatch):
    asked = []

    def standing_statistics(run, variables, **options):
        asked.append((run.step, options))
        return {**variables, "g": jax.tree.map(lambda x: 2 * x, variables["g"])}

    monkeypatch.setattr(opening, "standing_statistics", standing_statistics)
    found = scores("--workdir", copy, "--step", 20, "--bn", "standing:3", "--truncation", 0.5, "--seed", 6)
    # Batches of the training's size, of the truncation that is evaluated.
    assert asked == [(20, {"num_batches": 3, "batch_size": 8, "seed": 6, "truncation": 0.5})]
    run = open_run(copy, step=20)
    object.__setattr__(run, "nets", {**run.nets, "g": jax.tree.map(lambda x: 2 * x, run.nets["g"])})
    images = to_uint8(run.sample(25, seed=6, truncation=0.5))
    np.testing.assert_allclose(found["fid"], distance(digits(), images), rtol=1e-5)
    assert found["bn"] == Protocol.parse(found["protocol"]).bn == "standing:3"
    assert scores("--workdir", copy, "--step", 20, "--truncation", 0.5, "--seed", 6)["fid"] != found["fid"]


def test_the_inception_score_needs_no_data(scores, copy):
    config = json.loads((copy / "config.json").read_text())
    config["data"]["source"] = "folder:/no/such/folder"
    (copy / "config.json").write_text(json.dumps(config))
    found = scores("--workdir", copy, "--metrics", "is")
    assert found["num_reference"] is None and found["is"] > 1


def test_a_table_for_people_warns_of_unlike_protocols(evaluate, copy):
    code, out, err = evaluate("--workdir", copy, "--truncation_curve", "0.5,1")
    lines = out.splitlines()
    assert code == 0 and lines[0].split() == [
        "step", "weights", "bn", "truncation", "fid", "samples", "reference"
    ]  # fmt: skip
    assert [line.split()[3] for line in lines[1:3]] == ["0.5", "1.0"]
    assert lines[-1].startswith("protocol: jaxgan-eval; extractor=inception-stand-in")
    assert "cannot be compared" not in err
    code, out, _ = evaluate("--workdir", copy, "--resizer", "clean")
    assert [line.split()[-1] for line in out.splitlines()[1:4]] == ["a", "b", "b"]
    assert "protocol a: " in out and "resizer=clean" in out and "protocol b: " in out


def test_unlike_protocols_are_named(evaluate, copy, monkeypatch):
    warned = []
    monkeypatch.setattr("absl.logging.warning", lambda text, *args: warned.append(text % args))
    evaluate("--workdir", copy)
    evaluate("--workdir", copy, "--resizer", "clean")
    assert any("their protocols differ in" in text and "resizer (clean / tf1)" in text for text in warned)


def pictures(folder, images, start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(folder / f"{start + i:03d}.png")
    return folder


def test_a_folder_against_another(scores, tmp_path):
    a, b = RNG.integers(0, 256, (30, 9, 9, 3), np.uint8), RNG.integers(0, 200, (40, 12, 10, 1), np.uint8)
    pictures(tmp_path / "a", a)
    pictures(tmp_path / "b", b)
    found = scores("--images", tmp_path / "a", "--data", f"folder:{tmp_path / 'b'}", "--metrics", "fid,prdc")
    grey_as_rgb = np.repeat(b, 3, axis=3)
    np.testing.assert_allclose(found["fid"], distance(grey_as_rgb, a), rtol=1e-5)
    assert found["precision"] == prdc(corner(grey_as_rgb)[0], corner(a)[0])["precision"]
    assert (found["num_samples"], found["num_reference"]) == (30, 40) and "step" not in found
    protocol = Protocol.parse(found["protocol"])
    assert protocol.weights is None and protocol.preprocessing == "own size, RGB"


def test_a_source_as_images(scores):
    found = scores("--images", "digits:test", "--data", "digits:train", "--metrics", "fid,intra_fid")
    assert (found["num_samples"], found["num_reference"]) == (450, 1347) and found["intra_fid"] > found["fid"]
    fewer = scores("--images", "digits:test", "--data", "digits:train", "--num_samples", 100, "--num_reference", 200)
    rows = [open_source(f"digits:{part}").read_many(np.arange(n) * total // n) for part, n, total in PARTS]
    np.testing.assert_allclose(fewer["fid"], distance(*rows), rtol=1e-5)


def test_folders_that_cannot_be_evaluated(mistake, tmp_path):
    good = pictures(tmp_path / "good", RNG.integers(0, 256, (6, 8, 8, 3), np.uint8))
    one = pictures(tmp_path / "one", RNG.integers(0, 256, (1, 8, 8, 3), np.uint8))
    mixed = pictures(tmp_path / "mixed", RNG.integers(0, 256, (2, 8, 8, 3), np.uint8))
    pictures(mixed, RNG.integers(0, 256, (2, 8, 9, 4), np.uint8), start=2)
    (tmp_path / "none").mkdir()
    data = ("--data", f"folder:{good}")
    assert "hold no image" in mistake("--images", tmp_path / "none", *data)
    assert "one has 1 image and needs at least 2" in mistake("--images", one, *data)
    text = mistake("--images", mixed, *data)
    assert "000.png is 8 x 8 and" in text and "002.png is 8 x 9 pixels" in text
    assert "/absent is no folder, no .npz file and no source" in mistake("--images", tmp_path / "absent", *data)
    assert "--num_samples (=7) must be at most 6" in mistake("--images", good, *data, "--num_samples", 7)
    assert "intra_fid needs the classes of the evaluated" in mistake("--images", good, *data, "--metrics", "intra_fid")


def test_features_without_a_network(scores, tmp_path, calls):
    a, b = RNG.normal(size=(30, 6)), RNG.normal(1, 1, size=(40, 6))
    np.savez(tmp_path / "a.npz", features=a, logits=a[:, :4])
    np.savez(tmp_path / "b.npz", features=b)
    whole = ("--kid_subsets", 1, "--kid_subset_size", 40)
    found = scores(
        "--images", tmp_path / "a.npz", "--data", tmp_path / "b.npz", "--metrics", "fid,is,kid,prdc", *whole
    )  # fmt: skip
    wanted = frechet_distance(b.mean(0), np.cov(b, rowvar=False), a.mean(0), np.cov(a, rowvar=False))
    np.testing.assert_allclose(found["fid"], wanted, rtol=1e-9)
    assert found["is"] == inception_score(a[:, :4])[0] and found["kid_std"] == 0
    np.testing.assert_allclose(found["kid"], kid(b, a, subsets=1, subset_size=40)[0], rtol=1e-9)
    assert found["recall"] == prdc(b, a)["recall"] and not calls
    assert Protocol.parse(found["protocol"]).dims == 6 and found["num_reference"] == 40
    alone = scores("--images", tmp_path / "a.npz", "--metrics", "is")
    assert alone["is"] == found["is"] and alone["num_reference"] is None


def test_few_features_warn_and_say_so_in_the_protocol(evaluate, tmp_path):
    np.savez(tmp_path / "a.npz", features=RNG.normal(size=(5, 6)))
    code, out, err = evaluate("--images", tmp_path / "a.npz", "--data", tmp_path / "a.npz", "--json")
    assert code == 0 and "FID is biased upwards: 5 generated images cannot determine" in err
    assert "5 generated images cannot determine" in str(Protocol.parse(json.loads(out)["protocol"]).notes)


def test_mistakes_with_features(mistake, tmp_path):
    np.savez(tmp_path / "a.npz", features=RNG.normal(size=(30, 6)))
    np.savez(tmp_path / "b.npz", features=RNG.normal(size=(30, 7)))
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    assert "of 6 dimensions cannot be compared with reference features of 7" in mistake(
        "--images", a, "--data", b, "--metrics", "kid", "--kid_subset_size", 9
    )
    assert "has 6 features and --feature_dims is 64" in mistake("--images", a, "--data", a, "--feature_dims", 64)
    assert "no array `logits`, which the metric is needs" in mistake("--images", a, "--metrics", "is")
    assert "cas needs images" in mistake("--images", a, "--data", a, "--metrics", "cas")
    assert "--resizer is for images" in mistake("--images", a, "--data", a, "--resizer", "tf1")
    assert "must both be .npz files" in mistake("--images", a, "--data", "digits")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--metrics", "fid,fdi"), "metrics (='fdi') must be some of fid,is,kid,prdc,intra_fid,cas"),
        (("--step", "last"), "--step (='last') must be latest, all, or the number of a checkpoint."),
        (("--step", "5"), "no checkpoint of step 5; there are 3, 20, 100"),
        (("--bn", "standing:0"), "--bn (='standing:0') must be running or standing:N"),
        (("--weights", "ema"), "keeps no averaged weights"),
        (("--truncation", "0"), "truncation (=0.0) must be a positive number"),
        (("--truncation_curve", "1,x"), "--truncation_curve (='1,x') must be numbers"),
        (("--truncation_curve", "1", "--truncation", "1"), "exclude each other"),
        (("--num_samples", "0"), "step 100 has 0 images and needs at least 2"),
        (("--metrics", "kid"), "kid_subset_size (=1000) must be at most 25"),
        (("--data", "folder:/no/such"), "/no/such"),
        (("--num_reference", "2000"), "num_reference (=2000) must be at most 1797"),
        (("--seed", "-1"), "seed (=-1) must be"),
        (("--batch_size", "0"), "batch_size (=0) must be at least 1"),
        (("--k", "x"), "argument --k: invalid int value"),
    ],
)
def test_mistakes_with_a_run(mistake, workdir, args, text):
    assert text in mistake("--workdir", workdir, *args)
    assert not (workdir / "evaluations.jsonl").exists()


def test_mistakes_of_another_kind(mistake, copy, tmp_path):
    assert "one of the arguments --workdir --images is required" in mistake()
    assert "--data is missing; fid needs real images" in mistake("--images", tmp_path)
    assert "--step belongs to --workdir" in mistake("--images", tmp_path, "--data", "digits", "--step", "3")
    assert "is not a workdir of jaxgan" in mistake("--workdir", tmp_path)
    config = json.loads((copy / "config.json").read_text())
    config["data"]["source"] = "folder:/gone"
    (copy / "config.json").write_text(json.dumps(config))
    text = mistake("--workdir", copy)
    assert "the run's training images cannot be read" in text and "Name others by --data." in text
