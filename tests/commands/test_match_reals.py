"""Real images for comparison: read in order, whole, ahead of time, and named by the run's classes."""

import dataclasses
import types

import numpy as np
import pytest
from PIL import Image

from jaxgan.commands import match_embedding
from jaxgan.commands.errors import CommandError
from jaxgan.commands.match_reals import Reals
from jaxgan.data.errors import DataError
from jaxgan.evaluation.errors import EvaluationError
from tests.tiny_run import CONFIG, DATA

DIGITS = dataclasses.replace(DATA, num_classes=10, class_names=tuple("0123456789"))


def fake_run(data=DIGITS, **settings):
    """What `Reals` looks at of a run."""
    config = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, **settings))
    return types.SimpleNamespace(config=config, data=data)


@pytest.fixture(scope="module")
def reals():
    return Reals(fake_run())


@pytest.mark.parametrize("batch_size", [1, 7, 40, 64])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_every_image_once_and_in_order(batch_size, num_threads):
    reals = Reals(fake_run(num_threads=num_threads))
    asked = np.arange(3, 120, 3)
    batches = list(reals.batches(asked, batch_size))
    assert [len(batch.indices) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    np.testing.assert_array_equal(np.concatenate([batch.indices for batch in batches]), asked)
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in batches]), reals.source.images[asked])
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), reals.source.labels[asked])


def test_few_batches_are_read_ahead(reals, monkeypatch):
    read = []
    original = Reals._read
    monkeypatch.setattr(Reals, "_read", lambda self, indices: read.append(len(indices)) or original(self, indices))
    batches = reals.batches(np.arange(len(reals)), 10)
    next(batches)
    assert len(read) <= 4, "memory does not grow with the source"
    batches.close()
    assert len(read) <= 4


def test_images_come_as_the_run_was_trained_on(tmp_path):
    Image.new("RGB", (30, 20), (250, 0, 0)).save(tmp_path / "a.png")
    reals = Reals(fake_run(resolution=8, channels=1), f"folder:{tmp_path}")
    (batch,) = reals.batches(np.arange(1), 4)
    assert batch.images.shape == (1, 8, 8, 1) and (batch.images == 75).all(), "the luma of that red"
    assert reals.preprocessing() == "crop=center, size=8x8, channels=1"
    assert Reals(fake_run(width=6)).preprocessing() == "crop=center, size=8x6, channels=1"
    assert reals.name == f"folder:{tmp_path}" and len(reals) == 1 and reals.class_names == ()


def test_an_unreadable_image_stops_unless_the_run_leaves_such_out(tmp_path, monkeypatch):
    for i in range(4):
        Image.new("L", (8, 8), 60 * i).save(tmp_path / f"{i}.png")
    data = (tmp_path / "1.png").read_bytes()
    for skip in (False, True):
        (tmp_path / "1.png").write_bytes(data)
        reals = Reals(fake_run(skip_corrupt=skip), f"folder:{tmp_path}")
        (tmp_path / "1.png").write_bytes(data[:20])  # broken only after the check of all headers
        if not skip:
            with pytest.raises(DataError, match=r"1\.png"):
                list(reals.batches(np.arange(4), 2))
            continue
        batches = list(reals.batches(np.arange(4), 2))
        assert [list(batch.indices) for batch in batches] == [[0], [2, 3]]
        assert [int(image.mean()) for batch in batches for image in batch.images] == [0, 120, 180]


def test_images_of_classes(reals):
    labels = reals.source.labels
    np.testing.assert_array_equal(reals.indices_of({3, 8}), [i for i in range(len(reals)) if labels[i] in (3, 8)])


def test_classes_of_the_run_in_the_source():
    same, reversed_names = Reals(fake_run()), dataclasses.replace(DIGITS, class_names=tuple("9876543210"))
    assert [same.class_id(i) for i in (0, 9)] == [0, 9]
    assert [Reals(fake_run(reversed_names)).class_id(i) for i in (0, 9)] == [9, 0]
    nameless = Reals(fake_run(dataclasses.replace(DIGITS, num_classes=12, class_names=())))
    assert nameless.class_id(9) == 9
    with pytest.raises(CommandError, match=r"digits has no class 11 \(its classes are 0, 1, 2, 3, 4, ...\)"):
        nameless.class_id(11)
    with pytest.raises(CommandError, match="digits has no class 'cat'.*pass --any_class"):
        Reals(fake_run(DATA)).class_id(0)
    with pytest.raises(CommandError, match=r"has no class 0 \(no labels\)|has no class '0' \(no labels\)"):
        Reals(fake_run(labels=False)).class_id(0)


def flags(**given):
    default = {"extractor": "inception", "feature_dims": 192, "inception_weights": None, "batch_size": 8, "seed": 3}
    return types.SimpleNamespace(**default | given)


@pytest.mark.parametrize(
    ("flag", "configured", "expected"), [("a", "b", "a"), (None, "b", "b"), (None, "", None), ("a", "", "a")]
)
def test_weights_of_inception_by_flag_or_by_the_runs_settings(reals, monkeypatch, flag, configured, expected):
    asked = {}
    monkeypatch.setattr(match_embedding, "inception_extractor", lambda **given: asked.update(given))
    match_embedding.make_extractor(flags(inception_weights=flag), reals, configured=configured)
    assert asked == {"dims": 192, "weights": expected, "batch_size": 8}


def test_without_weights_the_ways_out_are_named(reals, monkeypatch):
    def fail(**_):
        raise EvaluationError("They are not there.")

    monkeypatch.setattr(match_embedding, "inception_extractor", fail)
    with pytest.raises(
        CommandError, match="They are not there; or pass --extractor classifier .* or --extractor pixels"
    ):
        match_embedding.make_extractor(flags(), reals)


def test_pixels_are_their_own_features(reals):
    images = reals.source.images[:3]
    features = match_embedding.make_extractor(flags(extractor="pixels"), reals)(images).features
    np.testing.assert_allclose(features, images.reshape(3, 64) / 255, rtol=1e-6)


def test_the_classifier_learns_from_a_part_that_fits_into_memory(reals, monkeypatch):
    seen = {}

    def train(images, labels, **given):
        seen.update(images=images, labels=labels, **given)

    monkeypatch.setattr(match_embedding, "train_classifier", train)
    monkeypatch.setattr(match_embedding, "_TRAINING_BYTES", 100 * 64)
    match_embedding.make_extractor(flags(extractor="classifier"), reals)
    assert seen["images"].shape == (100, 8, 8, 1) and seen["num_classes"] == 10 and seen["seed"] == 3
    assert len(set(seen["labels"])) == 10, "spread over the source, which may be sorted by class"
