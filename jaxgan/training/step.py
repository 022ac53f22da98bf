"""One training step: phases -> gradients -> updates -> moving averages. Pure; the same for every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgan.core import ema, rng
from jaxgan.core.network import BoundNetwork, Network
from jaxgan.core.state import Average, NetState, TrainState
from jaxgan.data.scaling import to_float
from jaxgan.methods.base import LossOut, Method, Phase
from jaxgan.methods.game import check_scalar

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]
StepFn = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]


def make_step(method: Method, networks: Mapping[str, Network], *, scaling: str, unroll: bool) -> StepFn:
    """Returns the pure step function (state, batch, root key) -> (state, metrics), to be jitted by the caller.

    Args:
      method: what is trained.
      networks: the pure functions of its networks.
      scaling: how uint8 images become floats (see `data/scaling.py`).
      unroll: repeats of a phase as straight code (faster on CPU) instead of a `lax.scan` (smaller program).

    The batch holds "images" uint8 (num_d_steps, B, H, W, C) and "labels" int32 (num_d_steps, B), or the images of two
    domains, "a" and "b". Metrics are float32 scalars: those of the method (means over the repeats of a phase) and
    `<network>_grad_norm`.
    """

    def step(state: TrainState, batch: Batch, root: jax.Array) -> tuple[TrainState, Metrics]:
        """Runs every phase once; see `make_step`."""
        key = rng.at_step(rng.stream(root, "train"), state.step)
        batch = _scaled(batch, scaling, rng.stream(key, "dequantize"))
        metrics: Metrics = {}
        nets, aux, carry = state.nets, state.aux, None
        for phase in method.phases:
            run = lambda nets, aux, carry, xs, phase=phase: _update(  # noqa: E731
                method, networks, phase, nets, aux, carry, xs[0], xs[1]
            )
            inputs = _phase_inputs(phase, batch, rng.stream(key, phase.name))
            nets, aux, carry, new = _repeat(run, phase, nets, aux, carry, inputs, unroll=unroll)
            metrics |= new
        averages = _average(method, nets, state)
        return TrainState(step=state.step + 1, nets=nets, ema=averages, aux=aux), metrics

    return step


def _scaled(batch: Batch, scaling: str, key: jax.Array) -> Batch:
    keys = {name: key if name == "images" else rng.stream(key, name) for name in batch}
    return {
        name: to_float(rows, scaling=scaling, key=keys[name]) if rows.dtype == jnp.uint8 else rows
        for name, rows in batch.items()
    }


def _phase_inputs(phase: Phase, batch: Batch, key: jax.Array) -> list[tuple[Batch, jax.Array]]:
    """Batch and key of each repeat; a phase that runs once sees the last batch of the step."""
    count = next(iter(batch.values())).shape[0]
    if phase.repeats not in (1, count):
        raise ValueError(f"phase {phase.name!r} repeats {phase.repeats} times, but a step delivers {count} batches.")
    indices = range(count) if phase.repeats > 1 else [count - 1]
    return [({name: rows[i] for name, rows in batch.items()}, jax.random.fold_in(key, i)) for i in indices]


def _repeat(run, phase: Phase, nets, aux, carry, inputs, *, unroll: bool):
    """Runs the repeats of a phase in order and averages their metrics."""
    if phase.repeats == 1 or unroll:
        collected = []
        for xs in inputs:
            nets, aux, carry, metrics = run(nets, aux, carry, xs)
            collected.append(metrics)
        return nets, aux, carry, jax.tree.map(lambda *values: sum(values) / len(values), *collected)

    # The first repeat runs outside of the scan: only then is the structure of `carry` known.
    nets, aux, carry, first = run(nets, aux, carry, inputs[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *inputs[1:])

    def body(state, xs):
        nets, aux, carry, metrics = run(*state, xs)
        return (nets, aux, carry), metrics

    (nets, aux, carry), rest = jax.lax.scan(body, (nets, aux, carry), stacked)
    mean = jax.tree.map(lambda one, many: (one + jnp.sum(many)) / phase.repeats, first, rest)
    return nets, aux, carry, mean


def _update(method: Method, networks, phase: Phase, nets, aux, carry, batch: Batch, key: jax.Array):
    """One update of the networks that the phase trains; the others keep their parameters by construction."""
    specs = method.networks

    def loss_fn(trained: dict[str, Any]) -> tuple[jax.Array, tuple[LossOut, dict[str, Any]]]:
        bound = {
            name: BoundNetwork(networks[name], trained.get(name, net.params), net.stats) for name, net in nets.items()
        }
        loss, out = method.loss(phase.name, bound, batch, key, carry, aux)
        return check_scalar(loss, phase.name, "loss"), (out, {name: b.stats for name, b in bound.items()})

    trained = {name: nets[name].params for name in phase.trains}
    (_, (out, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(trained)
    metrics = dict(out.metrics)
    new_nets = {name: net.replace(stats=jax.lax.stop_gradient(stats[name])) for name, net in nets.items()}
    for name in phase.trains:
        metrics[f"{name}_grad_norm"] = optax.tree.norm(grads[name])
        new_nets[name] = _apply(specs[name], new_nets[name], grads[name])
    return new_nets, (aux if out.aux is None else out.aux), out.carry, metrics


def _apply(spec, net: NetState, grads: Any) -> NetState:
    updates, opt_state = spec.tx.update(grads, net.opt_state, net.params)
    params = optax.apply_updates(net.params, updates)
    if spec.project is not None:
        params = spec.project(params)
    return net.replace(params=params, opt_state=opt_state)


def _average(method: Method, nets: Mapping[str, NetState], state: TrainState) -> dict[str, Average]:
    averages = {}
    for name, average in state.ema.items():
        decay = method.networks[name].ema_decay
        assert decay is not None, "init_state makes averages of networks with a decay only"
        current = Average(params=nets[name].params, stats=nets[name].stats)
        averages[name] = ema.update(
            average, current, decay=decay, step=state.step + 1, start_step=method.ema_start_step
        )
    return averages
