"""docs/results.md from docs/results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Row -> (score, "least" or "most", bound): what the mean over the row's seeds is to reach.
TARGETS: dict[str, list[tuple[str, str, float]]] = {
    "digits": [("as_asked", "least", 0.98), ("taught", "least", 0.96)],
    "sagan_mnist": [("recognised", "least", 0.95), ("as_asked", "least", 0.98), ("taught", "least", 0.96)],
    "dcgan_mnist": [
        ("recognised", "least", 0.95),
        ("least share", "least", 0.07),
        ("largest share", "most", 0.13),
    ],
    "gan_mnist": [],
    "sagan_cifar10_narrow": [("fid-768", "most", 1.0)],
    "dcgan_cifar10": [],
}
_FRACTIONS = ("recognised", "as_asked", "as_asked_lowest", "taught", "taught_by_real", "least share", "largest share")

_HEAD = """# Results

Written by `python -m benchmarks.results` from the folders of runs: their `config.json`, `run.json`, `metrics.jsonl`,
`evaluations.jsonl` and `judgements.jsonl`; no figure is typed. Figures are means over the seeds with their range; times
are those of the training steps alone. `recognised`, `as_asked`, `taught` and the shares of classes are explained in
`benchmarks/judge.py`. FID-768 is the distance in 768 of Inception's features, and cannot be compared with the published
ones in 2,048.

"""


def page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the whole page; rows in the order in which they were added."""
    return _HEAD + "\n".join(_section(name, row) for name, row in rows.items())


def _section(name: str, row: Mapping[str, Any]) -> str:
    seconds = row["train_seconds"]
    targets = {label: (kind, bound) for label, kind, bound in TARGETS.get(name, [])}
    lines = [
        f"## `{name}`",
        "",
        f"![samples](results/{name}.png)",
        "",
        f"{row['steps']:,} steps, {row['images_seen']:,} images seen of {row['num_images']:,}; seeds "
        f"{', '.join(map(str, row['seeds']))}; {_range([s / 60 for s in seconds], '.1f')} minutes on {_machine(row)}; "
        f"commit {', '.join(revision[:7] + '+changes' * ('+' in revision) for revision in row['revisions'])}.",
        "",
        "| score | value | target |",
        "|---|---|---|",
        *(_line(label, score["values"], targets.get(label)) for label, score in row["scores"].items()),
        "",
    ]
    lines += [f"- {protocol}" for protocol in dict.fromkeys(score["protocol"] for score in row["scores"].values())]
    lines += _curve_lines(row["curves"])
    return "\n".join([*lines, ""])


def _line(label: str, values: Sequence[float], target: tuple[str, float] | None) -> str:
    form = ".2%" if label in _FRACTIONS else ".3f"
    said = ""
    if target is not None:
        kind, bound = target
        mean = sum(values) / len(values)
        met = mean >= bound if kind == "least" else mean <= bound
        said = f"at {kind} {bound:{'.0%' if label in _FRACTIONS else 'g'}}: {'met' if met else '**missed**'}"
    return f"| {label} | {_range(values, form)} | {said} |"


def _curve_lines(curves: Sequence[Mapping[str, Sequence[Sequence[float]]]]) -> list[str]:
    """One line per score that was taken more than once, of the first seed."""
    return [
        f"- {label} along the first seed's training: " + ", ".join(f"{value:.3g} ({step:,})" for step, value in points)
        for label, points in curves[0].items()
        if len(points) > 1
    ]


def _range(values: Sequence[float], form: str) -> str:
    mean = sum(values) / len(values)
    return f"{mean:{form}}" + (f" ({min(values):{form}} ... {max(values):{form}})" if len(values) > 1 else "")


def _machine(row: Mapping[str, Any]) -> str:
    devices, versions = row["devices"], row["versions"]
    software = f"{row['platform']}; Python {versions['python']}, jax {versions['jax']}"
    return f"{devices['count']} x {devices['kind']} ({software})"
