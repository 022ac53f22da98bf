"""What do the usual failures of a GAN look like? Trains a healthy run of configs/digits.py, and five that fail.

    python -m benchmarks.failures                                    # all six, one after the other
    python -m benchmarks.failures healthy logit_gap logit_gap_lr     # some; remedies are run only when they are named

Each is a few command lines, which are printed before they run and can be typed without this file: a training in
OUT/NAME, its report, and samples where the failure shows in those alone. At the end, or at once with --table_only,
comes a table of what the runs logged. docs/curves.md shows their pictures and tells how to read them.

A training that its own monitor stops ends with status 2, which is what some of these are there to show. A run that has
its report is not run again; delete its folder for that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

RECIPE = "configs/digits.py"
OUT = Path("runs/failures")
# Of all runs: the batch and the learning rates that the recipe had when the page's figures were taken, curves of more
# points than a training usually writes, and a judgement of diversity from the first grid on.
COMMON = {
    "batch_size": "32", "g_optim.lr": "4e-4", "d_optim.lr": "1.6e-3",
    "log.every_steps": "10", "sample.every_steps": "100", "health.diversity_from_step": "100",
}  # fmt: skip
EXPECTED = (0, 2)  # exit statuses of a training: done, or stopped by its monitor


@dataclasses.dataclass(frozen=True)
class Run:
    """Settings beside the recipe's and the common ones, and what is drawn, as flags of `python -m jaxgan generate`.

    `is_extra`: a failure as a monitor sees it, or with a cause of it removed; run only when named.
    """

    settings: tuple[str, ...] = ()
    drawn: tuple[tuple[str, ...], ...] = ()
    is_extra: bool = False


def commands(name: str, out: Path = OUT) -> list[list[str]]:
    """Returns the command lines of a run, from `python` on: training, report, samples."""
    run, workdir = RUNS[name], f"--workdir={out / name}"
    settings = [f"--config.{field}={value}" for field, value in settings_of(run).items()]
    return [
        ["python", "-m", "jaxgan.main", f"--config={RECIPE}", workdir, *settings],
        ["python", "-m", "jaxgan", "report", workdir],
        *(["python", "-m", "jaxgan", "generate", workdir, *flags] for flags in run.drawn),
    ]


def settings_of(run: Run) -> dict[str, str]:
    """Returns the values of the fields that a run sets."""
    return COMMON | dict(setting.split("=", 1) for setting in run.settings)


def perform(name: str, out: Path = OUT) -> int:
    """Runs the command lines of a run; returns 0, or the first exit status that is a failure of the command itself."""
    if (out / name / "report.html").is_file():
        print(f"{out / name} has its report and is left as it is.", file=sys.stderr)
        return 0
    for number, command in enumerate(commands(name, out)):
        print(f"$ {shlex.join(command)}", file=sys.stderr, flush=True)
        status = subprocess.run([sys.executable, *command[1:]]).returncode
        print(f"exit status {status}", file=sys.stderr, flush=True)
        if status not in EXPECTED if number == 0 else status:
            return status
    return 0


def figures(workdir: Path) -> dict[str, Any]:
    """Returns what a run logged: means over the last 200 steps, but for the last diversity and the counted events."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    logged = [{name: float(value) for name, value in line.items()} for line in lines]
    trained = [line for line in logged if "train/d_loss" in line]
    last = [line for line in trained if line["step"] > trained[-1]["step"] - 200]

    def mean(name: str) -> float:
        return float(np.mean([line[f"train/{name}"] for line in last]))

    diversity = [line["health/diversity"] for line in logged if "health/diversity" in line]
    health = workdir / "health.jsonl"
    events = [json.loads(line)["event"] for line in health.read_text().splitlines()] if health.is_file() else []
    return {
        "last step": int(trained[-1]["step"]),
        "logit gap": mean("real_logits") - mean("fake_logits"),
        "accuracy of D": mean("d_accuracy"),
        "gradient norm of D": mean("d_grad_norm"),
        "gradient norm of G": mean("g_grad_norm"),
        "diversity": diversity[-1] if diversity else float("nan"),
        "warnings": events.count("warning"),
        "rollbacks": events.count("rollback"),
        "stopped": "yes" if "stopped" in events else "no",
    }


def table(out: Path, names: Sequence[str]) -> str:
    """Returns a Markdown table of the runs that have logged something."""
    rows = {name: figures(out / name) for name in names if (out / name / "metrics.jsonl").is_file()}
    if not rows:
        return f"No run in {out} has logged anything yet."
    columns = list(next(iter(rows.values())))
    lines = [f"| run | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return "\n".join(lines + [f"| {name} | {' | '.join(map(_text, row.values()))} |" for name, row in rows.items()])


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value


SHORT = "total_steps=600"  # a third of the healthy run's: these show by then
_STEEP = (SHORT, "model.d_spectral_norm=none")  # nothing bounds the slope of D
_GAP = (*_STEEP, "method.loss=minimax", "d_optim.lr=1.6e-2")  # nor asks the loss for an end, and D learns too fast
RUNS = {
    "healthy": Run(("total_steps=1800",)),
    "logit_gap": Run(_GAP),
    "logit_gap_watched": Run((*_GAP, "checkpoint.every_steps=100", "health.max_logit_gap=20"), is_extra=True),
    "logit_gap_lr": Run((*_STEEP, "method.loss=minimax"), is_extra=True),
    "logit_gap_hinge": Run(_STEEP, is_extra=True),
    # Wasserstein's critic must be Lipschitz, and nothing here makes it so.
    "gradient_norms": Run((*_STEEP, "method.loss=wasserstein")),
    # G learns ten times as fast as in the recipe, D a quarter as fast.
    "collapse": Run((SHORT, "g_optim.lr=4e-3", "d_optim.lr=4e-4")),
    # The clip takes hold of every parameter of D, the gate of its attention included.
    "dead_attention": Run((SHORT, "method.loss=wasserstein", "method.weight_clip=0.01")),
    "dead_attention_remedy": Run((SHORT, "method.loss=wasserstein"), is_extra=True),
    # Training normalises by each batch, so that it does not notice. The second of what is drawn is the remedy.
    "wrong_statistics": Run(
        ("total_steps=1000", "model.bn_decay=0.9999"), drawn=(("--num=100",), ("--num=100", "--bn=standing:16"))
    ),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"default: the healthy run and the five failures; {', '.join(RUNS)}"
    )
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder of the runs (default {OUT})")
    parser.add_argument("--table_only", action="store_true", help="train nothing, print the table of what is there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    if unknown := [name for name in arguments.names if name not in RUNS]:
        print(f"failures: there is no run {unknown[0]!r}; choose of {', '.join(RUNS)}.", file=sys.stderr)
        return 2
    names = arguments.names or [name for name, run in RUNS.items() if arguments.table_only or not run.is_extra]
    try:
        for name in [] if arguments.table_only else names:
            if status := perform(name, arguments.out):
                return status
    except KeyboardInterrupt:
        print("failures: stopped; type the same command to go on.", file=sys.stderr)
        return 130
    print(table(arguments.out, names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
