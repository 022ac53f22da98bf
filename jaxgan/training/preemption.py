"""Polite stops: the loop finishes its step, saves, and returns."""

from __future__ import annotations

import signal
import threading
import types
from typing import Any

import jax


class StopRequest:
    """SIGTERM and Ctrl-C ask the loop to finish its step, save and return; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._previous: dict[int, Any] = {}
        self.signal_name: str | None = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        if self._event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
        self._event.set()

    def requested(self, step: int) -> bool:
        """Whether to stop after this step; all processes agree on it."""
        if jax.process_count() == 1:
            return self._event.is_set()
        from jax.experimental import multihost_utils

        return bool(multihost_utils.reached_preemption_sync_point(step))
