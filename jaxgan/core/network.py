"""The boundary between NNX modules and pure pytrees.

NNX objects exist here and in `layers/` and `models/` only. The jitted step, the checkpoints and the tests see nested
dictionaries of arrays with string keys, which also makes the step's call overhead that of plain JAX.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable
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
    max_inputs: int  # inputs that `__call__` takes; a module without labels takes one
    module_type: type

    def __call__(self, params: Params, stats: Stats, *args: Any, train: bool) -> tuple[Any, Stats]:
        """Returns (outputs, new stats); in evaluation the new stats equal the old ones for this project's layers.

        Inputs beyond those that the module takes, such as labels, are left out.
        """
        args = args[: self.max_inputs]
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
        self.num_pieces = 1  # in which a call in training takes its batch, one after the other; see `in_pieces`

    def __call__(self, *args: Any, train: bool = True, update_stats: bool = True) -> Any:
        """Runs the network.

        Args:
          *args: what the module's `__call__` takes, e.g. `(z, labels)`; one that takes fewer is given the first ones.
          train: batch statistics and spectral vectors as in training, or the stored ones.
          update_stats: False leaves running statistics and spectral vectors where they were.
        """
        if train and self.num_pieces > 1:
            outputs, stats = in_pieces(self.network, self.params, self.stats, *args, num_pieces=self.num_pieces)
        else:
            outputs, stats = self.network(self.params, self.stats, *args, train=train)
        if train and update_stats:
            self.stats = stats
        return outputs


def in_pieces(network: Network, params: Params, stats: Stats, *args: jax.Array, num_pieces: int) -> tuple[Any, Stats]:
    """Runs a network in training mode on equal pieces of a batch, one after the other; returns (outputs, new stats).

    Between forward and backward pass only the inputs are kept, and each piece's activations are computed again when its
    turn comes, so their memory is that of one piece. Outputs and gradients are those of the whole batch: this is
    gradient accumulation, written as a function that is differentiated as any other. The network must treat the rows of
    its batch independently (no batch statistics) and move its stats independently of its inputs, as spectral norm does:
    all pieces run with the same stats, and those that the last one leaves are returned.

    Args:
      network: the network.
      params: its parameters.
      stats: its other variables.
      *args: arrays with the batch as their first axis, a multiple of `num_pieces`; row i goes to piece i % num_pieces,
        so that a batch cut over devices stays where it is.
      num_pieces: at least 1.
    """

    def split(x: jax.Array) -> jax.Array:
        return x.reshape(-1, num_pieces, *x.shape[1:]).swapaxes(0, 1)

    def join(x: jax.Array) -> jax.Array:
        return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])

    def run(_: Stats, piece: tuple[jax.Array, ...]) -> tuple[Stats, Any]:
        outputs, new = network(params, stats, *piece, train=True)
        return jax.lax.stop_gradient(new), outputs

    new, outputs = jax.lax.scan(jax.checkpoint(run, prevent_cse=False), stats, tuple(map(split, args)))
    return jax.tree.map(join, outputs), new


def create(build: Callable[..., nnx.Module], key: jax.Array) -> tuple[Network, Params, Stats]:
    """Builds the module and takes it apart.

    Args:
      build: makes the module from `nnx.Rngs`, given as `rngs` if it takes them by that name only.
      key: typed key of the initial weights.
    """
    module = build(rngs=nnx.Rngs(key)) if takes_rngs_by_name(build) else build(nnx.Rngs(key))
    graphdef, params, stats = nnx.split(module, nnx.Param, ...)
    parameters = inspect.signature(type(module).__call__).parameters
    integer_keys = _integer_keys(nnx.to_pure_dict(params)) | _integer_keys(nnx.to_pure_dict(stats))
    takes_train, max_inputs = "train" in parameters, _max_inputs(parameters.values())
    network = Network(graphdef, frozenset(integer_keys), takes_train, max_inputs, type(module))
    return network, _string_keys(nnx.to_pure_dict(params)), _string_keys(nnx.to_pure_dict(stats))


def takes_rngs_by_name(build: Callable[..., Any]) -> bool:
    """Whether a builder has `rngs` as a keyword only, as NNX's own layers do: `def __init__(self, *, rngs)`."""
    try:
        # The metaclass of NNX hides the signature of a module's class.
        parameters = inspect.signature(build.__init__ if isinstance(build, type) else build).parameters
    except ValueError:  # built-in functions may have none
        return False
    return "rngs" in parameters and parameters["rngs"].kind is inspect.Parameter.KEYWORD_ONLY


def _max_inputs(parameters: Iterable[inspect.Parameter]) -> int:
    kinds = [parameter.kind for parameter in parameters if parameter.name != "train"]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return sys.maxsize
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(kind in by_position for kind in kinds) - 1  # without `self`


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
