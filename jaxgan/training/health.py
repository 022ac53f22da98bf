"""Is the training still healthy? A pure monitor: fed with numbers, it answers with events.

Watched are, each against a limit of `HealthConfig`:

- `logit_gap`: |mean logit of real images - mean logit of fake images|. Hinge losses have margins at -1 and 1, least
  squares targets 0 and 1, and of log-odds 25 apart from zero the loss is exact in float32 already; a gap many times as
  large says that D has run away from G. Wasserstein's critic has no scale, so nothing is watched there.
- `<network>_grad_norm`: the norm of a network's gradients over the median of its own last good steps.
- `diversity`: of the sample grid, as a fraction of real images' (`diversity.py`).

The first bad observation of a signal opens a warning, a good one clears it, and `patience` bad ones in a row are a
failure. What is not finite does not come here: it is a failure at once (`metrics.py`). The monitor's memory (medians,
counts) is not saved: after a resumption it fills again.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxgan.config import HealthConfig

WARNING, CLEARED, FAILED = "warning", "cleared", "failed"


@dataclasses.dataclass(frozen=True)
class Event:
    """What the monitor says of a signal."""

    kind: str  # WARNING | CLEARED | FAILED
    signal: str
    step: int  # of this observation
    since: int  # step of the first bad observation in a row; of CLEARED: of the row that ended
    value: float
    limit: float

    def sentence(self) -> str:
        """Says what was seen, without a full stop."""
        what, rule = _WORDS.get(self.signal, _WORDS["grad_norm"])
        network = self.signal.removesuffix("_grad_norm")
        return f"{what.format(value=f'{self.value:.4g}', network=network)} ({rule} = {self.limit:g}) {self._when()}"

    def _when(self) -> str:
        return f"since step {self.since:,}" if self.since < self.step else f"at step {self.step:,}"


_WORDS = {
    "logit_gap": ("the mean logits of real and fake images are {value} apart", "at most config.health.max_logit_gap"),
    "grad_norm": (
        "the gradient norm of network {network!r} is {value} times its median",
        "at most config.health.max_grad_norm_ratio",
    ),
    "diversity": (
        "the samples' diversity is {value} of that of real images",
        "at least config.health.min_diversity",
    ),
}


class HealthMonitor:
    """Turns observations into events; the same observations give the same events on every process."""

    def __init__(self, config: HealthConfig, networks: Sequence[str], *, watch_logits: bool):
        """Starts with an empty memory.

        Args:
          config: the limits.
          networks: whose gradient norms are watched.
          watch_logits: whether logits have a scale under the losses of this run.
        """
        self._config, self._watch_logits = config, watch_logits and config.max_logit_gap > 0
        ratio = config.max_grad_norm_ratio > 0
        self._norms = {
            f"{network}_grad_norm": collections.deque[float](maxlen=config.window)
            for network in (networks if ratio else ())
        }
        self._bad: dict[str, tuple[int, int]] = {}  # signal: (step of the first bad observation in a row, how many)

    @property
    def is_healthy(self) -> bool:
        """Whether no warning is open."""
        return not self._bad

    @property
    def open_warnings(self) -> list[str]:
        """Names of the signals that were bad when last seen."""
        return sorted(self._bad)

    def observe_step(self, step: int, metrics: Mapping[str, float]) -> list[Event]:
        """Takes the finite metrics of one step; steps must come in order."""
        events: list[Event] = []
        config = self._config
        if self._watch_logits and {"real_logits", "fake_logits"} <= metrics.keys():
            gap = abs(metrics["real_logits"] - metrics["fake_logits"])
            bad = gap > config.max_logit_gap
            events += self._judge("logit_gap", step, gap, config.max_logit_gap, bad=bad, patience=config.patience)
        for name, norms in self._norms.items():
            if name in metrics:
                events += self._judge_norm(name, step, metrics[name], norms)
        return events

    def observe_diversity(self, step: int, ratio: float) -> list[Event]:
        """Takes the diversity of a sample grid as a fraction of real images'; one that is not finite is bad."""
        limit = self._config.min_diversity
        patience = self._config.diversity_patience
        return self._judge("diversity", step, ratio, limit, bad=not ratio >= limit, patience=patience)

    def _judge_norm(self, name: str, step: int, norm: float, norms: collections.deque[float]) -> list[Event]:
        # Bad steps stay out of the median: otherwise a lasting jump would soon count as ordinary.
        full = len(norms) == self._config.window
        median = float(np.median(norms)) if full else 0.0
        limit = self._config.max_grad_norm_ratio
        bad = median > 0 and norm > limit * median
        if not bad:
            norms.append(norm)
        ratio = norm / median if median > 0 else 0.0
        return self._judge(name, step, ratio, limit, bad=bad, patience=self._config.patience)

    def _judge(self, signal: str, step: int, value: float, limit: float, *, bad: bool, patience: int) -> list[Event]:
        since, count = self._bad.get(signal, (step, 0))
        if not bad:
            self._bad.pop(signal, None)
            return [Event(CLEARED, signal, step, since, value, limit)] if count else []
        self._bad[signal] = since, count + 1
        if count + 1 >= patience:
            return [Event(FAILED, signal, step, since, value, limit)]
        return [Event(WARNING, signal, step, since, value, limit)] if not count else []
