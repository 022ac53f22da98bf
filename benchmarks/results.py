"""The table of results, from the files that runs and their evaluations leave in their folders; nothing is typed.

    python -m benchmarks.results add digits runs/digits_0 runs/digits_1 runs/digits_2
    python -m benchmarks.results table

`add NAME WORKDIR...` takes the runs of one row (benchmarks/rows.py), which may differ in their seeds only: what
`config.json`, `run.json`, `metrics.jsonl`, `evaluations.jsonl` and `judgements.jsonl` (benchmarks/judge.py) say of them
goes to docs/results.json, and the newest sample grid of the first run, made small, to docs/results/NAME.webp. `table`
writes docs/results.md and the README's table from docs/results.json, which `add` does too. `python -m
benchmarks.reproduce NAME` trains, evaluates and adds a row.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.cases import override
from benchmarks.judge import FILE as JUDGEMENTS
from benchmarks.judge import without_folders
from benchmarks.results_page import page, readme_table
from benchmarks.rows import ROWS, Row
from jaxgan import config_tree
from jaxgan.config import Config, ConfigError
from jaxgan.evaluation import records
from jaxgan.evaluation.protocol import Protocol
from jaxgan.evaluation.settings import LOWER_IS_BETTER, METRICS
from jaxgan.evaluation.translations import INPUT
from jaxgan.generation.run_files import read_config, read_data
from jaxgan.methods.registry import build_method
from jaxgan.recipe import load_recipe
from jaxgan.training.workdir import write_json

DOCS = Path(__file__).resolve().parent.parent / "docs"
_BEGIN, _END = "<!-- results, by `python -m benchmarks.results table` -->\n\n", "\n<!-- end of results -->"
_PICTURE_SIDE = 560  # pixels; of the longer side
_MACHINE = ("devices", "cpu_cores", "platform", "versions")
_JUDGED = ("recognised", "recognised_real", "as_asked", "as_asked_lowest", "variety", "taught", "taught_by_real")

Result = dict[str, Any]


def collect(workdirs: Sequence[Path]) -> Result:
    """Returns the row of these runs, as JSON values.

    Raises:
      ConfigError: there is no run in one of the folders, one is unfinished or was never judged or evaluated, or they
        differ in more than the seed.
    """
    runs = [_read(workdir) for workdir in workdirs]
    first = runs[0]["config"]
    for workdir, run in zip(workdirs, runs, strict=True):
        if changes := set(config_tree.differences(first, run["config"])) - {"seed"}:
            raise ConfigError(f"{workdir} differs from {workdirs[0]} in {', '.join(sorted(changes))}; give it a row.")
        if set(run["scores"]) != set(runs[0]["scores"]):
            raise ConfigError(f"{workdir} and {workdirs[0]} were not evaluated alike; evaluate both in one way.")
    starts = [start for run in runs for start in (run["facts"], *run["facts"].get("earlier", ()))]
    machines = [{name: start.get(name) for name in _MACHINE} for start in starts]
    return {
        "config": _anywhere(first),
        "seeds": [run["config"].seed for run in runs],
        "steps": runs[0]["step"],
        "images_seen": runs[0]["images_seen"],
        "train_seconds": [round(run["train_seconds"], 1) for run in runs],
        "revisions": sorted({start.get("git_revision") or "unknown" for start in starts}),
        "machines": [machine for i, machine in enumerate(machines) if machine not in machines[:i]],
        "num_images": runs[0]["facts"]["data"]["num_images"],
        "scores": {
            name: {"values": [run["scores"][name][0] for run in runs], "protocol": runs[0]["scores"][name][1]}
            for name in runs[0]["scores"]
        },
        "curves": [run["curves"] for run in runs],
    }


def check_row(name: str, result: Result) -> None:
    """Checks that runs were trained as the row says.

    Raises:
      ConfigError: there is no such row, or settings or seeds are others; names them.
    """
    if name not in ROWS:
        raise ConfigError(f"{name} is no row of benchmarks/rows.py; define it there, or take one of {', '.join(ROWS)}.")
    expected = _anywhere(expected_config(ROWS[name]))
    changes = sorted(
        f"config.{field} ({is_!r} instead of {should!r})"
        for field, (should, is_) in _differing(expected, result["config"]).items()
    )
    if tuple(result["seeds"]) != ROWS[name].seeds:
        changes.append(f"the seeds ({result['seeds']} instead of {list(ROWS[name].seeds)})")
    if changes:
        raise ConfigError(f"the runs are not those of the row {name}: {', '.join(changes)}; run benchmarks.reproduce.")


def expected_config(row: Row) -> Config:
    """Returns the settings of a row's runs, but for the seed and the place of the images.

    Raises:
      ConfigError: the row sets a field that does not exist.
    """
    recipe, colon, variant = row.recipe.partition(":")
    config = load_recipe(f"{DOCS.parent / 'configs' / recipe}.py{colon}{variant}")
    source = (f"data.source={row.source}",) if row.source else ()
    return override(config, (*row.settings, *source))


def _anywhere(config: Config) -> dict[str, Any]:
    """Returns settings as JSON values, without the seed and the folders that only one machine has."""
    tree = json.loads(json.dumps(config_tree.to_dict(config)))
    tree["data"]["source"] = without_folders(tree["data"]["source"])
    return tree | {"seed": None}


def _differing(expected: dict[str, Any], found: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns {field: (expected, found)} where a field changes what is trained; the number of steps is one here."""
    one, other = (config_tree.from_dict(tree | {"seed": 0}) for tree in (expected, found))
    steps = one.total_steps, other.total_steps
    return config_tree.differences(one, other) | ({"total_steps": steps} if steps[0] != steps[1] else {})


def progress(workdir: Path) -> tuple[int, int]:
    """Returns how many steps a run has trained, and how many it is to train; (0, 1) where there is no run."""
    try:
        total = json.loads((workdir / "config.json").read_text())["total_steps"]
        timed = _timed(workdir)
    except OSError:
        return 0, 1
    return (timed[-1]["step"] if timed else 0), total


def _timed(workdir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "images_per_second" in line]


def _read(workdir: Path) -> dict[str, Any]:
    try:
        config = config_tree.from_dict(json.loads((workdir / "config.json").read_text()))
        facts = json.loads((workdir / "run.json").read_text())
        timed = _timed(workdir)
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read; give the folders of finished runs.") from None
    if not timed or timed[-1]["step"] < config.total_steps:
        done = timed[-1]["step"] if timed else 0
        raise ConfigError(f"{workdir} has trained {done:,} of {config.total_steps:,} steps; finish it first.")
    scores, curves = _evaluated(workdir, config)
    scores |= _judged(workdir, config)
    if not scores:
        raise ConfigError(f"{workdir} has no score of step {config.total_steps:,}; evaluate or judge it first.")
    return {
        "config": config,
        "facts": facts,
        "step": timed[-1]["step"],
        "images_seen": timed[-1]["images_seen"],
        "train_seconds": _seconds(timed),
        "scores": scores,
        "curves": curves,
    }


def _seconds(timed: Sequence[dict[str, Any]]) -> float:
    """The time of the steps alone: without the start, grids, checkpoints and evaluations."""
    seen = [0, *(line["images_seen"] for line in timed)]
    rates = (line["images_per_second"] for line in timed)
    return sum((after - before) / rate for before, after, rate in zip(seen, seen[1:], rates, strict=False))


def _evaluated(workdir: Path, config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns {label: (value, protocol)} of the last step, and {label: [[step, value], ...]} of all.

    Where a step was evaluated with several numbers of samples, the largest is its score; a curve is of one number.
    """
    scores: dict[str, Any] = {}
    curves: dict[str, dict[int, Any]] = {}
    evaluations = [(Protocol.parse(record["protocol"]), record) for record in records.read(workdir)]
    for protocol, record in sorted(evaluations, key=lambda each: (each[0].num_samples or 0, each[1]["step"])):
        if protocol.reference is not None:
            protocol = dataclasses.replace(protocol, reference=without_folders(protocol.reference))
        values = {name: record[name] for names in METRICS.values() for name in names if name in record}
        values |= {f"untranslated {name}": value for name, value in record.get(INPUT, {}).items()}
        for name, value in values.items():
            label = f"{name}-{protocol.dims}" if name.split()[-1] in LOWER_IS_BETTER else name  # between features
            label += f" {protocol.direction}" if protocol.direction else ""
            curves.setdefault(label, {}).setdefault(protocol.num_samples or 0, []).append([record["step"], value])
            if record["step"] == config.total_steps:
                scores[label] = (value, str(protocol))
    return scores, {label: max(found.values(), key=len) for label, found in curves.items()}


def _judged(workdir: Path, config: Config) -> dict[str, Any]:
    path = workdir / JUDGEMENTS
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    scores: dict[str, Any] = {}
    for line in lines:
        if line["step"] == config.total_steps:
            protocol = "; ".join(f"{name}={value}" for name, value in line["protocol"].items())
            scores |= {name: (line[name], protocol) for name in _JUDGED if name in line}
            scores |= {"least share": (min(line["shares"]), protocol), "largest share": (max(line["shares"]), protocol)}
    return scores


def picture(workdir: Path, out: Path, *, shown: Sequence[int] = ()) -> None:
    """Writes the newest sample grid of a run as WebP, at most 560 pixels large; `shown` are columns of it, () = all.

    Raises:
      ConfigError: the run has none.
    """
    grids = sorted(path for path in (workdir / "samples").glob("step_*.png") if not path.stem.endswith("_raw"))
    if not grids:
        raise ConfigError(f"{workdir}/samples holds no grid; train with config.sample.every_steps above 0.")
    with Image.open(grids[-1]) as opened:
        image = opened.convert("RGB")
    if shown:
        config = read_config(workdir)
        of = build_method(config, read_data(workdir)).grid_columns(config.sample.columns)
        image = Image.fromarray(columns_as_rows(np.asarray(image), shown, of=of))
    scale = _PICTURE_SIDE / max(image.size)
    if scale < 1:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    out.parent.mkdir(parents=True, exist_ok=True)
    image.save(out, quality=80, method=6)


def columns_as_rows(grid: np.ndarray, shown: Sequence[int], *, of: int) -> np.ndarray:
    """Lays chosen columns of a grid of square images (H, W, C), which has `of` of them, down as rows."""
    pitch = grid.shape[1] // of
    edge = grid.shape[1] - of * pitch  # padding lies between images, and around the grid
    cells = grid[edge:, edge:].reshape(-1, pitch, of, pitch, grid.shape[2])[:, :, list(shown)]
    rows = cells.transpose(2, 1, 0, 3, 4).reshape(len(shown) * pitch, -1, grid.shape[2])
    return np.pad(rows, ((edge, 0), (edge, 0), (0, 0)))


def write_readme(path: Path, rows: dict[str, Result]) -> None:
    """Replaces the README's table of results."""
    before, table, after = split_readme(path.read_text(encoding="utf-8"))
    if table != readme_table(rows):
        path.write_text(before + readme_table(rows) + after, encoding="utf-8")


def split_readme(text: str) -> tuple[str, str, str]:
    """Returns the README before, in and after the table of results."""
    start, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    return text[:start], text[start:end], text[end:]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS, help="where results.json, results.md and results/ lie")
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="runs of one row")
    add.add_argument("name")
    add.add_argument("workdirs", nargs="+", type=Path)
    commands.add_parser("table", help="write the page again")
    arguments = parser.parse_args(argv)
    is_project = arguments.docs.resolve() == DOCS  # however it is spelt
    path = arguments.docs / "results.json"
    rows: dict[str, Result] = json.loads(path.read_text()) if path.exists() else {}
    try:
        if arguments.command == "add":
            rows[arguments.name] = row = collect(arguments.workdirs)
            if is_project:
                check_row(arguments.name, row)
            shown = ROWS[arguments.name].shown if arguments.name in ROWS else ()
            picture(arguments.workdirs[0], arguments.docs / "results" / f"{arguments.name}.webp", shown=shown)
            write_json(path, rows)
        (arguments.docs / "results.md").write_text(page(rows), encoding="utf-8")
        if is_project:
            write_readme(DOCS.parent / "README.md", rows)
    except ConfigError as error:
        print(f"results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
