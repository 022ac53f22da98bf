"""The library: what `import jaxgan` offers, for networks, losses and data of one's own.

method = jaxgan.Adversarial(generator=G, discriminator=D, latent_dim=64)
run = jaxgan.train(jaxgan.Config(total_steps=10_000), "runs/own", method=method, data=images)
jaxgan.evaluate(run, images, metrics=("fid", "kid"))
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from jaxgan.config import Config, ConfigError, DataConfig
from jaxgan.core.compilation import use_compilation_cache
from jaxgan.data.dataset import Dataset
from jaxgan.data.domains import DomainsDataset
from jaxgan.data.own import as_dataset, natural_config
from jaxgan.data.sources import OWN
from jaxgan.evaluation import image_sets
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.evaluator import Evaluator, default_cache
from jaxgan.evaluation.features import FeatureExtractor
from jaxgan.evaluation.in_training import TrainingEvaluator, settings_of
from jaxgan.evaluation.scores import Scores
from jaxgan.evaluation.settings import Settings
from jaxgan.generation import run as run_lib
from jaxgan.generation.run import Run
from jaxgan.methods.base import Method
from jaxgan.training import loop, setup
from jaxgan.training.quiet import quiet_logs


def train(
    config: Config,
    workdir: str | os.PathLike[str],
    *,
    method: Method | None = None,
    data: Any = None,
    num_classes: int | None = None,
    extractor: FeatureExtractor | None = None,
    accept_config_change: bool = False,
) -> Run:
    """Trains, or goes on with a training, and opens the result.

    Everything of `python -m jaxgan.main` is in it: checkpoints, bit-exact resumption by calling it again with the same
    arguments, sample grids, metrics, evaluations every `config.eval.every_steps`, all devices.

    Args:
      config: the settings; `config.model`, `config.method` and the optimizers are read only without a method.
      workdir: folder of the run.
      method: `Adversarial`, `CycleGAN`, `Pix2Pix` or any object with the members of `Method`; None = `config`'s.
      data: see `as_dataset`; None = `config.data.source`. If `config.data` is the default, images of one size are
        taken as they are; else they are cropped and resized as it says.
      num_classes: of the labels in the data; None = the largest label + 1.
      extractor: of the evaluations' features; None = what `config.eval` says.
      accept_config_change: go on in a workdir that was trained with other settings.

    Returns:
      The run at its last step, or at the step where Ctrl-C or SIGTERM stopped it.

    Raises:
      ConfigError, DataError, WorkdirError, CheckpointError, MethodError, HealthError (NonFiniteError is one),
        EvaluationError: each with one sentence.
    """
    quiet_logs()
    use_compilation_cache()
    config = _with_d_steps(_with_data(config, data), method)
    setup.validate(config, own_method=method is not None)
    dataset = as_dataset(config.data.source if data is None else data, config.data, num_classes=num_classes)
    evaluate_step = None
    if config.eval.every_steps:
        evaluate_step = TrainingEvaluator(config, workdir, dataset, method=method, extractor=extractor)
    loop.train(
        config,
        workdir,
        method=method,
        dataset=dataset,
        evaluate=evaluate_step,
        accept_config_change=accept_config_change,
    )
    return open_run(workdir, method=method)


def open_run(workdir: str | os.PathLike[str], *, step: int | None = None, method: Method | None = None) -> Run:
    """Opens a run, finished or training, as `jaxgan.generation.run.open_run` does, and quietly."""
    quiet_logs()
    use_compilation_cache()
    return run_lib.open_run(workdir, step=step, method=method)


def evaluate(
    run: Run,
    data: Any = None,
    *,
    num_samples: int | None = None,
    weights: str = "auto",
    truncation: float | None = None,
    seed: int = 0,
    extractor: FeatureExtractor | None = None,
    show: bool = True,
    **settings: Any,
) -> Scores:
    """Scores a run that draws images from latents, in the protocol of `python -m jaxgan evaluate`.

    Args:
      run: opened.
      data: the real images, see `as_dataset`; None = those of the training, where a source string names them.
      num_samples: generated images; None = `config.eval.num_samples`.
      weights: see `Run.variables`.
      truncation: bound of the elements of z.
      seed: of z and labels.
      extractor: of features; None = what the settings say.
      show: whether to show progress, on stderr.
      **settings: fields of `evaluation.settings.Settings`, e.g. metrics=("fid", "kid"), feature_dims=768; the others
        come from `config.eval`.

    Returns:
      `.values` by name, and `.protocol`.

    Raises:
      EvaluationError, DataError: with one sentence.
    """
    fields = {field.name for field in dataclasses.fields(Settings)}
    if unknown := set(settings) - fields:
        raise EvaluationError(f"{min(unknown)} is not a setting; known: {', '.join(sorted(fields))}.")
    chosen = dataclasses.replace(settings_of(run.config), **settings)
    reference = None
    if chosen.needs_reference:
        data_config = run.config.data
        if data is None and data_config.source == OWN:
            raise EvaluationError("this run was trained on data of a program's; give the real images as `data`.")
        dataset = as_dataset(data_config.source if data is None else data, data_config)
        reference = _reference(dataset, data_config if data is None else dataclasses.replace(data_config, source=OWN))
    num = run.config.eval.num_samples if num_samples is None else num_samples
    name = f"step {run.step:,}"
    images = image_sets.GeneratedImages(name, num, run, run.variables(weights), seed, truncation, run.data.class_names)
    evaluator = Evaluator(chosen, reference, extractor=extractor, cache=default_cache(), show=show)
    return evaluator.evaluate(
        images,
        weights=run.weights_used(weights),
        bn="running",
        truncation="none" if truncation is None else f"{truncation:g}",
        seed=seed,
    )


def _with_data(config: Config, data: Any) -> Config:
    """Returns the settings with what is known of the data given."""
    if data is None:
        return config
    if isinstance(data, str):
        return dataclasses.replace(config, data=dataclasses.replace(config.data, source=data))
    natural = natural_config(data) if config.data == DataConfig() else None
    return dataclasses.replace(config, data=natural or dataclasses.replace(config.data, source=OWN))


def _with_d_steps(config: Config, method: Method | None) -> Config:
    """Returns settings that deliver as many batches per step as the method's phases take."""
    if method is None:
        return config
    needed = max(phase.repeats for phase in method.phases)
    if config.num_d_steps not in (1, needed):
        raise ConfigError(
            f"config.num_d_steps (={config.num_d_steps}) must be what the method says (={needed}); leave it out."
        )
    return dataclasses.replace(config, num_d_steps=needed)


def _reference(dataset: Dataset | DomainsDataset, data: DataConfig) -> image_sets.RealImages:
    if isinstance(dataset, DomainsDataset):
        raise EvaluationError("data of two domains are evaluated by `python -m jaxgan evaluate --direction=...`.")
    return image_sets.from_dataset(dataset, data)
