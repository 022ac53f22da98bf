"""Evaluation within a training: averaged weights, the same numbers as afterwards, mistakes before the first step."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import CheckpointConfig, ConfigError, DataConfig, EmaConfig, EvalConfig
from jaxgan.core import sharding
from jaxgan.core.state import init_state
from jaxgan.data.pipeline import Dataset
from jaxgan.data.source import ArraySource
from jaxgan.evaluation import in_training, records
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.evaluator import Evaluator
from jaxgan.evaluation.features import CallableExtractor
from jaxgan.evaluation.image_sets import GeneratedImages, from_dataset
from jaxgan.evaluation.in_training import TrainingEvaluator
from jaxgan.evaluation.protocol import Protocol
from jaxgan.generation.run import open_run
from jaxgan.methods.registry import build_method
from tests.tiny_run import PERCEPTRON, write_run

CONFIG = dataclasses.replace(
    PERCEPTRON,
    data=DataConfig(source="mine", resolution=8, channels=1, flip=True),
    ema=EmaConfig(halflife_images=50),
    eval=EvalConfig(every_steps=1, num_samples=30, metrics=("fid",)),
)
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (40, 8, 8, 1), np.uint8), RNG.integers(0, 5, 40)
DATASET = Dataset(ArraySource("mine", IMAGES, LABELS, "abcde"), CONFIG.data)
EXTRACTOR = CallableExtractor("corner", lambda images: images[:, :2, :2, 0].reshape(-1, 4) / 255)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "jaxgan" / "reference"


def build(tmp_path, config=CONFIG, dataset=DATASET, extractor=EXTRACTOR):
    return TrainingEvaluator(config, tmp_path, dataset, extractor=extractor)


def change(**groups):
    return dataclasses.replace(CONFIG, **groups)


def state_of(run, step):
    """The state of a training that has just the weights of an opened run."""
    specs = run.method.networks
    state, networks = init_state(
        {name: spec.build for name, spec in specs.items()},
        {name: spec.tx for name, spec in specs.items()},
        ("g",),
        run.method.init_aux,
        seed=0,
        sharding=sharding.replicated(run.mesh),
    )
    nets = {
        name: net.replace(params=run.nets[name].params, stats=run.nets[name].stats) for name, net in state.nets.items()
    }
    return state.replace(step=jnp.int32(step), nets=nets, ema=dict(run.ema)), networks


def test_it_scores_as_an_evaluation_afterwards_does(tmp_path, cache):
    run = open_run(write_run(tmp_path / "run", CONFIG, DATASET.spec))
    state, networks = state_of(run, 3)
    evaluate = build(tmp_path / "run")
    scores = evaluate(state, networks)
    evaluator = Evaluator(in_training.settings_of(CONFIG), from_dataset(DATASET, CONFIG.data), extractor=EXTRACTOR)

    def afterwards(weights):
        images = GeneratedImages("later", 30, run, run.variables(weights))
        about = {"weights": weights, "bn": "running", "truncation": "none", "seed": 0}
        return evaluator.evaluate(images, **about)

    later = afterwards("ema")
    assert scores == later.values and set(scores) == {"fid"}, "to the last bit"
    assert abs(scores["fid"] - afterwards("raw").values["fid"]) > 1e-6, "averaged weights are not the raw ones"
    (record,) = records.read(tmp_path / "run")
    assert record["step"] == 3 and record["fid"] == scores["fid"] and record["truncation"] is None
    assert (record["weights"], record["bn"], record["num_samples"], record["num_reference"]) == (
        "ema",
        "running",
        30,
        40,
    )
    assert Protocol.parse(record["protocol"]) == later.protocol and record["time"].endswith("+00:00")
    assert len(list(cache.iterdir())) == 1, "the reference is kept"

    raw = evaluate(state.replace(step=jnp.int32(2), ema={}), networks)
    assert raw == afterwards("raw").values
    assert [(found["step"], found["weights"]) for found in records.read(tmp_path / "run")] == [(2, "raw")]


def test_the_classifier_takes_the_place_of_inception(tmp_path):
    chosen = dataclasses.replace(CONFIG.eval, extractor="classifier", metrics=("fid", "cas"))
    config = change(eval=chosen)
    evaluate = TrainingEvaluator(config, tmp_path, DATASET)
    assert evaluate._evaluator.settings.extractor == "classifier"
    assert "_extractor" not in vars(evaluate._evaluator), "it is trained at the first evaluation, not at every start"


@pytest.mark.parametrize(
    ("groups", "error", "text"),
    [
        ({"eval": {"metrics": ("kid",)}}, ConfigError, r"best_metric \(='fid'\) must be one of .*\(kid, kid_std\)"),
        ({"checkpoint": {"best_is_lower": False}}, ConfigError, "would keep the worst by 'fid'; set it to True"),
        (
            {"eval": {"metrics": ("prdc",)}, "checkpoint": {"best_metric": "recall"}},
            ConfigError,
            r"best_is_lower \(=True\) would keep the worst by 'recall'; set it to False",
        ),
        ({"eval": {"num_reference": 41}}, EvaluationError, r"num_reference \(=41\) must be at most 40"),
        (
            {"eval": {"metrics": ("fid", "kid")}},
            EvaluationError,
            r"kid_subset_size \(=1000\) must be at most 30",
        ),
        ({"eval": {"num_samples": 1}}, EvaluationError, "the generated set has 1 image"),
        (
            {"data": {"labels": False}, "model": {"conditional": False}, "eval": {"metrics": ("fid", "cas")}},
            EvaluationError,
            "cas needs the classes of the evaluated images",
        ),
        (
            {"eval": {"inception_weights": "/no/such.pth"}},
            EvaluationError,
            "--config.eval.inception_weights names /no/such.pth",
        ),
    ],
)
def test_mistakes_show_before_the_training(tmp_path, groups, error, text):
    config = change(**{name: dataclasses.replace(getattr(CONFIG, name), **values) for name, values in groups.items()})
    dataset = Dataset(ArraySource("mine", IMAGES, LABELS, "abcde"), config.data)
    with pytest.raises(error, match=text):
        build(tmp_path, config, dataset, extractor=None)
    assert not (tmp_path / "evaluations.jsonl").exists()


def test_scores_that_may_keep_the_best(tmp_path):
    fewer = {"eval": dataclasses.replace(CONFIG.eval, metrics=("prdc",))}
    build(tmp_path, change(**fewer, checkpoint=CheckpointConfig(best_metric="recall", best_is_lower=False)))
    build(tmp_path, change(**fewer, checkpoint=CheckpointConfig(keep_best=0)))


def test_methods_without_latents_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"config.eval.every_steps \(=1\) is for methods that draw images from lat"):
        TrainingEvaluator(CONFIG, tmp_path, DATASET, method=object())  # type: ignore[arg-type]
    assert build_method(CONFIG, DATASET.spec).latent_dim == 4


def test_processes_other_than_the_first_write_nothing(tmp_path, monkeypatch):
    run = open_run(write_run(tmp_path / "run", CONFIG, DATASET.spec))
    state, networks = state_of(run, 3)
    evaluate = build(tmp_path / "run")
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    assert set(evaluate(state, networks)) == {"fid"} and records.read(tmp_path / "run") == []


DIGITS = ("--config=configs/digits.py", "--config.eval.every_steps=2", "--config.eval.num_samples=50")


def test_the_door_refuses_to_train_towards_an_evaluation_that_will_fail(run_main, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_INCEPTION_WEIGHTS", str(tmp_path / "absent.pth"))
    for args, text in (
        ((), "absent.pth, which is not a file"),
        (("--config.eval.metrics=fid,kid",), "kid_subset_size (=1000) must be at most 50"),
        (("--config.eval.metrics=fid,fdi",), "config.eval.metrics (='fdi') must be some of"),
    ):
        code, err, _ = run_main(*DIGITS, *args, f"--workdir={tmp_path / 'run'}")
        lines = [line for line in err.splitlines() if line.startswith("jaxgan: ")]
        assert code == 2 and len(lines) == 1 and text in lines[0] and not (tmp_path / "run").exists(), err


def test_the_door_hands_the_evaluation_to_the_training(run_main, tmp_path, monkeypatch):
    found = []

    def train(config, workdir, **rest):
        found.append(rest)
        return SimpleNamespace(step=config.total_steps)

    monkeypatch.setattr("jaxgan.training.loop.train", train)
    assert run_main(*DIGITS, "--config.eval.extractor=classifier", f"--workdir={tmp_path}")[0] == 0
    assert run_main(DIGITS[0], f"--workdir={tmp_path}")[0] == 0
    with_evaluation, without = found
    assert isinstance(with_evaluation["evaluate"], TrainingEvaluator) and with_evaluation["dataset"].spec.num_classes
    assert without["evaluate"] is None and without["dataset"] is None
