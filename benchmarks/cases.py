"""What `train_step.py` times: presets, or a recipe with overrides."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgan import config_tree
from jaxgan.config import Config, ConfigError, DataConfig, EmaConfig, MethodConfig, ModelConfig, OptimConfig


@dataclasses.dataclass(frozen=True)
class Case:
    """Settings, and what synthetic data must look like."""

    name: str
    config: Config
    num_classes: int  # of the labels; 0 = unlabelled


_DCGAN_ADAM = OptimConfig(lr=2e-4, b1=0.5)
PRESETS = {
    "sagan32": Case(
        "sagan32",
        Config(
            batch_size=64,
            num_d_steps=5,
            data=DataConfig(resolution=32),
            model=ModelConfig(attention_resolutions=(16,)),
            ema=EmaConfig(halflife_images=443_589),  # decay 0.9999 at batch 64
        ),
        num_classes=10,
    ),
    "sngan32": Case(  # the networks and optimizers of configs/sngan_cifar10.py
        "sngan32",
        Config(
            batch_size=64,
            num_d_steps=5,
            data=DataConfig(resolution=32),
            model=ModelConfig(
                conditional=False,
                g_widths=(256, 256, 256, 256),
                d_widths=(128, 128, 128, 128),
                d_num_down=2,
                g_spectral_norm="none",
                init="glorot_sqrt2",
            ),
            g_optim=OptimConfig(lr=2e-4, b2=0.9),
            d_optim=OptimConfig(lr=2e-4, b2=0.9),
        ),
        num_classes=0,
    ),
    "dcgan64": Case(
        "dcgan64",
        Config(
            batch_size=64,
            data=DataConfig(resolution=64),
            model=ModelConfig(
                name="dcgan",
                conditional=False,
                latent_dim=100,
                g_widths=(512, 256, 128, 64),
                d_widths=(64, 128, 256, 512),
                g_spectral_norm="none",
                d_spectral_norm="none",
                init="normal",
            ),
            method=MethodConfig(loss="non_saturating", joint_forward=False),
            g_optim=_DCGAN_ADAM,
            d_optim=_DCGAN_ADAM,
        ),
        num_classes=0,
    ),
    "sagan128": Case(  # configs/sagan_imagenet.py, built here so that a bare machine needs no recipe
        "sagan128",
        Config(
            total_steps=1_000_000,
            batch_size=256,
            data=DataConfig(resolution=128),
            model=ModelConfig(attention_resolutions=(64,), sn_eps=1e-8),
            ema=EmaConfig(halflife_images=1_774_356, start_step=2_000),
        ),
        num_classes=1000,
    ),
    "cyclegan256": Case(  # configs/cyclegan_maps.py without its schedule
        "cyclegan256",
        Config(
            batch_size=1,
            data=DataConfig(resolution=256),
            model=ModelConfig(name="cyclegan", init="normal"),
            method=MethodConfig(name="cyclegan", loss="least_squares"),
            g_optim=_DCGAN_ADAM,
            d_optim=_DCGAN_ADAM,
        ),
        num_classes=0,
    ),
}


def load_case(preset: str | None, recipe: str | None, overrides: Sequence[str], num_classes: int | None) -> Case:
    """Returns the case of the command line.

    Args:
      preset: a name of `PRESETS`, or None.
      recipe: path of a recipe, or None; exactly one of the two is given.
      overrides: FIELD=VALUE, e.g. "model.g_widths=64,32"; after the preset or recipe.
      num_classes: replaces the number of classes of a conditional model, which a recipe does not know (1,000).

    Raises:
      ConfigError: an override that is not one, names no field or has a wrong type.
      OSError: the recipe cannot be read.
    """
    if recipe is not None:
        from jaxgan.recipe import load_recipe  # brings in what reading recipes needs

        case = Case(Path(recipe).stem, load_recipe(recipe), 1000)
    else:
        case = PRESETS[preset or "sagan32"]
    # One device, as a peer has, unless an override asks for more.
    config = dataclasses.replace(case.config, mesh=dataclasses.replace(case.config.mesh, data=1))
    config = override(config, overrides)
    classes = case.num_classes if num_classes is None else num_classes
    return Case(case.name, config, classes if config.model.conditional else 0)


def override(config: Config, overrides: Sequence[str]) -> Config:
    """Returns `config` with FIELD=VALUE settings applied; lists are written 16,32. Raises ConfigError."""
    tree = config_tree.to_dict(config)
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text!r} must have the form FIELD=VALUE, such as model.g_channels=32.")
        *groups, field = name.removeprefix("config.").split(".")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {text!r} must name a field; config.{group} has no fields inside.")
        inner[field] = _parse(value, inner.get(field))
    return config_tree.from_dict(tree)


def _parse(text: str, current: Any) -> Any:
    """Reads a value as the type of the current one where the text allows it; `from_dict` judges the result."""
    if isinstance(current, str):
        return text
    if isinstance(current, list):
        return [_parse(item, 0) for item in text.strip("()[]").split(",") if item.strip()]
    try:
        return json.loads(text.lower())
    except ValueError:
        return text
