"""Polite stops: the loop finishes its step, saves, and returns."""

from __future__ import annotations

import os
import signal
import threading
import types
from typing import Any

import jax

from jaxgan.core import google_cloud


class StopRequest:
    """SIGTERM and Ctrl-C ask the loop to finish its step, save and return; a second Ctrl-C interrupts at once.

    On Google Cloud an announced end of the virtual machine asks for the same. Of several processes, the one that is
    asked stops all, at the same step: there, JAX listens for SIGTERM and agrees on the step, so its handler is left in
    its place, and whatever else asks for a stop is turned into that signal.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._previous: dict[int, Any] = {}
        self._maintenance: MaintenanceWatch | None = None
        self.signal_name: str | None = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            alone = jax.process_count() == 1
            for number in (signal.SIGTERM, signal.SIGINT) if alone else (signal.SIGINT,):
                self._previous[number] = signal.signal(number, self._handle)
        if google_cloud.on_google_cloud():
            self._maintenance = MaintenanceWatch(self._announced)
        return self

    def __exit__(self, *_: object) -> None:
        if self._maintenance is not None:
            self._maintenance.stop()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        if self._event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._request(signal.Signals(number).name)

    def _announced(self, event: str) -> None:
        if not self._event.is_set():
            self._request(event)

    def _request(self, name: str) -> None:
        self.signal_name = name
        self._event.set()
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def requested(self, step: int) -> bool:
        """Whether to stop after this step; all processes agree on it."""
        if jax.process_count() == 1:
            return self._event.is_set()
        from jax.experimental import multihost_utils

        if not multihost_utils.reached_preemption_sync_point(step):
            return False
        self.signal_name = self.signal_name or signal.SIGTERM.name
        return True


class MaintenanceWatch:
    """Waits in the background until Google announces that this machine is stopped, moved or taken away.

    `maintenance-event` is announced at least a minute before a host is taken down for maintenance, `preempted` when a
    spot machine is taken away (then 30 seconds are left).
    Source: https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice and
    https://cloud.google.com/compute/docs/instances/create-use-spot
    """

    _QUIET = {"maintenance-event": ("", "NONE", "MIGRATE_ON_HOST_MAINTENANCE"), "preempted": ("", "FALSE")}

    def __init__(self, announce: Any, *, retry_seconds: float = 30.0) -> None:
        """Starts to wait; `announce` is called with the event's name, from another thread."""
        self._announce = announce
        self._retry_seconds = retry_seconds
        self._stopped = threading.Event()
        for key in self._QUIET:
            threading.Thread(target=self._wait, args=(key,), name=f"jaxgan-{key}", daemon=True).start()

    def stop(self) -> None:
        """Stops to announce; the threads end with their next answer."""
        self._stopped.set()

    def _wait(self, key: str) -> None:
        etag = ""
        while not self._stopped.is_set():
            try:
                value, etag = google_cloud.metadata(key, wait_for_change=True, last_etag=etag, timeout=300.0)
            except (OSError, ValueError):
                self._stopped.wait(self._retry_seconds)
                continue
            if self._stopped.is_set():
                return
            if value not in self._QUIET[key]:
                return self._announce(f"{key} {value}")
            if not etag:
                self._stopped.wait(self._retry_seconds)
