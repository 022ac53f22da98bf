"""Scores of translations: which images are compared with which, held-out ones first, the same numbers in training."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import CheckpointConfig, ConfigError, EvalConfig
from jaxgan.core import sharding
from jaxgan.data.pipeline import open_dataset
from jaxgan.evaluation import records, translations
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.features import CallableExtractor
from jaxgan.evaluation.fid import frechet_distance
from jaxgan.evaluation.image_sets import TranslatedImages
from jaxgan.evaluation.in_training import TrainingEvaluator
from jaxgan.evaluation.protocol import Protocol
from jaxgan.evaluation.settings import Settings
from jaxgan.evaluation.translations import TranslationEvaluator, held_out, mean_scores, open_domains
from jaxgan.generation.images import to_uint8
from jaxgan.generation.run import open_run
from jaxgan.generation.translate import make_translator
from jaxgan.methods.base import initial_state
from tests.tiny_run import TRANSLATING, write_run
from tests.two_domains import write_domains

COUNTS = {"trainA": 6, "trainB": 5, "testA": 9, "testB": 8}
EXTRACTOR = CallableExtractor("corner", lambda images: images[:, :2, :2, 0].reshape(-1, 4) / 255)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp("domains"), COUNTS)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def config_of(root, **groups):
    data = dataclasses.replace(TRANSLATING.data, source=f"unpaired:{root}", crop="random:10", flip=True)
    chosen = {"eval": EvalConfig(every_steps=1, metrics=("fid",))} | groups
    return dataclasses.replace(TRANSLATING, data=data, **chosen)


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    config = config_of(root)
    return open_run(write_run(tmp_path_factory.mktemp("run"), config, open_dataset(config.data).spec))


def pixels(domain, split="test"):
    return np.concatenate([batch for batch, _ in domain.batches(100)])


def distance(a, b):
    a, b = (EXTRACTOR(images).features.astype(np.float64) for images in (a, b))
    return frechet_distance(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))


def test_the_images_held_out(root, tmp_path):
    assert held_out(f"unpaired:{root}") == held_out(f"unpaired:{root}:train") == f"unpaired:{root}:test"
    assert held_out(f"unpaired:{root}:test") == f"unpaired:{root}:test"
    for source in (f"unpaired:{tmp_path}", "own", "digits", f"aligned:{tmp_path}:val"):
        assert held_out(source) == source
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
    assert held_out(f"aligned:{tmp_path}") == held_out(f"aligned:{tmp_path}:train") == f"aligned:{tmp_path}:val"
    (tmp_path / "test").mkdir()
    assert held_out(f"aligned:{tmp_path}") == f"aligned:{tmp_path}:test"
    (tmp_path / "testB").mkdir()
    assert held_out(f"unpaired:{tmp_path}") == f"unpaired:{tmp_path}:test", "half of it is an error, not a reason"


def test_whole_unflipped_images_of_both_domains(root):
    data = dataclasses.replace(config_of(root).data, source=f"unpaired:{root}:test", paired=True)
    domains = open_domains(data)
    assert (domains.a.num, domains.b.num, domains.split) == (9, 8, "test"), "pairs play no part"
    assert domains.a.name == f"A of unpaired:{root}:test" and domains.a.fingerprint != domains.b.fingerprint
    assert domains.a.preprocessing == "crop=none, size=8x12, channels=3"
    assert pixels(domains.a).shape == (9, 8, 12, 3) and pixels(domains.b).mean() > pixels(domains.a).mean() + 50
    assert domains.ends("a2b") == (domains.a, domains.b) and domains.ends("b2a") == (domains.b, domains.a)
    assert open_domains(config_of(root).data).split == "train"
    with pytest.raises(EvaluationError, match="--data folder:x has one domain.*give unpaired:PATH"):
        open_domains(dataclasses.replace(data, source="folder:x"))


def test_translations_are_compared_with_the_domain_they_lead_to(run, root):
    domains = open_domains(dataclasses.replace(run.config.data, source=f"unpaired:{root}:test"))
    evaluator = TranslationEvaluator(Settings(), domains, run.directions, extractor=EXTRACTOR)
    found = {}
    for direction, inputs, reference in (("a2b", domains.a, domains.b), ("b2a", domains.b, domains.a)):
        images = evaluator.images(direction, "step 3", run, run.variables())
        translated = to_uint8(run.translate(pixels(inputs), direction))
        batches = [batch for batch, _ in images.batches(4)]
        assert [len(batch) for batch in batches][:2] == [4, 4] and images.num == len(np.concatenate(batches))
        assert np.abs(np.concatenate(batches).astype(int) - translated).max() <= 1
        scores = evaluator.evaluate(images, weights="ema")
        found[direction] = scores.values["fid"]
        assert found[direction] == pytest.approx(distance(translated, pixels(reference)), abs=5e-3)
        assert evaluator.baseline(direction) == pytest.approx({"fid": distance(pixels(domains.a), pixels(domains.b))})
        protocol = scores.protocol
        assert (protocol.direction, protocol.split, protocol.weights, protocol.bn) == (direction, "test", "ema", None)
        assert (protocol.inputs, protocol.fingerprint) == (inputs.fingerprint, reference.fingerprint)
        assert dataclasses.replace(protocol, notes=None) == evaluator.protocol(images, weights="ema")
    assert abs(found["a2b"] - found["b2a"]) > 1e-3


def test_the_dropout_of_an_image_depends_on_its_number(run, root):
    """Not on its place within a batch."""
    domains = open_domains(dataclasses.replace(run.config.data, source=f"unpaired:{root}:test"))

    class Numbered:
        def translate(self, nets, images, direction, keys):
            return images * 0 + jax.vmap(lambda key: jax.random.uniform(key, ()))(keys)[:, None, None, None]

    translator = make_translator(Numbered(), {}, scaling="symmetric", sharding=sharding.replicated(run.mesh))
    source = types.SimpleNamespace(mesh=run.mesh, translator=translator, directions=("a2b",), data=run.data)
    images = TranslatedImages("numbers", domains.a, "a2b", source, {}, seed=1)
    whole, parts = (np.concatenate([batch for batch, _ in images.batches(size)]) for size in (9, 2))
    np.testing.assert_array_equal(whole, parts)
    assert len(np.unique(whole[:, 0, 0, 0])) == 9


def test_fewer_images(run, root):
    domains = open_domains(dataclasses.replace(run.config.data, source=f"unpaired:{root}:test"))
    options = {"extractor": EXTRACTOR}
    evaluator = TranslationEvaluator(Settings(), domains, ("a2b", "b2a"), nums=(7, 6), **options)
    assert {one.num for one in evaluator.inputs.values()} == {7}
    assert {one.reference.num for one in evaluator.evaluators.values() if one.reference} == {6}
    capped = TranslationEvaluator(Settings(), domains, ("a2b", "b2a"), at_most=8, **options)
    assert {direction: one.num for direction, one in capped.inputs.items()} == {"a2b": 8, "b2a": 8}
    for nums, text in (
        ((9, 0), r"num_samples \(=9\) must be at most 8, the images of B of"),
        ((0, 9), "num_reference"),
    ):
        with pytest.raises(EvaluationError, match=text):
            TranslationEvaluator(Settings(), domains, ("a2b", "b2a"), nums=nums, **options)
    with pytest.raises(EvaluationError, match=r"kid_subset_size \(=1000\) must be at most 8"):
        TranslationEvaluator(Settings(metrics=("kid",)), domains, ("a2b",), **options)
    with pytest.raises(EvaluationError, match="cas needs the classes"):
        TranslationEvaluator(Settings(metrics=("cas",)), domains, ("a2b",), **options)
    alone = TranslationEvaluator(Settings(metrics=("is",), is_splits=2), domains, ("a2b",), at_most=9, **options)
    assert alone.evaluators["a2b"].reference is None


def test_means_over_the_directions():
    found = mean_scores({"a2b": {"kid": 1.0, "kid_std": 0.5}, "b2a": {"kid": 3.0, "kid_std": 0.25}})
    assert found == {"a2b_kid": 1.0, "a2b_kid_std": 0.5, "b2a_kid": 3.0, "b2a_kid_std": 0.25, "kid": 2.0}
    assert mean_scores({"b2a": {"fid": 4.0}}) == {"b2a_fid": 4.0, "fid": 4.0}


def state_of(run, step):
    """The state of a training that has just the weights of an opened run."""
    state, networks = initial_state(run.method, seed=0, sharding=sharding.replicated(run.mesh))
    nets = {
        name: net.replace(params=run.nets[name].params, stats=run.nets[name].stats) for name, net in state.nets.items()
    }
    return state.replace(step=jnp.int32(step), nets=nets, ema=dict(run.ema)), networks


def test_in_training_as_afterwards(run, root, tmp_path):
    config = config_of(root)
    evaluate = TrainingEvaluator(config, tmp_path, open_dataset(config.data), extractor=EXTRACTOR)
    state, networks = state_of(run, 3)
    records.write(tmp_path, {"step": 5, "protocol": "of a training that was set back"})
    scores = evaluate(state, networks)
    domains = open_domains(dataclasses.replace(config.data, source=f"unpaired:{root}:test"))
    later = TranslationEvaluator(Settings(), domains, run.directions, extractor=EXTRACTOR)
    expected = {}
    for direction in run.directions:
        found = later.evaluate(later.images(direction, "later", run, run.variables()), weights="ema")
        expected[direction] = found.values["fid"]
    assert scores == {"a2b_fid": expected["a2b"], "b2a_fid": expected["b2a"], "fid": sum(expected.values()) / 2}
    written = records.read(tmp_path)
    assert [(one["step"], one["direction"], one["fid"]) for one in written] == [
        (3, "a2b", expected["a2b"]), (3, "b2a", expected["b2a"]),
    ]  # fmt: skip
    assert (written[0]["weights"], written[0]["num_samples"], written[0]["num_reference"]) == ("ema", 9, 8)
    assert Protocol.parse(written[0]["protocol"]).split == "test" and "bn" not in written[0]
    evaluate(state.replace(step=jnp.int32(4), ema={}), networks)
    assert [(one["step"], one["weights"]) for one in records.read(tmp_path)] == [
        (3, "ema"), (3, "ema"), (4, "raw"), (4, "raw"),
    ]  # fmt: skip


def test_without_held_out_images_those_of_the_training(tmp_path):
    root = write_domains(tmp_path / "data", {"trainA": 6, "trainB": 5})
    config = config_of(root, eval=EvalConfig(every_steps=1, metrics=("fid",), num_samples=5))
    found = TrainingEvaluator(config, tmp_path, open_dataset(config.data), extractor=EXTRACTOR)._translations
    assert isinstance(found, TranslationEvaluator) and found.domains.split == "train"
    assert {one.num for one in found.inputs.values()} == {5}


@pytest.mark.parametrize(
    ("best", "lower", "text"),
    [
        ("kid", True, r"best_metric \(='kid'\) must be one of .*\(a2b_fid, b2a_fid, fid\)"),
        ("b2a_fid", False, "would keep the worst by 'b2a_fid'; set it to True"),
        ("fid", True, ""),
        ("a2b_fid", True, ""),
    ],
)
def test_scores_that_may_keep_the_best(root, tmp_path, best, lower, text):
    config = config_of(root, checkpoint=CheckpointConfig(best_metric=best, best_is_lower=lower))
    dataset = open_dataset(config.data)
    if not text:
        TrainingEvaluator(config, tmp_path, dataset, extractor=EXTRACTOR)
        return
    with pytest.raises(ConfigError, match=text):
        TrainingEvaluator(config, tmp_path, dataset, extractor=EXTRACTOR)


def test_it_needs_two_domains_of_some_size(root, tmp_path):
    small = write_domains(tmp_path / "small", {"trainA": 6, "trainB": 6, "testA": 3, "testB": 1})
    config = config_of(small)
    with pytest.raises(EvaluationError, match="has 1 image and needs at least 2"):
        TrainingEvaluator(config, tmp_path, open_dataset(config.data), extractor=EXTRACTOR)
    with pytest.raises(ConfigError, match="or that translate between the domains of their data"):
        dataset = open_dataset(config_of(root).data)
        TrainingEvaluator(config_of(root), tmp_path, dataset, extractor=EXTRACTOR, method=object())  # type: ignore
    assert translations.INPUT == "input"
