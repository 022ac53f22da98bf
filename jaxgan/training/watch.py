"""The monitor at its place in the loop: what is fetched and drawn goes in, warnings and failures come out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxgan.config import Config
from jaxgan.data.domains import DomainsDataset
from jaxgan.data.pipeline import Dataset
from jaxgan.methods.base import Method
from jaxgan.training import health
from jaxgan.training.diversity import make_meter
from jaxgan.training.metrics import HealthError
from jaxgan.training.recording import Recorder
from jaxgan.training.rollback import Rollbacks
from jaxgan.training.status import StatusLine

# Losses under which logits have a scale; see `health.py`.
_SCALED = ("hinge", "non_saturating", "minimax", "least_squares")


class Watch:
    """Observes one attempt of a run."""

    def __init__(
        self,
        config: Config,
        method: Method,
        dataset: Dataset | DomainsDataset,
        inputs: Any,
        *,
        record: Recorder,
        status: StatusLine,
        rollbacks: Rollbacks,
    ):
        """Begins to watch.

        Args:
          config: the settings.
          method: what is trained.
          dataset: the real images.
          inputs: of the sample grids.
          record: where scalars go.
          status: where warnings are said.
          rollbacks: where events are written down.
        """
        self._health, self._record, self._status, self._rollbacks = config.health, record, status, rollbacks
        has_scale = getattr(method, "loss_fns", None) in _SCALED
        self._monitor = health.HealthMonitor(config.health, tuple(method.networks), watch_logits=has_scale)
        self._meter = make_meter(dataset, inputs, config.sample.columns) if config.health.min_diversity else None

    @property
    def is_healthy(self) -> bool:
        """Whether no warning is open, so that a checkpoint saved now is one to roll back to."""
        return self._monitor.is_healthy

    def steps(self, fetched: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Takes the metrics of steps, in order; raises HealthError if they fail."""
        for step, metrics in fetched:
            self._act(self._monitor.observe_step(step, metrics))

    def samples(self, step: int, grids: Mapping[str, np.ndarray]) -> None:
        """Takes what was drawn at a step; raises HealthError if it fails.

        Judged are the raw weights, which change first.
        """
        if self._meter is None or step < self._health.diversity_from_step:
            return
        ratio = self._meter.measure(grids["raw"])
        self._record.health(step, {"diversity": ratio})
        self._act(self._monitor.observe_diversity(step, ratio))

    def _act(self, events: Iterable[health.Event]) -> None:
        for event in events:
            sentence = event.sentence()
            number = {"value": event.value if np.isfinite(event.value) else str(event.value), "limit": event.limit}
            about = {"event": event.kind, "step": event.step, "since": event.since, "signal": event.signal, **number}
            if event.kind == health.FAILED:
                raise HealthError(sentence, event.step)
            self._rollbacks.log(about)
            if event.kind == health.WARNING:
                self._status.say(f"warning: {sentence}; checkpoints do not count as healthy until it clears.")
