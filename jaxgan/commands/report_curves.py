"""The sections with curves: what the training logged, and the scores of its evaluations."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgan.commands.report_chart import Series, line_chart
from jaxgan.commands.report_page import Section, note, table
from jaxgan.commands.report_records import SCORES, finite, group_protocols, read_evaluations, read_metrics
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.protocol import warn_if_unlike
from jaxgan.evaluation.settings import LOWER_IS_BETTER
from jaxgan.evaluation.translations import INPUT

_GROUPS = {  # ending of a metric's name -> title of the chart that holds all of them
    "_loss": "Losses", "_logits": "Mean logits", "_grad_norm": "Gradient norms", "_accuracy": "Accuracy of D",
    "_gate": "Gates of attention",
}  # fmt: skip
_TITLES = {"fid": "FID", "is": "Inception score", "kid": "KID", "intra_fid": "Intra-class FID",
           "cas": "Classification accuracy score"}  # fmt: skip


def training_curves(workdir: Path) -> Section:
    """Charts of everything in metrics.jsonl but the scores."""
    metrics = read_metrics(workdir)
    charts: dict[str, list[Series]] = {}
    lost = 0
    for name, points in metrics.items():
        if name == "images_seen" or name.startswith("eval/"):
            continue
        drawn, short = finite(points), name.removeprefix("train/")
        lost += len(points) - len(drawn)
        if drawn:
            charts.setdefault(_chart_of(short), []).append(Series(short, drawn))
    parts = [line_chart(title, charts[title]) for title in _ordered(charts)]
    if not parts:
        return Section("training", "Training", note("metrics.jsonl has no line yet; the training has just begun."))
    warning = note(f"{lost:,} values are not finite and are left out of the curves.") if lost else ""
    return Section("training", "Training", f'{warning}<div class="charts">{"".join(parts)}</div>')


def score_curves(workdir: Path) -> Section:
    """A chart per metric, a line per protocol, a table of all numbers, and the protocols in full."""
    rows = [row for row in read_evaluations(workdir) if row["scores"]]
    if not rows:
        text = f"There is no evaluation yet; python -m jaxgan evaluate --workdir={workdir} makes one."
        return Section("scores", "Scores", note(text))
    groups = group_protocols([row["protocol"] for row in rows])
    charts = [chart for name, error in SCORES.items() if (chart := _score_chart(name, error, rows, groups))]
    parts = [_warnings(rows, groups), f'<div class="charts">{"".join(charts)}</div>']
    parts += [_score_table(rows, groups), _inputs(rows), _protocols(rows, groups)]
    return Section("scores", "Scores", "".join(parts))


def _chart_of(name: str) -> str:
    if name == "images_per_second":
        return "Speed (images/s)"
    return next((title for ending, title in _GROUPS.items() if name.endswith(ending)), name)


def _ordered(charts: dict[str, list[Series]]) -> list[str]:
    known = [title for title in _GROUPS.values() if title in charts]
    return known + [title for title in charts if title not in known]


def _score_chart(name: str, error: str | None, rows: Sequence[dict[str, Any]], groups: list[list[int]]) -> str:
    series = []
    for label, group in zip(_labels(name, rows, groups), groups, strict=True):
        kept = [rows[i] for i in group if name in dict(finite_scores(rows[i]))]
        if not kept:
            continue
        errors = [dict(finite_scores(row)).get(error or "") for row in kept]
        points = [(row["step"], row["scores"][name]) for row in kept]
        series.append(Series(label, points, errors if any(value is not None for value in errors) else None))
    title = _TITLES.get(name, name.capitalize()) + (" (lower is better)" if name in LOWER_IS_BETTER else "")
    return line_chart(title, series) if series else ""


def _labels(name: str, rows: Sequence[dict[str, Any]], groups: list[list[int]]) -> list[str]:
    """Returns the name of each group's line: the direction of its translations, and which protocol where that helps."""
    directions = [rows[group[0]].get("direction", "") for group in groups]
    several = len(set(directions)) < len(groups)
    parts = [[direction] if direction else [] for direction in directions]
    if several:
        parts = [[*part, f"protocol {number}"] for number, part in enumerate(parts, start=1)]
    return [" ".join(part) or name for part in parts]


def finite_scores(row: dict[str, Any]) -> list[tuple[str, float]]:
    """Returns the scores of an evaluation that can be drawn."""
    return [(name, value) for name, value in row["scores"].items() if finite([(0, value)])]


def _score_table(rows: Sequence[dict[str, Any]], groups: list[list[int]]) -> str:
    shown = [name for name in SCORES if any(name in row["scores"] for row in rows)]
    number = {i: n for n, group in enumerate(groups, start=1) for i in group}
    translated = any("direction" in row for row in rows)
    body = [
        [
            f"{row['step']:,}",
            *([row.get("direction", "")] if translated else []),
            *(_score(row["scores"], name) for name in shown),
            _text(row.get("num_samples")),
            number[i],
        ]
        for i, row in enumerate(rows)
    ]
    return table(
        ["step", *(["direction"] if translated else []), *shown, "samples", "protocol"], body, caption="All evaluations"
    )


def _score(scores: dict[str, float], name: str) -> str:
    if name not in scores:
        return ""
    error = scores.get(SCORES[name] or "")
    return f"{scores[name]:.5g}" + ("" if error is None else f" ± {error:.2g}")


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)


def _inputs(rows: Sequence[dict[str, Any]]) -> str:
    """Returns what the images scored before they were translated, direction by direction, where that is known."""
    scored = {row["direction"]: row[INPUT] for row in rows if isinstance(row.get(INPUT), dict) and "direction" in row}
    texts = [
        f"{direction} {', '.join(f'{name} {value:.4g}' for name, value in found.items())}"
        for direction, found in scored.items()
    ]
    return note(f"Before they are translated, the images score: {'; '.join(texts)}.") if texts else ""


def _protocols(rows: Sequence[dict[str, Any]], groups: list[list[int]]) -> str:
    items = "".join(f"<li><code>{html.escape(rows[group[0]]['protocol'])}</code></li>" for group in groups)
    return f"<h3>Protocols</h3><ol class='protocols'>{items}</ol>"


def _warnings(rows: Sequence[dict[str, Any]], groups: list[list[int]]) -> str:
    """Returns a note where scores of unlike protocols share a chart; directions are not there to be compared."""
    directions = [rows[group[0]].get("direction") for group in groups]
    several = [direction for direction in dict.fromkeys(directions) if directions.count(direction) > 1]
    notes = [_warning([row for row in rows if row.get("direction") == direction]) for direction in several]
    return "".join(
        note(f"{text} ({direction})" if direction else text) for direction, text in zip(several, notes, strict=True)
    )


def _warning(rows: Sequence[dict[str, Any]]) -> str:
    plain = "these scores cannot be compared, their protocols differ; evaluate again with one protocol."
    try:
        text = warn_if_unlike(list(dict.fromkeys(row["protocol"] for row in rows))) or plain
    except (EvaluationError, TypeError):
        text = plain
    return text[0].upper() + text[1:]
