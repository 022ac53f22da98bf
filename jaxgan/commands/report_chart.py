"""Line charts as inline SVG, with the numbers beside them for the page's script to show."""

from __future__ import annotations

import dataclasses
import html
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 14, 12, 38  # margins
_MAX_POINTS = 400  # of a line; more are averaged in groups, and their range is drawn behind the line
_COLORS = 6  # classes c0 ... c5 of the style sheet
_MARKED = 60  # a line of fewer points shows them


@dataclasses.dataclass(frozen=True)
class Series:
    """One line: (x, y) with finite y, by ascending x, and the error bars' half lengths where there are any."""

    name: str
    points: Sequence[tuple[float, float]]
    errors: Sequence[float | None] | None = None


@dataclasses.dataclass(frozen=True)
class _Line:
    """A series after thinning: x, mean, lowest and highest, all of one length."""

    name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    has_errors: bool


def line_chart(title: str, series: Sequence[Series], *, x_label: str = "step") -> str:
    """Returns a <figure>: axes, a line per series, a legend, and the data as JSON.

    Args:
      title: of the figure, plain text.
      series: at least one, none of them empty.
      x_label: plain text.
    """
    lines = [_thin(one) for one in series]
    x_ticks = nice_ticks(min(line.x.min() for line in lines), max(line.x.max() for line in lines), 8)
    y_ticks = nice_ticks(min(line.low.min() for line in lines), max(line.high.max() for line in lines))
    x_range = (min(line.x.min() for line in lines), max(line.x.max() for line in lines))
    x_range = x_range if x_range[0] < x_range[1] else (x_ticks[0], x_ticks[-1])
    frame = _Frame(x_range, (y_ticks[0], y_ticks[-1]))
    drawn = "".join(_draw(frame, line, i % _COLORS) for i, line in enumerate(lines))
    last = "; ".join(f"{line.name}: {line.y[-1]:.4g}" for line in lines)
    data = {"range": [*frame.x, *frame.y], "box": [_LEFT, _TOP, _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM]}
    data |= {"series": [{"name": line.name, "x": _round(line.x), "y": _round(line.y)} for line in lines]}
    escaped, axes = html.escape(title), _axes(frame, x_ticks, y_ticks, x_label)
    return (
        f'<figure class="chart"><figcaption><strong>{escaped}</strong> {_legend(lines)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" tabindex="0" '
        f'aria-label="{escaped} by {html.escape(x_label)}; last values: {html.escape(last)}">'
        f'{axes}{drawn}<line class="cursor" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" visibility="hidden"/></svg>'
        f'<p class="readout" aria-live="polite">last: {html.escape(last)}</p>{json_script(data)}</figure>'
    )


def json_script(data: Any) -> str:
    """Returns data for the page's script; nothing in it can end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")
    return f'<script type="application/json">{text}</script>'


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns about `count` round numbers that enclose [low, high], at least two."""
    if not high > low:
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, last + 1)]


@dataclasses.dataclass(frozen=True)
class _Frame:
    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Maps data to units of the view box."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        down = (self.y[1] - y) / (self.y[1] - self.y[0])
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _TOP + down * (_HEIGHT - _TOP - _BOTTOM)


def _thin(series: Series) -> _Line:
    x, y = (np.asarray(values, np.float64) for values in zip(*series.points, strict=True))
    if series.errors is not None:
        half = np.asarray([error or 0.0 for error in series.errors], np.float64)
        return _Line(series.name, x, y, y - half, y + half, True)
    if len(x) <= _MAX_POINTS:
        return _Line(series.name, x, y, y, y, False)
    groups = np.array_split(np.arange(len(x)), _MAX_POINTS)
    mean_x, mean_y, low, high = (
        np.array([reduce(values[group]) for group in groups])
        for values, reduce in ((x, np.mean), (y, np.mean), (y, np.min), (y, np.max))
    )
    return _Line(series.name, np.round(mean_x), mean_y, low, high, False)


def _draw(frame: _Frame, line: _Line, color: int) -> str:
    px, py = frame.place(line.x, line.y)
    path = _points(px, py)
    _, low = frame.place(line.x, line.low)
    _, high = frame.place(line.x, line.high)
    parts = []
    if line.has_errors:
        bars = "".join(f"M{x:.1f} {a:.1f}V{b:.1f}" for x, a, b in zip(px, low, high, strict=True))
        parts.append(f'<path class="error c{color}" d="{bars}"/>')
    elif not np.array_equal(line.low, line.high):
        band = f"{_points(px, high)} {_points(px[::-1], low[::-1])}"
        parts.append(f'<polygon class="band c{color}" points="{band}"/>')
    parts.append(f'<polyline class="line c{color}" points="{path}"/>')
    if len(px) <= _MARKED:
        dots = zip(px, py, strict=True)
        parts += [f'<circle class="dot c{color}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in dots]
    return "".join(parts)


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _axes(frame: _Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str) -> str:
    parts = []
    for value in y_ticks:
        _, y = frame.place(frame.x[0], value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_side_tick(value)}</text>')
    bottom = _HEIGHT - _BOTTOM
    for value in x_ticks:
        if not frame.x[0] <= value <= frame.x[1]:
            continue
        x, _ = frame.place(value, frame.y[0])
        anchor = "end" if x > _WIDTH - _RIGHT - 20 else "middle"
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="{anchor}">{_tick(value)}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">{html.escape(x_label)}</text>')
    return "".join(parts)


def _tick(value: float) -> str:
    value = 0.0 if abs(value) < 1e-12 else value
    return f"{value:,.0f}" if abs(value) >= 1000 and value == round(value) else f"{value:.4g}"


def _side_tick(value: float) -> str:
    """A tick's text where it has only the margin: a million with all its digits would be cut off."""
    return _tick(value) if abs(value) < 1e6 else f"{value:.3g}"


def _legend(lines: Sequence[_Line]) -> str:
    return " ".join(
        f'<span class="key"><svg class="swatch" viewBox="0 0 22 8" aria-hidden="true"><line class="line '
        f'c{i % _COLORS}" x1="0" x2="22" y1="4" y2="4"/></svg>{html.escape(line.name)}</span>'
        for i, line in enumerate(lines)
    )


def _round(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") if value != round(value) else int(value) for value in values]
