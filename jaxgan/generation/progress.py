"""One line of progress for work of known length, on stderr, so that standard output stays the results'."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TextIO


class Counter(Protocol):
    """Whatever wants to know of finished work; `Progress` is one."""

    def advance(self, n: int) -> None: ...


class Progress:
    """Shows `generating 640/10,000 images  312.4 images/s  eta 0:31`.

    On a terminal the line is rewritten in place, at most ten times per second; elsewhere a line is appended at most
    every ten seconds, and none at all for shorter work. The clock of the rate starts at the first call of `advance`,
    which stands for the compilation too: the images of that call count as done, not towards the rate.
    """

    def __init__(
        self,
        what: str,
        total: int,
        unit: str = "images",
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Prepares the line; prints nothing.

        Args:
          what: what is being done, e.g. "generating".
          total: units of work.
          unit: their name in the plural.
          stream: where to write; None = stderr.
          clock: seconds, monotonic.
        """
        self._what, self._total, self._unit = what, total, unit
        self._stream = sys.stderr if stream is None else stream
        self._in_place = self._stream.isatty()
        self._clock = clock
        self._done = 0
        self._first: tuple[int, float] | None = None  # (units, seconds) at which the rate begins
        self._shown_at = clock() - (1.0 if self._in_place else 0.0)
        self._line_is_open = False

    def advance(self, n: int) -> None:
        """Counts `n` more finished units."""
        now = self._clock()
        self._done += n
        if self._first is None:
            self._first = (self._done, now)
        if now - self._shown_at >= (0.1 if self._in_place else 10.0) or (self._in_place and self._done >= self._total):
            self._shown_at = now
            self._show(now)

    def close(self) -> None:
        """Ends the line, so that what is printed next starts on its own."""
        if self._line_is_open:
            self._stream.write("\n")
            self._stream.flush()
            self._line_is_open = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.close()

    def _show(self, now: float) -> None:
        text = f"{self._what} {self._done:,}/{self._total:,} {self._unit}"
        if self._first is not None and self._done > self._first[0] and now > self._first[1]:
            rate = (self._done - self._first[0]) / (now - self._first[1])
            text += f"  {rate:,.1f} {self._unit}/s  eta {_clock_time((self._total - self._done) / rate)}"
        self._stream.write(f"\r{text}\x1b[K" if self._in_place else f"{text}\n")
        self._stream.flush()
        self._line_is_open = self._in_place


def _clock_time(seconds: float) -> str:
    """Returns `0:31`, `12:05` or `1:02:03`."""
    total = max(0, round(seconds))
    hours, minutes = total // 3600, total // 60 % 60
    return f"{hours}:{minutes:02d}:{total % 60:02d}" if hours else f"{minutes}:{total % 60:02d}"
