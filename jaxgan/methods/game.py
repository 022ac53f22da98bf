"""What a further loss (a term) sees of one update of an adversarial game, and how terms are added up.

A term is a function of `Game` returning a float32 scalar, or an object with an own state, `StatefulTerm`. In the D
phase it trains D, in the G phase G. The ready-made ones are in `terms.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxgan.core import rng
from jaxgan.core.network import Params
from jaxgan.core.state import Average
from jaxgan.methods.base import Nets
from jaxgan.methods.errors import MethodError

# What the method itself logs as `d_...` and `g_...`.
RESERVED_NAMES = frozenset({"loss", "accuracy", "grad_norm"})


class Outputs(dict[str, jax.Array]):
    """What D returned for a batch of images: always "logits", beside it whatever else it returns, each (B, ...)."""

    def __missing__(self, name: str) -> jax.Array:
        raise MethodError(
            f"a term reads {name!r} of what d returns, which is {', '.join(map(repr, self))}; let d return a "
            f'dictionary with "logits" and {name!r}.'
        )


class Game:
    """One update, as a term sees it. Images are float32 (B, H, W, C) in [-1, 1], labels int32 (B,).

    Attributes:
      phase: "d" or "g": the network that this update trains.
      real, real_labels: of the data.
      z, labels: what G was given: (B, latent_dim) ~ N(0, I), and the classes asked of it.
      fake: G's images; in the D phase a constant to autodiff.
      real_out, fake_out: what D returned for them. In the G phase `real_out` costs one more forward of D, made when a
        term first asks for it; it leaves D's statistics alone.
      nets: the networks "g" and "d". Call them with `update_stats=False`, else the extra call moves statistics.
    """

    def __init__(
        self,
        phase: str,
        *,
        nets: Nets,
        batch: Mapping[str, jax.Array],
        latents: Mapping[str, jax.Array],
        fake: jax.Array,
        fake_out: Outputs,
        real_out: Outputs | None,
        key: jax.Array,
    ):
        self.phase, self.nets = phase, nets
        self.real, self.real_labels = batch["images"], batch["labels"]
        self.z, self.labels = latents["z"], latents["labels"]
        self.fake, self.fake_out = fake, fake_out
        self._real_out, self._key = real_out, key
        self.logged: dict[str, jax.Array] = {}

    @functools.cached_property
    def real_out(self) -> Outputs:
        if self._real_out is not None:
            return self._real_out
        return outputs(self.nets["d"](self.real, self.real_labels, update_stats=False))

    def params(self, network: str) -> Params:
        """Returns the parameters of "g" or "d"; differentiable if this phase trains it."""
        return self.nets[network].params

    def key(self, name: str) -> jax.Array:
        """Returns a random key of this update; other names, other keys."""
        return rng.stream(self._key, f"term/{name}")

    def log(self, name: str, value: jax.Array) -> None:
        """Logs a scalar as `d_<name>` or `g_<name>`, by phase, beside the term's own value."""
        _check_name(name, self.logged)
        self.logged[name] = check_scalar(value, self.phase, name)


class Term(Protocol):
    """A further loss: `game -> float32 scalar`, differentiable in the parameters of the network that is trained."""

    def __call__(self, game: Game, /) -> jax.Array: ...


class StatefulTerm(Protocol):
    """A term with a state: a pytree of arrays of fixed shapes, kept in checkpoints, renewed at each update."""

    def init(self, nets: Mapping[str, Average], network: str, /) -> Any:
        """Returns the first state, given the initial variables of "g" and "d", and which of them the term trains."""
        ...

    def __call__(self, game: Game, state: Any, /) -> tuple[jax.Array, Any]:
        """Returns the scalar and the state of the next update."""
        ...


class Weighted(NamedTuple):
    """A term and its factor in the sum; see `weighted` in `terms.py`."""

    weight: float
    term: Any  # a Term, StatefulTerm or Weighted


AnyTerm = Term | StatefulTerm | Weighted
Terms = Mapping[str, AnyTerm] | Sequence[AnyTerm] | AnyTerm


class Entry(NamedTuple):
    """A term of one network, with all that is needed to add it up."""

    name: str
    weight: float
    term: Any

    @property
    def is_stateful(self) -> bool:
        return hasattr(self.term, "init")


def entries(terms: Terms, phase: str) -> tuple[Entry, ...]:
    """Names the terms of a network (one, or several): by their keys, or without keys by their `__name__`.

    Raises:
      MethodError: for a name that is missing, taken twice, or one of the method's own; or something not callable.
    """
    if isinstance(terms, Weighted) or callable(terms):
        terms = [terms]
    pairs = terms.items() if isinstance(terms, Mapping) else [(None, term) for term in terms]
    found: dict[str, Entry] = {}
    for key, term in pairs:
        weight = 1.0
        while isinstance(term, Weighted):
            weight, term = weight * term.weight, term.term
        name = getattr(term, "__name__", type(term).__name__) if key is None else key
        if not callable(term):
            raise MethodError(f"term {name!r} of {phase}_terms (={term!r}) must be a function of the game.")
        _check_name(name, found)
        found[name] = Entry(name, weight, term)
    return tuple(found.values())


def init_states(phases: Mapping[str, Iterable[Entry]], nets: Mapping[str, Average]) -> dict[str, Any]:
    """Returns the states of all stateful terms, as `{"d_<name>": state, ...}`, by phase."""
    return {
        f"{phase}_{entry.name}": entry.term.init(nets, phase)
        for phase, found in phases.items()
        for entry in found
        if entry.is_stateful
    }


def add_up(
    found: Iterable[Entry], game: Game, states: Mapping[str, Any]
) -> tuple[jax.Array, dict[str, jax.Array], dict[str, Any]]:
    """Evaluates the terms of the phase.

    Returns:
      The weighted sum, a float32 scalar; the metrics, `<phase>_<name>` of each term, not weighted, and what the terms
      log; and all states, those of this phase renewed.

    Raises:
      MethodError: for a term that returns no scalar, or a state of another structure.
    """
    total, metrics, states = jnp.zeros((), jnp.float32), {}, dict(states)
    for entry in found:
        name = f"{game.phase}_{entry.name}"
        if entry.is_stateful:
            value, state = entry.term(game, states[name])
            states[name] = _like_before(states[name], state, name)
        else:
            value = entry.term(game)
        metrics[name] = check_scalar(value, game.phase, entry.name)
        total += entry.weight * metrics[name]
    return total, metrics | _logged(game, metrics), states


def outputs(returned: Any, name: str = "d") -> Outputs:
    """Gives what a discriminator (called `name`) returned one form: plain logits become `{"logits": logits}`.

    Raises:
      MethodError: for anything else than an array, or a mapping with "logits".
    """
    if isinstance(returned, Mapping):
        if "logits" not in returned:
            raise MethodError(
                f'{name} returned a dictionary with {", ".join(map(repr, returned)) or "nothing"}, without "logits"; '
                'add "logits": one value per image, shape (B,).'
            )
        return Outputs(returned)
    if not hasattr(returned, "shape"):
        raise MethodError(
            f"{name} returned a {type(returned).__name__}; it must return logits (B,), or a dictionary of arrays with "
            '"logits".'
        )
    return Outputs(logits=returned)


def check_scalar(value: Any, phase: str, name: str) -> jax.Array:
    """Returns `value` as a float32 scalar.

    Args:
      value: what a loss or term returned.
      phase: in which it did.
      name: of the term; "loss" for the loss of a whole phase.

    Raises:
      MethodError: unless it is one real number.
    """
    what = f"the loss of phase {phase!r}" if name == "loss" else f"term {name!r} of phase {phase!r}"
    shape = getattr(value, "shape", () if isinstance(value, int | float) else None)
    if shape is None:
        raise MethodError(f"{what} returned a {type(value).__name__}; return a scalar array, e.g. jnp.mean(...).")
    if shape != ():
        raise MethodError(f"{what} returned shape {tuple(shape)}; return a scalar, e.g. jnp.mean(...).")
    if jnp.issubdtype(jnp.asarray(value).dtype, jnp.complexfloating):
        raise MethodError(f"{what} returned a complex number; return a real one, e.g. jnp.abs(...).")
    return jnp.asarray(value, jnp.float32)


def _logged(game: Game, metrics: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    logged = {f"{game.phase}_{name}": value for name, value in game.logged.items()}
    if taken := sorted(logged.keys() & metrics.keys()):
        raise MethodError(f"a term logs {taken[0]!r}, which is the name of a term; log it under another name.")
    return logged


def _check_name(name: str, taken: Iterable[str]) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise MethodError(f"a term has no usable name ({name!r}); name it: {{'my_term': ...}} instead of a sequence.")
    if name in RESERVED_NAMES or name in taken:
        why = "the method's own" if name in RESERVED_NAMES else "taken twice"
        raise MethodError(f"the name {name!r} of a term is {why}; name each term differently: {{'my_term': ...}}.")


def _like_before(before: Any, after: Any, name: str) -> Any:
    def shapes(tree: Any) -> Any:
        return jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), tree)

    if jax.tree.structure(before) != jax.tree.structure(after) or shapes(before) != shapes(after):
        raise MethodError(
            f"term {name!r} returned a state unlike the one it was given ({shapes(after)} after {shapes(before)}); "
            "shapes, types and structure must stay."
        )
    # Weak types, which `jnp.asarray(0.0)` has, would compile the step twice.
    return jax.tree.map(lambda b, a: jax.lax.convert_element_type(a, jnp.result_type(b)), before, after)
