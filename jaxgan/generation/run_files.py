"""What a workdir says of its run in words: the files beside the checkpoints."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from jaxgan import config_tree
from jaxgan.config import Config, ConfigError
from jaxgan.data.spec import DataSpec
from jaxgan.generation.errors import RunError


def read_config(workdir: Path) -> Config:
    """Returns the settings; raises RunError where they cannot be read, or are of another version."""
    try:
        return config_tree.from_dict(read_json(workdir, "config.json"))
    except ConfigError as error:
        raise RunError(
            f"{workdir / 'config.json'} is not a configuration of this version of jaxgan ({error}); update jaxgan."
        ) from error


def read_data(workdir: Path) -> DataSpec:
    """Returns what the run was trained on; raises RunError where that is not written."""
    tree = read_json(workdir, "run.json").get("data", {})
    fields = dataclasses.fields(DataSpec)
    needed = {field.name for field in fields if field.default is dataclasses.MISSING}
    if not isinstance(tree, dict) or not needed <= set(tree):
        raise RunError(f"{workdir / 'run.json'} does not describe the data of the run; start its training once more.")
    known: dict[str, Any] = {field.name: tree[field.name] for field in fields if field.name in tree}
    names = known["class_names"]
    numbers = [value for field, value in known.items() if field not in ("class_names", "fingerprint")]
    are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not are_names or not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
        raise RunError(
            f"{workdir / 'run.json'} does not describe the data of the run: its sizes must be whole numbers and its "
            "class names texts; restore it from a copy."
        )
    known["class_names"] = tuple(names)
    return DataSpec(**known)


def read_json(workdir: Path, name: str) -> dict[str, Any]:
    """Returns the object in a file of the workdir; raises RunError where there is none."""
    path = workdir / name
    try:
        tree = json.loads(path.read_text())
    except OSError as error:
        raise RunError(
            f"{workdir} is not a workdir of jaxgan (its {name} cannot be read: {error.strerror or error}); give the "
            "folder that a training wrote, e.g. runs/digits."
        ) from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is not JSON ({error}); restore it from a copy.") from error
    if not isinstance(tree, dict):
        raise RunError(f"{path} is not a JSON object; restore it from a copy.")
    return tree
