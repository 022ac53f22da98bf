"""A configuration as nested mappings: to JSON and back, flat by field, and compared with another one."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from typing import Any

from jaxgan.config import Config, ConfigError

# Fields that may differ between the first start of a run and its resumption: none of them changes what a step computes.
FREE_ON_RESUME = (
    "total_steps", "num_microbatches", "model.remat", "data.num_threads", "data.prefetch", "checkpoint.", "sample.",
    "log.", "eval.", "mesh.", "health.",
)  # fmt: skip


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Returns {"model.latent_dim": 128, ...} for a config dataclass or a nested mapping."""
    tree = config if isinstance(config, Mapping) else dataclasses.asdict(config)
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = tuple(value) if isinstance(value, list) else value
    return flat


def to_dict(config: Config) -> dict[str, Any]:
    """Returns nested plain dictionaries and lists, as written to `config.json`."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return plain(dataclasses.asdict(config))


def from_dict(tree: Mapping[str, Any]) -> Config:
    """Builds the frozen Config from nested mappings.

    Raises:
      ConfigError: naming every unknown field (with the nearest known one) and every value of a wrong type.
    """
    problems: list[str] = []
    config = _build(Config, tree, "config", problems)
    if problems:
        raise ConfigError(" ".join(problems))
    return config


def _build(cls: type, tree: Mapping[str, Any], path: str, problems: list[str]) -> Any:
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known fields: {', '.join(hints)}."
            problems.append(f"{path}.{key} is not a field; {hint}")
        elif dataclasses.is_dataclass(hints[key]):
            if isinstance(value, Mapping):
                values[key] = _build(hints[key], value, f"{path}.{key}", problems)
            else:
                problems.append(f"{path}.{key} (={value!r}) must be a group of fields.")
        else:
            values[key] = _convert(hints[key], value, f"{path}.{key}", problems)
    return cls(**values)


def _convert(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    if any(isinstance(v, int) and abs(v) >= 2**63 for v in (value if isinstance(value, (list, tuple)) else (value,))):
        problems.append(f"{path} must lie within -2^63 ... 2^63.")  # larger numbers overflow in the rules themselves
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if isinstance(value, (list, tuple)) and all(type(v) is item for v in value):
            if item is str:  # `--config.eval.metrics=fid,kid` arrives as one string
                return tuple(part.strip() for v in value for part in v.split(","))
            return tuple(value)
        problems.append(f"{path} (={value!r}) must be a list of {item.__name__}.")
    elif type(value) is not hint:
        problems.append(f"{path} (={value!r}) must be of type {hint.__name__}.")
    return value


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Returns {field: (old, new)} for the fields that change what a step computes (see FREE_ON_RESUME)."""
    a, b = flatten(old), flatten(new)
    return {
        key: (a[key], b[key])
        for key in a
        if a[key] != b[key] and not any(key == free or key.startswith(free) for free in FREE_ON_RESUME if free)
    }
