"""Evaluation within a training: scores of the weights as they are, of averaged ones where the run has any."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from jaxgan.config import Config, ConfigError
from jaxgan.core import sharding as sharding_lib
from jaxgan.core.network import Network
from jaxgan.core.state import Average, TrainState
from jaxgan.data.pipeline import Dataset
from jaxgan.evaluation import image_sets, records
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.evaluator import Evaluator, default_cache
from jaxgan.evaluation.features import FeatureExtractor
from jaxgan.evaluation.scores import Scores
from jaxgan.evaluation.settings import LOWER_IS_BETTER, Settings
from jaxgan.generation.sampler import Sampler, make_sampler
from jaxgan.methods.base import Method
from jaxgan.methods.registry import build_method

_FIELDS = {
    "--inception_weights FILE": "--config.eval.inception_weights=FILE",
    "--inception_weights": "--config.eval.inception_weights",
    "--feature_dims": "--config.eval.feature_dims",
    "--data": "--config.data.source",
}


class TrainingEvaluator:
    """What `train(evaluate=...)` calls; appends to `evaluations.jsonl`.

    The reference is the training data, unflipped. Batch norm uses the running statistics that belong to the weights:
    with averaged weights, the average of the statistics.

    Args:
      config: of the training; `config.eval` says what is computed.
      workdir: of the training.
      dataset: of the training.
      method: what is trained; None = what `config` describes.
      extractor: a network of the caller's; None = what `config.eval` says.

    Raises:
      ConfigError: the best checkpoints are to be kept by a score that is not computed, or by the wrong end of it.
      EvaluationError: what `config.eval` asks for cannot be computed; before the training has begun.
    """

    def __init__(
        self,
        config: Config,
        workdir: str | os.PathLike[str],
        dataset: Dataset,
        *,
        method: Method | None = None,
        extractor: FeatureExtractor | None = None,
    ):
        self._config, self._workdir = config, Path(workdir)
        self._method = build_method(config, dataset.spec.num_classes) if method is None else method
        self._mesh = sharding_lib.make_mesh(config.mesh)
        self._class_names = dataset.spec.class_names
        if getattr(self._method, "latent_dim", None) is None:
            raise ConfigError(
                f"config.eval.every_steps (={config.eval.every_steps}) is for methods that draw images from latents; "
                "set it to 0."
            )
        self._sampler: Sampler | None = None
        try:
            self._evaluator = self._build_evaluator(dataset, extractor)
        except EvaluationError as error:
            raise EvaluationError(_in_fields(str(error))) from error

    def _build_evaluator(self, dataset: Dataset, extractor: FeatureExtractor | None) -> Evaluator:
        config = self._config
        settings = settings_of(config)
        if config.checkpoint.keep_best:
            _check_best(config, settings)
        reference = image_sets.from_dataset(dataset, config.data, config.eval.num_reference)
        settings.check_sizes(config.eval.num_samples, reference.num)
        settings.check_labels(bool(getattr(self._method, "num_classes", 0)), bool(reference.num_classes))
        return Evaluator(
            settings,
            reference if settings.needs_reference else None,
            extractor=extractor,
            cache=default_cache(),
            show=jax.process_index() == 0,
        )

    def __call__(self, state: TrainState, networks: Mapping[str, Network]) -> Mapping[str, float]:
        """Returns the scores by name; all processes call it together."""
        if self._sampler is None:
            self._sampler = make_sampler(self._method, networks, sharding=sharding_lib.replicated(self._mesh))
        source = _Training(self._method, self._mesh, self._sampler, state)
        weights = "ema" if state.ema else "raw"
        step, num = int(state.step), self._config.eval.num_samples
        images = image_sets.GeneratedImages(
            f"step {step:,}", num, source, source.variables(), class_names=self._class_names
        )
        scores = self._evaluator.evaluate(images, weights=weights, bn="running", truncation="none", seed=0)
        if jax.process_index() == 0:
            records.write(self._workdir, make_record(step, scores), drop_later=True)
        return scores.values


def make_record(step: int, scores: Scores) -> records.Record:
    """Returns what stands in `evaluations.jsonl`; `time` is UTC, ISO 8601."""
    protocol = scores.protocol
    about: dict[str, Any] = {"step": step, "weights": protocol.weights, "bn": protocol.bn}
    truncation = None if protocol.truncation in (None, "none") else float(protocol.truncation)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {**about, "truncation": truncation, **scores.to_json(), "time": now}


def settings_of(config: Config) -> Settings:
    """Returns what `config.eval` asks for; raises EvaluationError for a value that is out of its range."""
    chosen = config.eval
    return Settings(
        metrics=chosen.metrics,
        extractor=chosen.extractor,
        feature_dims=chosen.feature_dims,
        resizer=chosen.resizer,
        inception_weights=chosen.inception_weights,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Training:
    """The state of a training as a source of images."""

    method: Method
    mesh: Mesh
    sampler: Sampler
    state: TrainState

    @property
    def latent_dim(self) -> int:
        return int(getattr(self.method, "latent_dim", 0))

    @property
    def num_classes(self) -> int:
        return int(getattr(self.method, "num_classes", 0))

    def variables(self, weights: str = "auto") -> Mapping[str, Average]:
        nets = {name: Average(params=net.params, stats=net.stats) for name, net in self.state.nets.items()}
        return nets if weights == "raw" else {**nets, **self.state.ema}


def _in_fields(message: str) -> str:
    """Names the configuration's fields in place of the command's flags."""
    for flag, field in _FIELDS.items():
        message = message.replace(flag, field)
    return message


def _check_best(config: Config, settings: Settings) -> None:
    """Keeping the worst checkpoint, or none, would show at the end of the training only."""
    best, lower = config.checkpoint.best_metric, config.checkpoint.best_is_lower
    if best not in settings.score_names:
        raise ConfigError(
            f"config.checkpoint.best_metric (={best!r}) must be one of the scores of config.eval.metrics "
            f"({', '.join(settings.score_names)}); or set config.checkpoint.keep_best=0."
        )
    if lower != (best in LOWER_IS_BETTER) and not best.endswith("_std"):
        raise ConfigError(
            f"config.checkpoint.best_is_lower (={lower}) would keep the worst by {best!r}; set it to {not lower}."
        )
