"""docs/results.md from docs/results.json and the definitions of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.row_commands import commands, place, typed
from benchmarks.rows import ROWS, Row, Target

Result = Mapping[str, Any]

_FRACTIONS = (
    "recognised", "recognised_real", "as_asked", "as_asked_lowest", "taught", "taught_by_real", "least share",
    "largest share",
)  # fmt: skip

_HEAD = """# Results

Written by `python -m benchmarks.results` from the folders of runs: their `config.json`, `run.json`, `metrics.jsonl`,
`evaluations.jsonl` and `judgements.jsonl`; no figure is typed. `python -m benchmarks.reproduce ROW` trains, evaluates
and adds a row ([reproduce.md](reproduce.md)); the rows and their targets, which were set before anything was measured,
are defined in `benchmarks/rows.py`. Figures are means over the seeds with their range; minutes are those of the
training steps alone. `recognised`, `as_asked`, `variety`, `taught` and the shares of classes are explained in
`benchmarks/judge.py`. FID-768 is the distance in 768 of Inception's features, and cannot be compared with the published
ones in 2,048.
"""


def page(results: Mapping[str, Result]) -> str:
    """Returns the whole page, rows in the order in which they are defined."""
    rows = {name: (row, results.get(name)) for name, row in ROWS.items()}
    lines = ["| row | recipe | targets | minutes, on |", "|---|---|---|---|"]
    lines += [_overview(name, row, result) for name, (row, result) in rows.items()]
    return "\n".join([_HEAD, *lines, "", *(_section(name, row, result) for name, (row, result) in rows.items())])


def readme_table(results: Mapping[str, Result]) -> str:
    """Returns the README's table: of each measured row the scores with a target, else `recognised`; and distances."""
    lines = ["| row | mean over the seeds (range), target | seeds | minutes, on |", "|---|---|---|---|"]
    for name, row in ROWS.items():
        if name in results:
            found = results[name]
            scores = "; ".join(_headline(label, row, found["scores"]) for label in _headlines(row, found["scores"]))
            on = f"{_minutes(found)}, {_machine(found)}"
            lines.append(f"| [{name}](docs/results.md#{name}) | {scores} | {len(found['seeds'])} | {on} |")
    return "\n".join(lines) + "\n"


def _headlines(row: Row, scores: Mapping[str, Any]) -> list[str]:
    wanted = {target.score for target in row.targets} or {"recognised"}
    return [label for label in scores if label in wanted or label.startswith("fid-")]


def _headline(label: str, row: Row, scores: Mapping[str, Any]) -> str:
    said = next((_said(target, scores) for target in row.targets if target.score == label), "")
    return f"{label} {_range(scores[label]['values'], _form(label))}" + (f", {said}" if said else "")


def met(target: Target, scores: Mapping[str, Any]) -> bool:
    """Whether the mean over the seeds reaches a target; a score that was not taken does not."""
    if not {label for label in (target.score, target.bound) if isinstance(label, str)} <= set(scores):
        return False
    bound = _mean(scores[target.bound]["values"]) if isinstance(target.bound, str) else target.bound
    return target.met(_mean(scores[target.score]["values"]), bound)


def _overview(name: str, row: Row, result: Result | None) -> str:
    link = f"[{name}](#{name})"
    if result is None:
        return f"| {link} | `{row.recipe}` | not yet measured | meant for {row.hardware} |"
    found = [met(target, result["scores"]) for target in row.targets]
    said = f"{sum(found)} of {len(found)} met" if found else "none set"
    return f"| {link} | `{row.recipe}` | {said} | {_minutes(result)}, {_machine(result)} |"


def _section(name: str, row: Row, result: Result | None) -> str:
    lines = [f"## {name}", "", row.what, "", *_command_lines(name, row), ""]
    if result is None:
        lines += ["Not yet measured.", ""]
    else:
        lines += [f"![samples](results/{name}.webp)", "", *_measured(row, result), ""]
    return "\n".join([*lines, *([row.remarks, ""] if row.remarks else [])])


def _command_lines(name: str, row: Row) -> list[str]:
    """The command of the row, and the training that it runs."""
    data = f" --data={place(row)}" if row.needs else ""
    training = commands(name, place(row), Path("runs"))[0]
    return [f"    python -m benchmarks.reproduce {name}{data}", "", f"trains with `{typed(training)}`."]


def _measured(row: Row, result: Result) -> list[str]:
    seeds = ", ".join(map(str, result["seeds"]))
    targets = {target.score: target for target in row.targets}
    revisions = ", ".join(revision[:7] + "+changes" * ("+" in revision) for revision in result["revisions"])
    protocols = dict.fromkeys(score["protocol"] for score in result["scores"].values())
    return [
        f"{result['steps']:,} steps, {result['images_seen']:,} images seen of a set of {result['num_images']:,}; "
        f"seed{'s' * (len(result['seeds']) > 1)} {seeds}; {_minutes(result)} minutes at {_rate(result)} images/s on "
        f"{_machine(result)} ({_software(result)}); commit {revisions}.",
        "",
        "| score | value | target |",
        "|---|---|---|",
        *(_line(label, targets.get(label), result["scores"]) for label in result["scores"]),
        "",
        *(f"- `{protocol}`" for protocol in protocols),
        *_curve_lines(result),
    ]


def _line(label: str, target: Target | None, scores: Mapping[str, Any]) -> str:
    said = _said(target, scores) if target is not None else ""
    return f"| {label} | {_range(scores[label]['values'], _form(label))} | {said} |"


def _said(target: Target, scores: Mapping[str, Any]) -> str:
    shown = ".0%" if target.score in _FRACTIONS else "g"
    if not isinstance(target.bound, str):
        bound = f"{target.bound:{shown}}"
    elif target.bound in scores:
        bound = f"{target.bound} ({_range(scores[target.bound]['values'], _form(target.bound))})"
    else:
        bound = target.bound
    return f"{target.relation} {bound}: {'met' if met(target, scores) else '**missed**'}"


def _form(label: str) -> str:
    return ".2%" if label in _FRACTIONS else ".3f"


def _curve_lines(result: Result) -> list[str]:
    """One line per score and seed where it was taken more than once."""
    lines = []
    for label in result["curves"][0]:
        for seed, curves in zip(result["seeds"], result["curves"], strict=True):
            if len(curves[label]) > 1:
                of_seed = f" of seed {seed}" if len(result["seeds"]) > 1 else ""
                points = ", ".join(f"{value:.3g} ({step:,})" for step, value in curves[label])
                lines.append(f"- {label} along the training{of_seed}: {points}")
    return lines


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _range(values: Sequence[float], form: str) -> str:
    return f"{_mean(values):{form}}" + (f" ({min(values):{form}} ... {max(values):{form}})" if len(values) > 1 else "")


def _minutes(result: Result) -> str:
    return _range([seconds / 60 for seconds in result["train_seconds"]], ".1f")


def _rate(result: Result) -> str:
    rates = [result["images_seen"] / seconds for seconds in result["train_seconds"]]
    return _range(rates, ",.0f" if min(rates) >= 100 else ".1f")


def _machine(result: Result) -> str:
    """Where a run was trained; a run that was resumed elsewhere, and another seed, may name another machine."""
    return " and ".join(dict.fromkeys(_devices(machine) for machine in result["machines"]))


def _devices(machine: Mapping[str, Any]) -> str:
    devices, cores = machine["devices"], machine["cpu_cores"]
    if devices["kind"] == "cpu" and cores is not None:
        return f"{cores} CPU core{'s' * (cores > 1)}"
    return f"{devices['count']} x {devices['kind']}"


def _software(result: Result) -> str:
    found = (
        f"{machine['platform'].partition('-')[0]}, Python {machine['versions']['python']}, "
        f"jax {machine['versions']['jax']}"
        for machine in result["machines"]
    )
    return " and ".join(dict.fromkeys(found))
