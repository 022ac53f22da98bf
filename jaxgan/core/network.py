"""The boundary between NNX modules and pure pytrees.

NNX objects exist here and in `layers/` and `models/` only. The jitted step, the checkpoints and the tests see nested
dictionaries of arrays with string keys, which also makes the step's call overhead that of plain JAX.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

Params = dict[str, Any]  # trainable parameters: nested dictionaries of float32 arrays
Stats = dict[str, Any]  # everything else a module stores: running statistics, spectral vectors, ...


@dataclasses.dataclass(frozen=True)
class Network:
    """A module turned into a pure function of (params, stats, inputs)."""

    graphdef: Any
    integer_keys: frozenset[tuple[str, ...]]  # paths of entries of lists
    takes_train: bool  # whether `__call__` has a `train` argument; otherwise `.train()` / `.eval()` are used

    def __call__(self, params: Params, stats: Stats, *args: Any, train: bool) -> tuple[Any, Stats]:
        """Returns (outputs, new stats); in evaluation the new stats equal the old ones for this project's layers."""
        module = nnx.merge(self.graphdef, self._native_keys(params), self._native_keys(stats))
        if self.takes_train:
            outputs = module(*args, train=train)
        else:
            module.train() if train else module.eval()
            outputs = module(*args)
        return outputs, _string_keys(nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.Param))))

    def _native_keys(self, tree: dict[str, Any], path: tuple[str, ...] = ()) -> dict[Any, Any]:
        """Undoes `_string_keys`: without it the entries of a list would be matched in the order "0", "1", "10", "2"."""
        native = {}
        for key, value in tree.items():
            here = (*path, key)
            native_key = int(key) if here in self.integer_keys else key
            native[native_key] = self._native_keys(value, here) if isinstance(value, dict) else value
        return native


class BoundNetwork:
    """A network with its variables, called like a function inside a loss; it remembers the stats it leaves behind.

    It lives for one trace of one loss, so the mutation is invisible from outside: the trainer binds the networks,
    calls the loss, and stores `stats` of each.
    """

    def __init__(self, network: Network, params: Params, stats: Stats):
        self.network, self.params, self.stats = network, params, stats

    def __call__(self, *args: Any, train: bool = True, update_stats: bool = True) -> Any:
        """Runs the network.

        Args:
          *args: what the module's `__call__` takes, e.g. `(z, labels)`.
          train: batch statistics and spectral vectors as in training, or the stored ones.
          update_stats: False leaves running statistics and spectral vectors where they were.
        """
        outputs, stats = self.network(self.params, self.stats, *args, train=train)
        if train and update_stats:
            self.stats = stats
        return outputs


def create(build: Callable[[nnx.Rngs], nnx.Module], key: jax.Array) -> tuple[Network, Params, Stats]:
    """Builds the module and takes it apart.

    Args:
      build: makes the module from `nnx.Rngs`.
      key: typed key of the initial weights.
    """
    module = build(nnx.Rngs(key))
    graphdef, params, stats = nnx.split(module, nnx.Param, ...)
    takes_train = "train" in inspect.signature(type(module).__call__).parameters
    integer_keys = _integer_keys(nnx.to_pure_dict(params)) | _integer_keys(nnx.to_pure_dict(stats))
    network = Network(graphdef, frozenset(integer_keys), takes_train)
    return network, _string_keys(nnx.to_pure_dict(params)), _string_keys(nnx.to_pure_dict(stats))


def _string_keys(tree: dict[Any, Any]) -> dict[str, Any]:
    """Lists of modules have integer keys in NNX; exported programs and checkpoints need strings."""
    return {str(key): _string_keys(value) if isinstance(value, dict) else value for key, value in tree.items()}


def _integer_keys(tree: dict[Any, Any], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for key, value in tree.items():
        here = (*path, str(key))
        found |= {here} if isinstance(key, int) else set()
        found |= _integer_keys(value, here) if isinstance(value, dict) else set()
    return found
