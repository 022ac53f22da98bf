"""One line of progress: where the run is, how fast it goes, when it ends, and what it is waiting for."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO


class StatusLine:
    """Shows `step 1,200/10,000 (12 %)  d_loss 1.234  g_loss -0.1  1,234 images/s  ETA 1 h 02 min`.

    On a terminal the line is rewritten in place; elsewhere (a file, a pipe, a notebook) lines are appended, at most one
    status per `min_seconds`. The rate is measured over the window since the last report, the ETA follows from it.
    The first report opens the first window, so it shows no rate and the compilation before it counts nowhere; call
    `restart` after the first step to have a rate in the first report too.
    """

    def __init__(
        self,
        *,
        total_steps: int,
        images_per_step: int,
        stream: TextIO | None = None,
        min_seconds: float = 10.0,
        enabled: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the line; prints nothing.

        Args:
          total_steps: the step at which the run ends.
          images_per_step: real images that one step consumes, over all devices and processes.
          stream: where to write; None = stderr.
          min_seconds: least time between two status lines if `stream` is not a terminal.
          enabled: False on all processes but one: measures, prints nothing.
          clock: seconds, monotonic.
        """
        self._total_steps = total_steps
        self._images_per_step = images_per_step
        self._stream = sys.stderr if stream is None else stream
        self._in_place = self._stream.isatty()
        self._min_seconds = min_seconds
        self._enabled = enabled
        self._clock = clock
        self._window: tuple[int, float] | None = None  # (step, seconds) at which the window began
        self._printed_at: float | None = None  # seconds at which the last status line was shown
        self._line_is_open = False  # on a terminal: the cursor stands behind a line that may be rewritten

    def restart(self, step: int) -> None:
        """Begins the window at `step`, now: what happened before counts neither in the rate nor in the ETA."""
        self._window = (step, self._clock())

    def report(self, step: int, scalars: Mapping[str, float]) -> float | None:
        """Shows the line for `step` and begins the next window.

        Args:
          step: steps done so far.
          scalars: what to show, already on the host; `train/d_loss` is shown as `d_loss`.

        Returns:
          images/s over the window; None if there was none.
        """
        seconds_per_step = self._seconds_per_step(step)
        self.restart(step)
        if self._is_due(step):
            self._show(self._format(step, scalars, seconds_per_step))
            self._printed_at = self._clock()
        return None if seconds_per_step is None else self._images_per_step / seconds_per_step

    def note(self, text: str) -> None:
        """Shows what the run is waiting for, such as "compiling the train step ...", until the next line."""
        self._show(text)

    def say(self, text: str) -> None:
        """Shows `text` on a line that stays."""
        self._show(text)
        self.close()

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Shows `text` like `note` and keeps the time spent inside out of the rate and the ETA."""
        self.note(text)
        began = self._clock()
        try:
            yield
        finally:
            if self._window is not None:
                step, seconds = self._window
                self._window = (step, seconds + self._clock() - began)

    def close(self) -> None:
        """Ends the line, so that what is printed next starts on its own."""
        if self._line_is_open:
            self._stream.write("\n")
            self._stream.flush()
            self._line_is_open = False

    def _seconds_per_step(self, step: int) -> float | None:
        if self._window is None:
            return None
        steps, seconds = step - self._window[0], self._clock() - self._window[1]
        return seconds / steps if steps > 0 and seconds > 0 else None

    def _is_due(self, step: int) -> bool:
        if self._in_place or self._printed_at is None or step >= self._total_steps:
            return True
        return self._clock() - self._printed_at >= self._min_seconds

    def _format(self, step: int, scalars: Mapping[str, float], seconds_per_step: float | None) -> str:
        percent = 100 * step // self._total_steps
        parts = [f"step {step:,}/{self._total_steps:,} ({percent} %)"]
        parts += [f"{name.rpartition('/')[2]} {float(value):.4g}" for name, value in scalars.items()]
        if seconds_per_step is not None:
            rate = self._images_per_step / seconds_per_step
            parts.append(f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:.2g} images/s")
            if step < self._total_steps:
                parts.append(f"ETA {format_duration((self._total_steps - step) * seconds_per_step)}")
        return "  ".join(parts)

    def _show(self, text: str) -> None:
        if not self._enabled:
            return
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1  # a wrapped line could not be rewritten
            self._stream.write(f"\r{text[:width]}\x1b[K")
            self._line_is_open = True
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()


def format_duration(seconds: float) -> str:
    """Returns a duration in its two largest units: `2 d 03 h`, `1 h 02 min`, `5 min 07 s`, `12 s`."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"
