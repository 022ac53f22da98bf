"""Whether networks that come from Python fit their method: found before the step is traced, said with shapes."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxgan.core.network import Network, takes_rngs_by_name
from jaxgan.core.state import Average, NetState
from jaxgan.data.spec import DataSpec
from jaxgan.methods.base import NetworkSpec
from jaxgan.methods.errors import MethodError
from jaxgan.methods.game import outputs

_CONCRETE_BATCH = 4  # images of the one forward that is computed


class Call(NamedTuple):
    """How a method calls one of its networks in training."""

    inputs: Mapping[str, jax.ShapeDtypeStruct]  # by name, in order; the first one has the batch axis in front
    images: jax.ShapeDtypeStruct | None  # what it must return; None = logits, alone or in a dictionary


@runtime_checkable
class Calling(Protocol):
    """A method that says how it calls its networks."""

    @property
    def networks(self) -> Mapping[str, NetworkSpec]: ...

    def calls(self, data: DataSpec, batch_size: int) -> Mapping[str, Call]: ...


def check_builder(name: str, build: object) -> None:
    """Raises MethodError unless `build(rngs)` is a possible call; `name` is the field that holds it."""
    if isinstance(build, nnx.Module) or not callable(build):
        kind = type(build).__name__
        example = f"lambda rngs: {kind if isinstance(build, nnx.Module) else 'MyNetwork'}(..., rngs=rngs)"
        raise MethodError(f"{name} (a {kind}) must build the network from nnx.Rngs: pass the class, or `{example}`.")
    is_class = isinstance(build, type)  # whose own signature NNX's metaclass hides
    inputs, named = [None] * is_class, {}
    if takes_rngs_by_name(build):
        named["rngs"] = None
    else:
        inputs.append(None)
    try:
        inspect.signature(build.__init__ if is_class else build).bind(*inputs, **named)
    except TypeError as error:
        kind = getattr(build, "__name__", "MyNetwork")
        raise MethodError(
            f"{name} (={kind}) cannot be called with nnx.Rngs alone ({error}); pass "
            f"`lambda rngs: {kind}(..., rngs=rngs)`."
        ) from None
    except ValueError:
        return  # built-in functions may have no signature


def check_networks(
    method: Calling,
    networks: Mapping[str, Network],
    nets: Mapping[str, NetState | Average],
    data: DataSpec,
    batch_size: int,
) -> None:
    """Calls every network in the abstract, as training will, then once on a few random inputs.

    Args:
      method: what will be trained.
      networks: its networks, taken apart.
      nets: their initial variables.
      data: shape of the images.
      batch_size: of a step, over all devices.

    Raises:
      MethodError: for a signature that does not take the inputs; an exception within the module (it is the cause);
        outputs of the wrong kind or shape; NaN or infinite outputs of the fresh network.
    """
    for name, call in method.calls(data, batch_size).items():
        _check_signature(name, networks[name], call)
        _check_outputs(name, call, _abstract(name, networks[name], nets[name], call.inputs))
    few = method.calls(data, min(batch_size, _CONCRETE_BATCH))
    for name, call in few.items():
        _check_finite(name, networks[name], nets[name], call)


def _check_signature(name: str, network: Network, call: Call) -> None:
    parameters = list(inspect.signature(network.module_type.__call__).parameters.values())[1:]  # without `self`
    required = [p for p in parameters if p.default is p.empty and p.name != "train"]
    keywords = [p.name for p in required if p.kind is p.KEYWORD_ONLY]
    by_position = [p.name for p in required if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if network.max_inputs >= 1 and len(by_position) <= len(call.inputs) and not keywords:
        return
    takes = ", ".join(str(p).split(":")[0].split("=")[0].strip() for p in parameters)
    inputs = list(call.inputs)
    forms = " or ".join(f"({', '.join(inputs[:count])})" for count in range(len(inputs), 0, -1))
    raise MethodError(
        f"{name} takes ({takes}), but is called with {forms}; give its __call__ these inputs, and if it needs it "
        "`train`."
    )


def _abstract(name: str, network: Network, net: NetState | Average, inputs: Mapping[str, Any]) -> Any:
    """Returns the shapes of what the network returns; objects that are no arrays stay what they are."""
    returned: list[Any] = []

    def forward(params: Any, stats: Any, *args: jax.Array) -> None:
        out, _ = network(params, stats, *args, train=True)
        returned.append(jax.tree.map(_shape_of, out))

    try:
        jax.eval_shape(forward, net.params, net.stats, *inputs.values())
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise MethodError(
            f"{name} failed on {_describe(network, inputs)}: {type(error).__name__}: {first_line}"
        ) from error
    return returned[0]


def _shape_of(x: Any) -> Any:
    return jax.ShapeDtypeStruct(x.shape, x.dtype) if isinstance(x, jax.Array | np.ndarray) else x


def _check_outputs(name: str, call: Call, out: Any) -> None:
    first_name, first = next(iter(call.inputs.items()))
    given = f"for {first_name} {first.shape}"
    if call.images is not None:
        if not isinstance(out, jax.ShapeDtypeStruct) or not jnp.issubdtype(out.dtype, jnp.floating):
            raise MethodError(f"{name} returned {_kind(out)} {given}; it must return floating images in [-1, 1].")
        if out.shape != call.images.shape:
            raise MethodError(f"{name} returned {out.shape} {given}; the data's images are {call.images.shape}.")
        return
    for key, value in outputs(out, name).items():
        what = f"{name} returned {key!r}"
        if not isinstance(value, jax.ShapeDtypeStruct) or not jnp.issubdtype(value.dtype, jnp.floating):
            raise MethodError(f"{what} as {_kind(value)} {given}; it must be an array of floats, one row per image.")
        if value.shape[:1] != first.shape[:1]:
            raise MethodError(
                f"{what} of shape {value.shape} {given}; its first axis must be that of the images ({first.shape[0]}), "
                "without a mean over the batch."
            )


def _check_finite(name: str, network: Network, net: NetState | Average, call: Call) -> None:
    rng = np.random.default_rng(0)
    args = [_random(rng, given) for given in call.inputs.values()]

    # One program, and only counts come back: the weights may lie on devices of several processes.
    @jax.jit
    def count_bad(params: Any, stats: Any, args: list[Any]) -> Any:
        out, _ = network(params, stats, *args, train=True)
        return jax.tree.map(lambda x: jnp.sum(~jnp.isfinite(x)), out)

    bad = {key: int(count) for key, count in outputs(count_bad(net.params, net.stats, args), name).items()}
    for key, count in bad.items():
        if count:
            what = "its images" if call.images is not None else repr(key)
            raise MethodError(
                f"{name} returns {count} values that are NaN or infinite in {what} before any training, for random "
                f"{_describe(network, call.inputs)}; look for divisions by zero, roots of 0 and large exponentials."
            )


def _random(rng: np.random.Generator, given: jax.ShapeDtypeStruct) -> Any:
    if jnp.issubdtype(given.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), given.shape)
    if jnp.issubdtype(given.dtype, jnp.integer):
        return np.zeros(given.shape, given.dtype)
    drawn = rng.standard_normal(given.shape)
    return (np.clip(drawn, -1, 1) if len(given.shape) == 4 else drawn).astype(given.dtype)  # images stay in [-1, 1]


def _describe(network: Network, inputs: Mapping[str, Any]) -> str:
    seen = itertools.islice(inputs.items(), network.max_inputs)
    return " and ".join(f"{name} {given.shape}" for name, given in seen)


def _kind(out: Any) -> str:
    if isinstance(out, jax.ShapeDtypeStruct):
        return f"{out.dtype.name} of shape {out.shape}"
    return f"a {type(out).__name__}"
