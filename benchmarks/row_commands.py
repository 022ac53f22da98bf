"""What is to be typed to train, evaluate and add a row of docs/results.md."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rows import ROWS, Row

Command = list[str]

# What --shrink lays over a row: the real networks for a few steps, everything that follows on a few samples.
_FEW_STEPS = {
    "total_steps": "4", "batch_size": "8", "num_d_steps": "1", "checkpoint.every_steps": "2",
    "checkpoint.keep_every": "0", "sample.every_steps": "4", "sample.rows": "2", "sample.columns": "2",
    "log.every_steps": "1",
}  # fmt: skip
_FEW_SAMPLES = ("--num_samples=24", "--num_reference=24")
_FEW_JUDGED = ("--num=64", "--judge_steps=20", "--taught_steps=20", "--taught_num=64")


def commands(
    name: str,
    data: str,
    out: Path,
    *,
    seeds: Sequence[int] | None = None,
    shrink: bool = False,
    docs: Path | None = None,
) -> list[Command]:
    """Returns what is to be typed for a row, without `python -m`.

    Args:
      name: of the row.
      data: what the row needs; taken for `{data}`.
      out: folder of the runs.
      seeds: one run for each; None = the row's.
      shrink: a few steps and samples.
      docs: where the row goes; None = the project's docs/.
    """
    row = ROWS[name]
    seeds = row.seeds if seeds is None else seeds
    workdirs = [str(out / f"{name}_{seed}") for seed in seeds]
    trainings = [_training(row, seed, workdir, shrink) for seed, workdir in zip(seeds, workdirs, strict=True)]
    few = _FEW_SAMPLES if shrink else ()
    evaluations = [
        ["jaxgan", "evaluate", f"--workdir={workdir}", *flags, *few]
        for workdir in workdirs
        for flags in row.evaluations
    ]
    judging = [["benchmarks.judge", *workdirs, *row.judge, *(_FEW_JUDGED if shrink else ())]] if row.judge else []
    where = [f"--docs={docs}"] if docs else []
    found = [*trainings, *evaluations, *judging, ["benchmarks.results", *where, "add", name, *workdirs]]
    return [[part.replace("{data}", data) for part in command] for command in found]


def _training(row: Row, seed: int, workdir: str, shrink: bool) -> Command:
    settings = dict(setting.split("=", 1) for setting in row.settings)
    settings |= {"data.source": row.source} if row.source else {}
    settings |= {"seed": str(seed)}
    if shrink:
        settings |= _FEW_STEPS | ({"batch_size": "1"} if row.recipe.startswith("cyclegan") else {})
    recipe, _, variant = row.recipe.partition(":")
    path = f"configs/{recipe}.py" + (f":{variant}" if variant else "")
    return [
        "jaxgan.main",
        f"--config={path}",
        f"--workdir={workdir}",
        *(f"--config.{k}={v}" for k, v in settings.items()),
    ]


def typed(command: Command) -> str:
    """Returns a command as one types it."""
    return shlex.join(["python", "-m", *command])


def place(row: Row) -> str:
    """Returns what stands for the images of a row, in a command to be copied."""
    return f"/path/to/{row.needs.split()[-1]}" if row.needs else ""
