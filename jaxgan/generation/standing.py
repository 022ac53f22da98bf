"""Batch norm statistics recomputed for given weights ("standing statistics")."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from jaxgan.core import network as network_lib
from jaxgan.core.compilation import compiler_options
from jaxgan.core.network import BoundNetwork, Network, Stats
from jaxgan.core.state import Average
from jaxgan.generation import latents
from jaxgan.generation.errors import RunError
from jaxgan.generation.run import Run
from jaxgan.layers.norm import BatchNorm
from jaxgan.methods.base import NetworkSpec

_FIRST_SAMPLE = 2**31  # so that the statistics are not those of the very samples that are generated with them


def standing_statistics(
    run: Run,
    variables: Mapping[str, Average],
    *,
    num_batches: int,
    batch_size: int,
    seed: int,
    truncation: float | None = None,
) -> Mapping[str, Average]:
    """Returns the variables with new running means and variances in the networks that draw images.

    The running statistics of a training are those of weights that moved meanwhile; averaged weights have an average
    of them. Here they start anew: batches with random classes pass in training mode, and each statistic becomes the
    plain mean of what the batches would add to it (of `BatchNorm`: the mean, and the unbiased variance). Weights and
    spectral vectors stay as they are, and so do the kernels: they are those of evaluation mode.

    Reference: Brock et al. 2019 (arXiv:1809.11096), appendix C.1; BigGAN-PyTorch's `accumulate_standing_stats`, which
    takes biased variances and lets the spectral vectors move.

    Args:
      run: an opened run.
      variables: of all networks, e.g. `run.variables("ema")`.
      num_batches: at least 1.
      batch_size: samples per batch, at least 2; the statistics depend on it.
      seed: of the samples, which are others than those that `generate` draws with the same seed.
      truncation: of the samples; statistics of truncated z suit images of truncated z.

    Raises:
      RunError: an argument out of its range, or batch norm of an unknown kind or none at all.
    """
    if num_batches < 1 or batch_size < 2:
        raise RunError(
            f"standing statistics need at least 1 batch (={num_batches}) of at least 2 samples (={batch_size}); raise "
            "the one that is lower."
        )
    forgetful = {name: _forgetful(spec) for name, spec in run.method.networks.items()}
    batch_statistics = _make_batch_statistics(run, forgetful)
    # A batch that the devices cannot share is computed by each of them; padding it would change the statistics.
    spread = PartitionSpec("data") if batch_size % run.mesh.size == 0 else PartitionSpec()
    total: dict[str, Stats] = {}
    for number in range(num_batches):
        start = _FIRST_SAMPLE + number * batch_size
        inputs = latents.draw(run.latent_dim, run.num_classes, seed, start, batch_size, truncation=truncation)
        batch = batch_statistics(variables, jax.device_put(inputs, NamedSharding(run.mesh, spread)))
        total = jax.tree.map(lambda a, b: a + b, total, batch) if total else batch
    # Placed explicitly: a training that evaluates forbids transfers that nobody asked for.
    count = jax.device_put(np.float32(num_batches), NamedSharding(run.mesh, PartitionSpec()))
    found = {name: _averaged(variables[name], stats, forgetful[name], count) for name, stats in total.items()}
    if not any(forgetful[name].statistics for name in found):
        raise RunError(f"the generator of {run.workdir} has no batch norm, so it has no statistics to recompute.")
    return {**variables, **found}


@dataclasses.dataclass(frozen=True)
class _Forgetful:
    """A network whose running statistics are replaced by those of each batch instead of being moved towards them."""

    network: Network
    statistics: frozenset[tuple[str, ...]]  # paths of running statistics among the network's stats


class _InTraining(BoundNetwork):
    """Runs in training mode whatever the caller says, and remembers that it ran."""

    called = False

    def __call__(self, *args: Any, train: bool = True, update_stats: bool = True) -> Any:
        self.called = True
        return super().__call__(*args, train=True, update_stats=True)


def _make_batch_statistics(run: Run, forgetful: Mapping[str, _Forgetful]) -> Any:
    """Returns a jitted function (variables, inputs) -> {network that ran: its stats after the batch}."""

    def batch_statistics(variables: Mapping[str, Average], inputs: Any) -> dict[str, Stats]:
        nets = {name: _InTraining(forgetful[name].network, v.params, v.stats) for name, v in variables.items()}
        run.method.sample(nets, inputs)
        return {name: net.stats for name, net in nets.items() if net.called}

    return jax.jit(batch_statistics, compiler_options=compiler_options())


def _forgetful(spec: NetworkSpec) -> _Forgetful:
    statistics: set[tuple[str, ...]] = set()
    networks: list[Network] = []

    def build(rngs: nnx.Rngs) -> nnx.Module:
        module = spec.build(rngs)
        known = {path for path, part in nnx.iter_modules(module) if _forget(part)}
        for path, _ in nnx.to_flat_state(nnx.state(module, nnx.BatchStat)):
            if path[:-1] not in known:
                raise RunError(
                    f"the running statistic {'.'.join(map(str, path))} belongs to no BatchNorm of jaxgan or Flax, so "
                    "it cannot be recomputed; use the running statistics."
                )
            statistics.add(tuple(map(str, path)))
        return module

    # Shapes suffice: the weights come from the run. Under a trace nothing is drawn.
    jax.eval_shape(lambda: networks.append(network_lib.create(build, jax.random.key(0))[0]))
    return _Forgetful(networks[0], frozenset(statistics))


def _forget(part: nnx.Module) -> bool:
    """Makes running = 0 * running + 1 * whole batch; False where the module is no batch norm."""
    if isinstance(part, BatchNorm):
        part.decay, part.groups = 0.0, 1
    elif isinstance(part, nnx.BatchNorm):
        part.momentum = 0.0
    return isinstance(part, (BatchNorm, nnx.BatchNorm))


def _averaged(old: Average, total: Stats, forgetful: _Forgetful, count: jax.Array) -> Average:
    """Takes the running statistics from the total and everything else from before."""

    def choose(path: tuple[Any, ...], before: jax.Array, summed: jax.Array) -> jax.Array:
        return summed / count if tuple(key.key for key in path) in forgetful.statistics else before

    return Average(params=old.params, stats=jax.tree.map_with_path(choose, old.stats, total))
