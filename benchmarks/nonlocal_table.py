"""The tables of `nonlocal_comparison.py`, from what lies in the folders of its runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan import config_tree
from jaxgan.config import Config, ConfigError
from jaxgan.evaluation import records
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.protocol import Protocol, differences
from jaxgan.training.workdir import write_json


def collect(out: Path) -> dict[str, Any]:
    """Returns what the runs in a folder say, as JSON values; see `summarize` for the figures.

    Raises:
      ConfigError: there is no evaluated run, or they differ in more than mask and seed.
      EvaluationError: they were evaluated in different ways.
    """
    runs: list[dict[str, Any]] = []
    first: tuple[Path, Config, str] | None = None
    for path in sorted(out.glob("*/config.json")):
        workdir, config = path.parent, config_tree.from_dict(json.loads(path.read_text()))
        found, span = records.read(workdir), config.model.attention_span
        if not found:
            continue
        first = first or (workdir, config, found[0]["protocol"])
        _check_comparable(first, workdir, config, [record["protocol"] for record in found])
        runs.append(
            {
                "workdir": workdir.name,
                "variant": "full" if span < 0 else f"span{span}",
                "span": span,
                "seed": config.seed,
                "fid": {str(record["step"]): record["fid"] for record in found},
                "run": json.loads((workdir / "run.json").read_text()),
            }
        )
    if first is None:
        raise ConfigError(f"--out (={out}) holds no run that was evaluated; train some first.")
    runs.sort(key=lambda run: (run["span"], run["seed"]))
    return {"config": config_tree.to_dict(first[1]), "protocol": first[2], "runs": runs, "summary": summarize(runs)}


def _check_comparable(first: tuple[Path, Config, str], workdir: Path, config: Config, protocols: list[str]) -> None:
    changes = set(config_tree.differences(first[1], config)) - {"seed", "model.attention_span"}
    if changes:
        raise ConfigError(
            f"{first[0]} and {workdir} differ in more than mask and seed ({', '.join(sorted(changes))}); keep them in "
            "folders of their own."
        )
    for protocol in protocols:
        if unlike := differences(Protocol.parse(first[2]), Protocol.parse(protocol)):
            raise EvaluationError(
                f"{first[0]} and {workdir} were evaluated in different ways ({', '.join(unlike)}); keep them in "
                "folders of their own."
            )


def summarize(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns {variant: {step: {"fid": figures over seeds, "minus_full": figures of the same seed's differences}}}.

    Figures are mean, min, max and the number of seeds; `minus_full` is None where no seed has a run without mask.
    """
    full = {(run["seed"], step): fid for run in runs if run["variant"] == "full" for step, fid in run["fid"].items()}
    summary: dict[str, dict[str, Any]] = {}
    for variant in dict.fromkeys(run["variant"] for run in runs):
        own = [run for run in runs if run["variant"] == variant]
        steps = sorted({int(step) for run in own for step in run["fid"]})
        summary[variant] = {}
        for step in map(str, steps):
            pairs = [(run["seed"], run["fid"][step]) for run in own if step in run["fid"]]
            minus = [fid - full[seed, step] for seed, fid in pairs if (seed, step) in full]
            summary[variant][step] = {
                "fid": _figures([fid for _, fid in pairs]),
                "minus_full": _figures(minus) if minus and variant != "full" else None,
            }
    return summary


def _figures(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "min": min(values), "max": max(values), "num_seeds": len(values)}


def markdown(comparison: dict[str, Any]) -> str:
    """Returns the table, and under it all that the figures depend on."""
    summary = comparison["summary"]
    steps = sorted({step for figures in summary.values() for step in figures}, key=int)
    last = steps[-1]
    head = ["variant", "seeds", *(f"FID at step {int(step):,}" for step in steps), "at the last minus full, same seed"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for variant, figures in summary.items():
        seeds = max(entry["fid"]["num_seeds"] for entry in figures.values())
        cells = [_cell(figures[step]["fid"], seeds) if step in figures else "" for step in steps]
        minus = figures[last]["minus_full"] if last in figures else None
        cells.append(_cell(minus, seeds, "+.2f") if minus else "")
        lines.append(f"| {variant} | {seeds} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n" + _conditions(comparison) + "\n"


def _cell(figures: dict[str, float], seeds: int, form: str = ".2f") -> str:
    fewer = "" if figures["num_seeds"] == seeds else f"; {figures['num_seeds']} of {seeds} seeds"
    return f"{figures['mean']:{form}} ({figures['min']:{form}} ... {figures['max']:{form}}{fewer})"


def _conditions(comparison: dict[str, Any]) -> str:
    config, protocol = config_tree.from_dict(comparison["config"]), Protocol.parse(comparison["protocol"])
    model, (height, width) = config.model, config.data.height_width
    facts = [run["run"] for run in comparison["runs"]]
    return (
        f"Mean (range) over seeds; lower is better. {facts[0]['data']['num_images']:,} images at {height}x{width}, "
        f"batch {config.batch_size}; G {_dashes(model.g_widths)}, D {_dashes(model.d_widths)}, attention at "
        f"{_sides(model.g_attention_resolutions)} in G, at {_sides(model.d_attention_resolutions)} in D. FID of "
        f"{protocol.num_samples:,} samples against {protocol.num_reference:,} images; {protocol.extractor}, "
        f"{protocol.dims} dimensions, weights {protocol.weights}, batch norm {protocol.bn}. "
        f"Commit {_each(facts, _revision)}; {_each(facts, _machine)}."
    )


def _each(facts: Sequence[dict[str, Any]], describe: Callable[[dict[str, Any]], str]) -> str:
    return ", ".join(sorted({describe(fact) for fact in facts}))


def _revision(run: dict[str, Any]) -> str:
    revision, plus, _ = (run["git_revision"] or "unknown").partition("+")
    return revision[:7] + ("+changes" if plus else "")


def _machine(run: dict[str, Any]) -> str:
    devices, versions = run["devices"], run["versions"]
    software = f"Python {versions['python']}, jax {versions['jax']}"
    return f"{devices['count']} x {devices['kind']} ({run['platform'].partition('-')[0]}; {software})"


def _dashes(widths: Sequence[int]) -> str:
    return "-".join(map(str, widths))


def _sides(resolutions: Sequence[int]) -> str:
    return " and ".join(f"{side}x{side}" for side in resolutions)


def write_tables(out: Path) -> str:
    """Writes `comparison.json` and `comparison.md`; returns the table."""
    comparison = collect(out)
    write_json(out / "comparison.json", comparison)
    text = markdown(comparison)
    (out / "comparison.md").write_text(text, encoding="utf-8")
    return text
