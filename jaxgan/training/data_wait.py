"""How long the devices have nothing to do because the next batch is not there yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax


class DataWait:
    """Takes batches from an iterator and counts the waits during which the devices ran out of work.

    The host runs ahead of the devices, so most of its waits cost nothing: one counts only if the last step was finished
    when the batch arrived. It then counts whole, although the devices may have worked for a part of it, so the share is
    an upper bound.
    """

    def __init__(self, batches: Iterator[Any], clock: Callable[[], float] = time.monotonic):
        """Begins the first window.

        Args:
          batches: where batches come from.
          clock: seconds, monotonic.
        """
        self._batches, self._clock = batches, clock
        self._last: Any = None
        self._waited, self._began = 0.0, clock()

    def next(self) -> Any:
        """Returns the next batch."""
        began = self._clock()
        batch = next(self._batches)
        if self._last is None or self._last.is_ready():
            self._waited += self._clock() - began
        return batch

    def dispatched(self, result: jax.Array) -> None:
        """Is told a result of the step that was just handed to the devices."""
        self._last = result

    def share(self) -> float:
        """Returns the part of the wall time since the last call that was waited for data, in [0, 1]."""
        now = self._clock()
        share = self._waited / max(now - self._began, 1e-9)
        self._waited, self._began = 0.0, now
        return min(share, 1.0)
