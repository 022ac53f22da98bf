"""A generator with its weights as one StableHLO program, which JAX runs without this package."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.export
import numpy as np

from jaxgan.commands.export_program import Program
from jaxgan.core.network import BoundNetwork
from jaxgan.core.state import Average
from jaxgan.generation.run import Run

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def platform_here() -> str:
    """Returns the name that programs are exported under for the devices of this process, e.g. cuda."""
    return jax.export.default_export_platform()


def used_networks(run: Run, variables: Mapping[str, Average], program: Program) -> dict[str, Average]:
    """Returns the variables of the networks that a program runs, on the host; a discriminator makes no images."""
    used: set[str] = set()

    def apply(inputs: Mapping[str, jax.Array]) -> jax.Array:
        nets = {name: _Noting(run.networks[name], v.params, v.stats) for name, v in variables.items()}
        images = program.apply(nets, inputs)
        used.update(name for name, net in nets.items() if net.called)
        return images

    jax.eval_shape(apply, program.example)
    return {name: jax.device_get(v) for name, v in variables.items() if name in used}


def serialize(run: Run, variables: Mapping[str, Average], platforms: Sequence[str], program: Program) -> bytes:
    """Returns the program with its weights; its arguments are the inputs, in their order.

    It holds the weights, runs in evaluation mode on one device with any batch size b >= 1, and computes in the run's
    dtype. No device of a platform is needed to export for it; one program serves all platforms. The strided and
    transposed convolutions have the form that suits the devices of this process, equal everywhere but for rounding
    (see `layers/conv_cpu.py`). This process's compiler options are not part of it.

    Args:
      run: an opened run.
      variables: of the networks that the program runs, on the host; see `used_networks`.
      platforms: some of `PLATFORMS`.
      program: what is computed; of its symbolic shapes, the first ones that its networks can be traced with are taken.
    """

    def generator(*inputs: jax.Array) -> jax.Array:
        # Behind the barrier they are no constants for the compiler, which would otherwise divide kernels by their
        # spectral norms while compiling, and take twice as long for the 42 million weights of a 128x128 SAGAN.
        nets = {
            name: BoundNetwork(run.networks[name], v.params, v.stats)
            for name, v in jax.lax.optimization_barrier(dict(variables)).items()
        }
        return program.apply(nets, dict(zip(program.example, inputs, strict=True)))

    export = jax.export.export(jax.jit(generator), platforms=tuple(platforms))
    *general, special = program.symbolic
    for shapes in general:
        try:
            return bytes(export(*shapes.values()).serialize())
        except jax.errors.InconclusiveDimensionOperation:  # the network's code asks what only numbers can answer
            continue
    return bytes(export(*special.values()).serialize())


def input_shapes(program: bytes) -> list[str]:
    """Returns the shapes that a serialized program takes, e.g. `(b, 128)`."""
    return [str(aval.shape).replace("'", "") for aval in jax.export.deserialize(bytearray(program)).in_avals]


def call(program: bytes, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """Runs a serialized program on this process's first device, as its user does."""
    generate = jax.jit(jax.export.deserialize(bytearray(program)).call)
    with _compiled_once():
        return np.asarray(jax.device_get(generate(*inputs)))


@contextlib.contextmanager
def _compiled_once() -> Iterator[None]:
    """Keeps what is compiled out of the compilation cache, to which it would add all weights, and for nothing."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, float("inf"))
    try:
        yield
    finally:
        jax.config.update(name, before)


class _Noting(BoundNetwork):
    """Remembers whether it ran."""

    called = False

    def __call__(self, *args: Any, train: bool = True, update_stats: bool = True) -> Any:
        self.called = True
        return super().__call__(*args, train=train, update_stats=update_stats)
