"""Recipes as settings, without the command line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from jaxgan import config as config_lib


def load_recipe(path: Path) -> config_lib.Config:
    """Returns the resolved settings of a recipe file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return config_lib.from_dict(module.get_config().to_dict())
