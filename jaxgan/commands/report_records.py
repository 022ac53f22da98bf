"""What a run wrote line by line: metrics and evaluations, read while it may still be writing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgan.evaluation import records
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.protocol import Protocol, differences
from jaxgan.evaluation.settings import METRICS
from jaxgan.training.writers import METRICS_FILE

_NAMES = [name for names in METRICS.values() for name in names]
# name of a score -> name of its error bar, or None; in the order in which they are shown
SCORES = {name: f"{name}_std" if f"{name}_std" in _NAMES else None for name in _NAMES if not name.endswith("_std")}


def read_metrics(workdir: Path) -> dict[str, list[tuple[int, float]]]:
    """Returns {metric: [(step, value), ...]} in the order of the file; values may be NaN or infinite."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in _read_lines(workdir / METRICS_FILE):
        for name, value in row.items():
            number = _number(value)
            if name != "step" and number is not None:
                found.setdefault(name, []).append((row["step"], number))
    return found


def read_evaluations(workdir: Path) -> list[dict[str, Any]]:
    """Returns the evaluations by step: what their lines say, and "scores" {name: number}."""
    rows = []
    for record in records.read(workdir):
        numbers = {name: _number(record.get(name)) for name in _NAMES}
        rows.append(record | {"scores": {name: number for name, number in numbers.items() if number is not None}})
    return sorted(rows, key=lambda row: row["step"])


def group_protocols(protocols: Sequence[str]) -> list[list[int]]:
    """Returns the numbers of those whose scores can be compared, group by group, in the order of their first."""
    groups: list[list[int]] = []
    for i, text in enumerate(protocols):
        group = next((group for group in groups if _comparable(protocols[group[0]], text)), None)
        if group is None:
            groups.append([i])
        else:
            group.append(i)
    return groups


def _comparable(a: str, b: str) -> bool:
    try:
        return not differences(Protocol.parse(a), Protocol.parse(b))
    except (EvaluationError, TypeError):
        return a == b


def _number(value: Any) -> float | None:
    """Reads a number, or one of the texts that stand for those JSON has not; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity"):
        return None
    return float(value)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the whole lines that are objects with a step; the last one may be half-written, the file absent."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int) and not isinstance(row["step"], bool):
            rows.append(row)
    return rows


def finite(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Returns the points that can be drawn."""
    return [(step, value) for step, value in points if math.isfinite(value)]
