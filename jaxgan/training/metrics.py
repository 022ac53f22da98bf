"""Metrics on their way from the device: fetched late, checked for every step, written for some."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from jaxgan.training.epochs import Epoch, EpochMeans


class HealthError(RuntimeError):
    """The run went wrong and was stopped; the message says what was seen, since when, and what to try.

    Attributes:
      step: at which it was found.
    """

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


class NonFiniteError(HealthError):
    """A loss or gradient became NaN or infinite; the message names the step, the network and the last checkpoint."""

    def __init__(self, step: int, name: str, network: str | None):
        of = f" of network {network!r}" if network else ""
        super().__init__(f"{name}{of} is not finite at step {step}", step)
        self.name, self.network = name, network


class MetricWindow:
    """Holds the metrics of the last steps as device arrays, so that no step waits for its own numbers."""

    def __init__(
        self, names: Sequence[str], networks: Sequence[str] = ("g", "d"), epoch_means: EpochMeans | None = None
    ):
        """Initializes an empty window.

        Args:
          names: of the entries of each step's vector, phase by phase.
          networks: of the method.
          epoch_means: collects what is fetched.
        """
        self._names, self._networks, self._epoch_means = list(names), tuple(networks), epoch_means
        self._finished: list[Epoch] = []
        self._rows: list[tuple[int, np.ndarray]] = []
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
                raise NonFiniteError(step, name, network_of(name, self._networks))
            self._rows.append((step, row))
            if self._epoch_means is not None and (epoch := self._epoch_means.add(step, row)):
                self._finished.append(epoch)
        return dict(zip(self._names, map(float, values[-1]), strict=True)) if due else {}

    def fetched(self) -> list[tuple[int, dict[str, float]]]:
        """Takes out (step, metrics) of every step that was fetched since the last call, in order."""
        rows, self._rows = self._rows, []
        return [(step, dict(zip(self._names, map(float, row), strict=True))) for step, row in rows]

    def finished_epochs(self) -> list[Epoch]:
        """Takes out the summaries of the epochs whose last step was fetched."""
        finished, self._finished = self._finished, []
        return finished


def network_of(metric: str, networks: Sequence[str]) -> str | None:
    """Returns the network that a metric speaks of: `d_loss` -> d, `g_ab_grad_norm` -> g_ab, `real_logits` -> d.

    None where it speaks of several, such as the cycle loss of CycleGAN's generators.
    """
    found = [network for network in networks if metric.startswith(f"{network}_")]
    if found:
        return max(found, key=len)
    return "d" if "d" in networks and not metric.endswith("_loss") else None  # logits, accuracy and penalties are D's
