"""Recipes as settings, without the command line."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxgan import config_tree
from jaxgan.config import Config, ConfigError


def load_recipe(path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Config:
    """Returns the settings of a recipe, e.g. load_recipe("configs/digits.py", {"total_steps": 100, "data.flip": True}).

    Args:
      path: of the file; what follows a colon is the recipe's argument, as on the command line.
      overrides: values by field.

    Raises:
      ConfigError: an unknown field or a wrong type.
    """
    name, _, argument = os.fspath(path).partition(":")
    spec = importlib.util.spec_from_file_location(Path(name).stem, name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recipe: ConfigDict = module.get_config(*([argument] if argument else []))
    for field, value in (overrides or {}).items():
        try:
            recipe.update_from_flattened_dict({field: value})
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"config.{field} (={value!r}) cannot be set: {str(error).splitlines()[0]}") from error
    return config_tree.from_dict(recipe.to_dict())
