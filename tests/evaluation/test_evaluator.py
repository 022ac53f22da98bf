"""The evaluator computes what its parts compute on all features at once, says under which protocol, and reads the
reference once."""

import dataclasses

import numpy as np
import pytest
from absl import logging

from jaxgan.evaluation import evaluator as evaluator_lib
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.evaluator import Evaluator
from jaxgan.evaluation.features import CallableExtractor
from jaxgan.evaluation.image_sets import RealImages
from jaxgan.evaluation.inception_score import inception_score
from jaxgan.evaluation.intra_fid import intra_fid
from jaxgan.evaluation.kid import kid
from jaxgan.evaluation.prdc import prdc
from jaxgan.evaluation.protocol import Protocol, differences
from jaxgan.evaluation.reference import ReferenceCache
from jaxgan.evaluation.settings import METRICS, Settings
from jaxgan.evaluation.small_classifier import SmallClassifier

linalg = pytest.importorskip("scipy.linalg")

RNG = np.random.default_rng(2)
WEIGHTS = RNG.normal(size=(64, 4))
MATHS = ("fid", "is", "kid", "prdc", "intra_fid")
SETTINGS = Settings(
    metrics=MATHS, batch_size=16, kid_subsets=3, kid_subset_size=20, k=3, is_splits=2, kid_seed=5, classifier_steps=2
)


def image_set(seed, num, name, names=("a", "b"), brightness=0):
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 200, (num, 8, 8, 1), np.uint8), rng.integers(0, 2, num, np.int32)
    images += (brightness + 20 * labels[:, None, None, None]).astype(np.uint8)
    return RealImages(name, num, num, f"print of {name}", "none", names, lambda rows: (images[rows], labels[rows]))


REAL, FAKE = image_set(0, 50, "real"), image_set(1, 41, "fake", brightness=9)


class Extractor(CallableExtractor):
    """A projection that counts the images it sees."""

    def __init__(self, name="projection"):
        super().__init__(name, self.project)
        self.count = 0

    def project(self, images):
        self.count += len(images)
        features = images.reshape(len(images), -1).astype(np.float64) / 255 @ WEIGHTS
        return features, features[:, :3]


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: found.append(text % args))
    return found


def all_at_once(images):
    pixels, labels = images.gather(np.arange(images.num))
    features, logits = (array.astype(np.float32) for array in Extractor().project(pixels))
    return features, logits, labels


def test_every_score_is_that_of_all_features_at_once(warnings):
    found = Evaluator(SETTINGS, REAL, extractor=Extractor(), show=False).evaluate(FAKE).values
    real, _, real_labels = all_at_once(REAL)
    fake, logits, fake_labels = all_at_once(FAKE)
    cov = [np.cov(x.astype(np.float64), rowvar=False) for x in (real, fake)]
    mean = [x.astype(np.float64).mean(0) for x in (real, fake)]
    distance = np.sum((mean[0] - mean[1]) ** 2) + np.trace(cov[0] + cov[1] - 2 * linalg.sqrtm(cov[0] @ cov[1]).real)
    np.testing.assert_allclose(found["fid"], distance, rtol=1e-5)
    wanted = dict(zip(("is", "is_std"), inception_score(logits, splits=2), strict=True))
    wanted |= dict(zip(("kid", "kid_std"), kid(real, fake, subsets=3, subset_size=20, seed=5), strict=True))
    wanted |= prdc(real, fake, k=3)
    wanted["intra_fid"] = intra_fid(real, real_labels, fake, fake_labels).score
    assert set(found) == {"fid", *wanted} and not warnings
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-9, err_msg=name)


def test_the_batch_size_changes_nothing():
    small = dataclasses.replace(SETTINGS, batch_size=7, metrics=("fid", "kid"))
    large = dataclasses.replace(small, batch_size=1000)
    a, b = (Evaluator(s, REAL, extractor=Extractor(), show=False).evaluate(FAKE).values for s in (small, large))
    np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-6)


def test_the_protocol_says_what_the_scores_depend_on():
    evaluator = Evaluator(SETTINGS, REAL, extractor=Extractor(), show=False)
    scores = evaluator.evaluate(FAKE, weights="ema", bn="standing:4", truncation="0.5", seed=3)
    wanted = Protocol(
        extractor="projection", dims=4, reference="real", fingerprint="print of real", preprocessing="none",
        num_reference=50, num_samples=41, weights="ema", bn="standing:4", truncation="0.5", seed=3, is_splits=2,
        kid_subsets=3, kid_subset_size=20, k=3,
    )  # fmt: skip
    assert scores.protocol == wanted
    assert evaluator.protocol(FAKE, weights="ema", bn="standing:4", truncation="0.5", seed=3) == wanted
    tree = scores.to_json()
    assert list(tree)[:4] == ["fid", "is", "is_std", "kid"] and tree["num_samples"] == 41
    assert tree["num_reference"] == 50 and Protocol.parse(tree["protocol"]) == wanted
    only_fid = Evaluator(Settings(), REAL, extractor=Extractor(), show=False).protocol(FAKE)
    assert (only_fid.k, only_fid.kid_subsets, only_fid.is_splits, only_fid.classifier) == (None,) * 4
    assert differences(only_fid, wanted) == {}


def test_reasons_not_to_trust_a_score_are_told_once_and_kept(warnings):
    few = image_set(3, 3, "few")
    evaluator = Evaluator(Settings(), REAL, extractor=Extractor(), show=False)
    first, second = evaluator.evaluate(few), evaluator.evaluate(few)
    assert len(warnings) == 1 and "3 generated images cannot determine the covariance of 4 features" in warnings[0]
    assert first.protocol == second.protocol and "3 generated images" in str(first.protocol.notes)


def test_the_reference_is_read_once(tmp_path):
    cache, total = ReferenceCache(tmp_path), REAL.num + FAKE.num

    def evaluate(extractor, metrics=("fid",), reference=REAL, times=1):
        settings = dataclasses.replace(SETTINGS, metrics=metrics)
        evaluator = Evaluator(settings, reference, extractor=extractor, cache=cache, show=False)
        before = extractor.count
        values = [evaluator.evaluate(FAKE).values for _ in range(times)]
        assert all(value == values[0] for value in values)
        return extractor.count - before - 1, values[0]  # one image tells the number of features

    extractor = Extractor()
    first, value = evaluate(extractor, times=2)
    assert first == total + FAKE.num
    assert evaluate(extractor) == (FAKE.num, value), "from the disk"
    assert evaluate(extractor, ("kid", "intra_fid"))[0] == total, "features and labels were not kept"
    assert evaluate(extractor, ("kid", "intra_fid"))[0] == FAKE.num
    assert evaluate(extractor, ("fid",)) == (FAKE.num, value)
    assert evaluate(Extractor("another"))[0] == total
    assert evaluate(extractor, reference=dataclasses.replace(REAL, fingerprint="other content"))[0] == total
    assert evaluate(extractor, reference=dataclasses.replace(REAL, preprocessing="cropped"))[0] == total
    unlabelled = dataclasses.replace(REAL, fingerprint="without classes", class_names=())
    counts = [evaluate(extractor, (metric,), unlabelled)[0] for metric in ("fid", "kid", "kid", "fid")]
    assert counts == [total, total, FAKE.num, FAKE.num]


def test_an_entry_that_another_process_lacks_is_not_used(tmp_path, monkeypatch):
    """One process would compute, which takes all of them, while the others go on."""
    cache, extractor = ReferenceCache(tmp_path), Extractor()
    Evaluator(Settings(), REAL, extractor=extractor, cache=cache, show=False).evaluate(FAKE)
    monkeypatch.setattr(evaluator_lib, "_everywhere", lambda here: False)
    before = extractor.count
    Evaluator(Settings(), REAL, extractor=extractor, cache=cache, show=False).evaluate(FAKE)
    assert extractor.count - before == 1 + REAL.num + FAKE.num


def test_the_small_classifier_gives_features_and_the_accuracy_score():
    settings = dataclasses.replace(SETTINGS, metrics=tuple(METRICS), extractor="classifier")
    evaluator = Evaluator(settings, REAL, show=False)
    scores = evaluator.evaluate(FAKE)
    assert isinstance(evaluator._extractor, SmallClassifier)
    assert scores.protocol.extractor == evaluator._extractor.name and scores.protocol.dims == 64
    assert scores.protocol.classifier == "small-classifier, 2 steps" and scores.protocol.resizer is None
    assert set(scores.values) == set(settings.score_names) and 0 <= scores.values["cas"] <= 1


def test_the_accuracy_score_trains_on_generated_images_and_needs_no_network(monkeypatch):
    seen = {}

    def accuracy_score(generated, test, *, num_classes, **options):
        seen.update(generated=generated, test=test, num_classes=num_classes)
        return type("Result", (), {"accuracy": 0.75})()

    monkeypatch.setattr(evaluator_lib, "classification_accuracy_score", accuracy_score)
    scores = Evaluator(Settings(metrics=("cas",)), REAL, show=False).evaluate(FAKE)
    assert scores.values == {"cas": 0.75} and scores.protocol.extractor == "none" and scores.protocol.dims == 0
    for part, images in (("generated", FAKE), ("test", REAL)):
        pixels, labels = images.gather(np.arange(images.num))
        assert np.array_equal(seen[part][0], pixels) and np.array_equal(seen[part][1], labels)
    assert seen["num_classes"] == 2


def test_the_inception_score_needs_no_reference():
    scores = Evaluator(dataclasses.replace(SETTINGS, metrics=("is",)), None, extractor=Extractor()).evaluate(FAKE)
    assert set(scores.values) == {"is", "is_std"} and scores.to_json()["num_reference"] is None
    with pytest.raises(EvaluationError, match="fid needs real images to compare with; name them by --data"):
        Evaluator(Settings(), None, extractor=Extractor())


def test_absent_weights_show_before_anything_is_evaluated(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_INCEPTION_WEIGHTS", str(tmp_path / "absent.pth"))
    with pytest.raises(EvaluationError, match="absent.pth, which is not a file"):
        Evaluator(Settings(), REAL)
    with pytest.raises(EvaluationError, match=r"feature_dims \(=5\)"):
        Evaluator(Settings(feature_dims=5), REAL)


@pytest.mark.parametrize(
    ("metrics", "images", "text"),
    [
        ("kid", image_set(4, 19, "tiny"), r"kid_subset_size \(=20\) must be at most 19"),
        ("fid", image_set(4, 1, "lonely"), "lonely has 1 image and needs at least 2"),
        ("intra_fid", image_set(4, 41, "nameless", ()), "intra_fid needs the classes of the evaluated images"),
        ("intra_fid", image_set(4, 41, "x", ("b", "a")), r"x has 2 \(b, a\) and real 2 \(a, b\); give a --data with"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_at_once(metrics, images, text):
    extractor = Extractor()
    with pytest.raises(EvaluationError, match=text):
        Evaluator(dataclasses.replace(SETTINGS, metrics=(metrics,)), REAL, extractor=extractor).evaluate(images)
    assert extractor.count == 0
