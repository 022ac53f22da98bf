"""Metrics on their way from the device: fetched late, checked for every step, written for some."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np


class NonFiniteError(RuntimeError):
    """A loss or gradient became NaN or infinite; the message names the step, the network and the last checkpoint."""

    def __init__(self, step: int, name: str, network: str):
        super().__init__(f"{name} of network {network!r} is not finite at step {step}")
        self.step, self.name, self.network = step, name, network


class MetricWindow:
    """Holds the metrics of the last steps as device arrays, so that no step waits for its own numbers."""

    def __init__(self, names: Sequence[str]):
        """Args: names: of the entries of each step's vector, phase by phase."""
        self._names = list(names)
        self._pending: list[tuple[int, jax.Array]] = []

    def add(self, step: int, vector: jax.Array) -> None:
        """Keeps the float32 vector of a step; does not wait for it."""
        self._pending.append((step, vector))

    def fetch(self, up_to: int) -> dict[str, float]:
        """Takes the steps up to `up_to` out, checks each, and returns the metrics of the last of them.

        Raises:
          NonFiniteError: for the first value that is not finite, in order of steps and of phases.
        """
        due = [(step, vector) for step, vector in self._pending if step <= up_to]
        self._pending = self._pending[len(due) :]
        values = jax.device_get([vector for _, vector in due])
        for (step, _), row in zip(due, values, strict=True):
            if not np.all(np.isfinite(row)):
                name = self._names[int(np.argmax(~np.isfinite(row)))]
                raise NonFiniteError(step, name, network_of(name))
        return dict(zip(self._names, map(float, values[-1]), strict=True)) if due else {}


def network_of(metric: str) -> str:
    """Returns the network that a metric speaks of: `d_loss` -> d, `g_ab_grad_norm` -> g_ab, `real_logits` -> d."""
    for suffix in ("_loss", "_grad_norm"):
        if metric.endswith(suffix):
            return metric.removesuffix(suffix)
    return "d"  # logits, accuracy and penalties are outputs of the discriminator
