"""A run's networks as modules again, for what only they know: which layers are normalised, where attention looks."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from jaxgan.core.state import Average
from jaxgan.generation.run import Run


def structure(run: Run, name: str) -> nnx.Module:
    """Returns network `name` of the run's method with shapes in the place of values, where its layers allow that."""
    build = run.method.networks[name].build
    try:
        return nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    except jax.errors.JAXTypeError:  # networks of a user's own may look at the values of their weights
        return build(nnx.Rngs(0))


def with_values(module: nnx.Module, variables: Average) -> nnx.Module:
    """Returns a module of this structure that holds these weights and statistics, which may be traced."""
    graphdef, params, stats = nnx.split(module, nnx.Param, ...)
    return nnx.merge(
        graphdef,
        _fill(nnx.to_pure_dict(params), variables.params),
        _fill(nnx.to_pure_dict(stats), variables.stats),
    )


def look_up(tree: Any, path: tuple[Any, ...]) -> Any:
    """Returns the part of a nested dictionary with text keys at the path of a module."""
    for key in path:
        tree = tree[str(key)]
    return tree


def _fill(like: dict[Any, Any], values: dict[str, Any]) -> dict[Any, Any]:
    """Returns the values with the keys of `like`, whose lists have integers for keys."""
    return {
        key: _fill(item, values[str(key)]) if isinstance(item, dict) else values[str(key)] for key, item in like.items()
    }
