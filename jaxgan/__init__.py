"""jaxgan: SAGAN and its family in JAX, from one command to a pod.

The names below are the library's interface; they are imported when they are first used, so `import jaxgan` is cheap.

- `train`, `evaluate`, `open_run`, `load_recipe`, `as_dataset`: what is done (see `api.py`, `recipe.py`, `Run`).
- `Adversarial`, `CycleGAN`, `Pix2Pix`: what is trained; networks are any `nnx.Module`. `Loss`, `losses`, `penalties`,
  `terms`: with which losses. `jaxgan.methods.base.Method` is what a method of one's own offers.
- `Config` and its groups: the settings.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxgan.api import evaluate, open_run, train
    from jaxgan.config import (
        CheckpointConfig,
        Config,
        DataConfig,
        EmaConfig,
        EvalConfig,
        LogConfig,
        MeshConfig,
        MethodConfig,
        ModelConfig,
        OptimConfig,
        SampleConfig,
    )
    from jaxgan.data.own import as_dataset
    from jaxgan.generation.run import Run
    from jaxgan.methods import terms
    from jaxgan.methods.adversarial import Adversarial
    from jaxgan.methods.cyclegan import CycleGAN
    from jaxgan.methods.pix2pix import Pix2Pix
    from jaxgan.objectives import losses, penalties
    from jaxgan.objectives.losses import Loss
    from jaxgan.recipe import load_recipe

_PLACES = {
    "jaxgan.api": ("evaluate", "open_run", "train"),
    "jaxgan.config": (
        "CheckpointConfig", "Config", "DataConfig", "EmaConfig", "EvalConfig", "LogConfig", "MeshConfig",
        "MethodConfig", "ModelConfig", "OptimConfig", "SampleConfig",
    ),
    "jaxgan.data.own": ("as_dataset",),
    "jaxgan.generation.run": ("Run",),
    "jaxgan.methods": ("terms",),
    "jaxgan.methods.adversarial": ("Adversarial",),
    "jaxgan.methods.cyclegan": ("CycleGAN",),
    "jaxgan.methods.pix2pix": ("Pix2Pix",),
    "jaxgan.objectives": ("losses", "penalties"),
    "jaxgan.objectives.losses": ("Loss",),
    "jaxgan.recipe": ("load_recipe",),
}  # fmt: skip
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

__all__ = [
    "Adversarial", "CheckpointConfig", "Config", "CycleGAN", "DataConfig", "EmaConfig", "EvalConfig", "LogConfig",
    "Loss", "MeshConfig", "MethodConfig", "ModelConfig", "OptimConfig", "Pix2Pix", "Run", "SampleConfig", "as_dataset",
    "evaluate", "load_recipe", "losses", "open_run", "penalties", "terms", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module 'jaxgan' has no attribute {name!r}")
    place = _PLACE_OF[name]
    if place in ("jaxgan.methods", "jaxgan.objectives"):  # these names are modules
        return importlib.import_module(f"{place}.{name}")
    return getattr(importlib.import_module(place), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
