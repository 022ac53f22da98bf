"""What a method declares to the trainer: networks, ordered phases, one loss per phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
import optax
from flax import nnx

from jaxgan.core.network import BoundNetwork, Network, Params
from jaxgan.core.state import Average, TrainState, init_state

Nets = Mapping[str, BoundNetwork]


class NetworkSpec(NamedTuple):
    """One network of a method."""

    build: Callable[[nnx.Rngs], nnx.Module]
    tx: optax.GradientTransformation
    ema_decay: float | None = None  # per step; None = no moving average
    project: Callable[[Params], Params] | None = None  # applied to the parameters after every update


class Phase(NamedTuple):
    """One kind of update within a step; phases run in the order declared."""

    name: str
    trains: tuple[str, ...]  # networks whose parameters this phase updates, jointly
    repeats: int = 1  # updates per step; repeat i sees batch i of the step, a single one sees the last


class LossOut(NamedTuple):
    """What a loss hands back beside its value."""

    metrics: Mapping[str, jax.Array]  # float32 scalars to be logged
    carry: Any = None  # for the later phases of this step
    aux: Any = None  # the method's own state from here on; None = as before


class Method(Protocol):
    """Anything with these members trains on the same step, loop and checkpoints."""

    @property
    def networks(self) -> Mapping[str, NetworkSpec]: ...

    @property
    def phases(self) -> tuple[Phase, ...]: ...

    @property
    def ema_start_step(self) -> int: ...

    def init_aux(self, nets: Mapping[str, Average]) -> Any:
        """Returns the initial own state of the method, a pytree of arrays, given the networks' initial variables."""
        ...

    def loss(
        self, phase: str, nets: Nets, batch: Mapping[str, jax.Array], key: jax.Array, carry: Any, aux: Any
    ) -> tuple[jax.Array, LossOut]:
        """Returns the scalar float32 loss of a phase.

        Args:
          phase: name of the phase.
          nets: the networks; what their calls leave in `stats` is kept.
          batch: "images" float32 (B, H, W, C) in [-1, 1] and "labels" int32 (B,); of data with two domains the images
            "a" and "b" instead.
          key: of this phase, repeat and step.
          carry: `LossOut.carry` of the phase before; None at the start of a step.
          aux: the method's own state.
        """
        ...

    def sample_inputs(self, key: jax.Array, rows: int, columns: int, real: Mapping[str, np.ndarray]) -> Any:
        """Returns the fixed inputs of a sample grid.

        Args:
          key: of this run's grids.
          rows, columns: what the settings ask for.
          real: some examples of the data, unflipped, uint8: "images" (rows * columns, H, W, C) and "labels", or "a" and
            "b", `rows` of each.
        """
        ...

    def sample(self, nets: Nets, inputs: Any) -> jax.Array:
        """Returns the images of the grid float32 (N, H, W, C) in [-1, 1], row by row, in evaluation mode."""
        ...

    def grid_columns(self, columns: int) -> int:
        """Returns how many of the images that `sample` returns make a row, given the columns of the settings."""
        ...


def initial_state(
    method: Method, *, seed: int, sharding: jax.sharding.Sharding | Callable[[TrainState], Any]
) -> tuple[TrainState, dict[str, Network]]:
    """Builds the networks that a method declares, and the state of step 0; see `init_state`."""
    specs = method.networks
    return init_state(
        {name: spec.build for name, spec in specs.items()},
        {name: spec.tx for name, spec in specs.items()},
        tuple(name for name, spec in specs.items() if spec.ema_decay is not None),
        method.init_aux,
        seed=seed,
        sharding=sharding,
    )
