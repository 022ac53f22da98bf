"""Evaluation within a training: scores of the weights as they are, of averaged ones where the run has any."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from jaxgan.config import Config, ConfigError
from jaxgan.core import sharding as sharding_lib
from jaxgan.core.network import Network
from jaxgan.core.state import Average, TrainState
from jaxgan.data.dataset import Dataset
from jaxgan.data.domains import DomainsDataset
from jaxgan.data.errors import DataError
from jaxgan.data.spec import DataSpec
from jaxgan.evaluation import image_sets, records, translations
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.evaluator import Evaluator, default_cache
from jaxgan.evaluation.features import FeatureExtractor
from jaxgan.evaluation.scores import Scores
from jaxgan.evaluation.settings import LOWER_IS_BETTER, Settings
from jaxgan.evaluation.translations import TranslationEvaluator
from jaxgan.generation.sampler import Sampler, make_sampler
from jaxgan.generation.translate import Translator, make_translator
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

    Of a method that translates, every direction is scored, on the test images that belong to the training's source
    where there are any (see `translations.held_out`), else on the training images: at most `config.eval.num_samples` of
    one domain, translated, against those of the other. The scores are then called a2b_fid, b2a_fid, and, their mean,
    fid.

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
        dataset: Dataset | DomainsDataset,
        *,
        method: Method | None = None,
        extractor: FeatureExtractor | None = None,
    ):
        self._config, self._workdir = config, Path(workdir)
        self._method = build_method(config, dataset.spec) if method is None else method
        self._mesh = sharding_lib.make_mesh(config.mesh)
        self._spec = dataset.spec
        self._sampler: Sampler | None = None
        self._translator: Translator | None = None
        self._translations: TranslationEvaluator | None = None
        options: dict[str, Any] = {"extractor": extractor, "cache": default_cache(), "show": jax.process_index() == 0}
        try:
            if isinstance(dataset, DomainsDataset) and self._directions:
                self._translations = self._build_translations(dataset, options)
            elif isinstance(dataset, Dataset) and getattr(self._method, "latent_dim", None) is not None:
                self._evaluator = self._build_evaluator(dataset, options)
            else:
                raise ConfigError(
                    f"config.eval.every_steps (={config.eval.every_steps}) is for methods that draw images from "
                    "latents, or that translate between the domains of their data; set it to 0."
                )
        except EvaluationError as error:
            raise EvaluationError(_in_fields(str(error))) from error

    @property
    def _directions(self) -> tuple[str, ...]:
        return tuple(getattr(self._method, "directions", ()))

    def _build_evaluator(self, dataset: Dataset, options: Mapping[str, Any]) -> Evaluator:
        config = self._config
        settings = settings_of(config)
        if config.checkpoint.keep_best:
            _check_best(config, settings.score_names)
        reference = image_sets.from_dataset(dataset, config.data, config.eval.num_reference)
        settings.check_sizes(config.eval.num_samples, reference.num)
        settings.check_labels(bool(getattr(self._method, "num_classes", 0)), bool(reference.num_classes))
        return Evaluator(settings, reference if settings.needs_reference else None, **options)

    def _build_translations(self, dataset: DomainsDataset, options: Mapping[str, Any]) -> TranslationEvaluator:
        config = self._config
        settings = settings_of(config)
        if config.checkpoint.keep_best:
            each = {direction: dict.fromkeys(settings.score_names, 0.0) for direction in self._directions}
            _check_best(config, tuple(translations.mean_scores(each)))
        source = translations.held_out(config.data.source)
        domains = translations.from_dataset(dataset, config.data)
        if source != config.data.source:
            try:
                domains = translations.open_domains(dataclasses.replace(config.data, source=source))
            except DataError as error:
                raise DataError(f"the images for config.eval cannot be read: {error}") from error
        nums, at_most = (0, config.eval.num_reference), config.eval.num_samples
        return TranslationEvaluator(settings, domains, self._directions, nums=nums, at_most=at_most, **options)

    def __call__(self, state: TrainState, networks: Mapping[str, Network]) -> Mapping[str, float]:
        """Returns the scores by name; all processes call it together."""
        weights = "ema" if state.ema else "raw"
        if self._translations is not None:
            return self._score_translations(self._translations, state, networks, weights)
        if self._sampler is None:
            self._sampler = make_sampler(self._method, networks, sharding=sharding_lib.replicated(self._mesh))
        source = _Drawing(self._mesh, state, self._method, self._sampler)
        step, num = int(state.step), self._config.eval.num_samples
        images = image_sets.GeneratedImages(
            f"step {step:,}", num, source, source.variables(), class_names=self._spec.class_names
        )
        scores = self._evaluator.evaluate(images, weights=weights, bn="running", truncation="none", seed=0)
        self._write(make_record(step, scores))
        return scores.values

    def _score_translations(
        self, evaluator: TranslationEvaluator, state: TrainState, networks: Mapping[str, Network], weights: str
    ) -> Mapping[str, float]:
        if self._translator is None:
            self._translator = make_translator(
                self._method,
                networks,
                scaling=self._config.data.scaling,
                sharding=sharding_lib.replicated(self._mesh),
            )
        source = _Translating(self._mesh, state, self._directions, self._spec, self._translator)
        step, found = int(state.step), {}
        for direction in self._directions:
            images = evaluator.images(direction, f"step {step:,}", source, source.variables())
            found[direction] = evaluator.evaluate(images, weights=weights)
        for direction, scores in found.items():
            self._write(make_record(step, scores), drop_later=direction == self._directions[0])
        return translations.mean_scores({direction: scores.values for direction, scores in found.items()})

    def _write(self, record: records.Record, *, drop_later: bool = True) -> None:
        if jax.process_index() == 0:
            records.write(self._workdir, record, drop_later=drop_later)


def make_record(step: int, scores: Scores) -> records.Record:
    """Returns what stands in `evaluations.jsonl`; `time` is UTC, ISO 8601."""
    protocol = scores.protocol
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    if protocol.direction is not None:
        about: dict[str, Any] = {"step": step, "direction": protocol.direction, "weights": protocol.weights}
        return {**about, **scores.to_json(), "time": now}
    truncation = None if protocol.truncation in (None, "none") else float(protocol.truncation)
    about = {"step": step, "weights": protocol.weights, "bn": protocol.bn, "truncation": truncation}
    return {**about, **scores.to_json(), "time": now}


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
    """The state of a training."""

    mesh: Mesh
    state: TrainState

    def variables(self, weights: str = "auto") -> Mapping[str, Average]:
        nets = {name: Average(params=net.params, stats=net.stats) for name, net in self.state.nets.items()}
        return nets if weights == "raw" else {**nets, **self.state.ema}


@dataclasses.dataclass(frozen=True, eq=False)
class _Drawing(_Training):
    """As a source of images from latents."""

    method: Method
    sampler: Sampler

    @property
    def latent_dim(self) -> int:
        return int(getattr(self.method, "latent_dim", 0))

    @property
    def num_classes(self) -> int:
        return int(getattr(self.method, "num_classes", 0))


@dataclasses.dataclass(frozen=True, eq=False)
class _Translating(_Training):
    """As a translator of images."""

    directions: tuple[str, ...]
    data: DataSpec
    translator: Translator


def _in_fields(message: str) -> str:
    """Names the configuration's fields in place of the command's flags."""
    for flag, field in _FIELDS.items():
        message = message.replace(flag, field)
    return message


def _check_best(config: Config, names: Sequence[str]) -> None:
    """Keeping the worst checkpoint, or none, would show at the end of the training only."""
    best, lower = config.checkpoint.best_metric, config.checkpoint.best_is_lower
    if best not in names:
        raise ConfigError(
            f"config.checkpoint.best_metric (={best!r}) must be one of the scores of config.eval.metrics "
            f"({', '.join(names)}); or set config.checkpoint.keep_best=0."
        )
    name = best.removeprefix("a2b_").removeprefix("b2a_")
    if lower != (name in LOWER_IS_BETTER) and not best.endswith("_std"):
        raise ConfigError(
            f"config.checkpoint.best_is_lower (={lower}) would keep the worst by {best!r}; set it to {not lower}."
        )
