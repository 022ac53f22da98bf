"""Times the training step of several presets, each in a process of its own, and prints the figures as one table.

    python -m benchmarks.speed_table --presets all --json=speed.json
    python -m benchmarks.speed_table --presets dcgan64 sagan32 --dtypes float32 --rounds 3 --steps 1 --json=speed.json
    python -m benchmarks.speed_table --read speed.json other.json

What is not named here goes to `benchmarks.train_step`, which times and explains the figures: a ratio is PyTorch's time
over jaxgan's, so above 1 jaxgan is faster. Processes of their own keep the peak memory of one preset apart from
another's. A preset that fails is named below the table and changes the exit status; the others are still written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import PRESETS

Report = dict[str, Any]  # what `train_step --json` writes
_PEERS = ("PyTorch eager", "PyTorch compiled")
_HEADER = (
    "| preset, dtype | jaxgan images/s | of peak | memory | compile | PyTorch eager's time / ours | compiled's |",
    "|---|---|---|---|---|---|---|",
)


def time_preset(preset: str, arguments: Sequence[str]) -> Report:
    """Runs `train_step` on a preset in a new process.

    Raises:
      RuntimeError: with its last line, where it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.json"
        command = [sys.executable, "-m", "benchmarks.train_step", f"--preset={preset}", f"--json={path}", *arguments]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode or not path.exists():
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise RuntimeError(lines[-1])
        return json.loads(path.read_text())


def time_presets(
    presets: Sequence[str], arguments: Sequence[str], time: Callable[[str, Sequence[str]], Report] = time_preset
) -> tuple[list[Report], list[str]]:
    """Returns the reports of those that succeed, and a sentence for each that fails."""
    reports, problems = [], []
    for preset in presets:
        try:
            reports.append(time(preset, arguments))
        except RuntimeError as error:
            problems.append(f"{preset} is left out: {error}")
    return reports, problems


def format_table(reports: Sequence[Report]) -> str:
    """Returns a Markdown table with a line per preset and dtype, and below it what they were measured on."""
    rows = [_format_row(report, result) for report in reports for result in report["results"]]
    origins = dict.fromkeys(_describe(report) for report in reports)
    notes = dict.fromkeys(
        f"{report['case']}, {result['dtype']}: {note}"
        for report in reports
        for result in report["results"]
        for note in result["notes"]
    )
    return "\n".join([*_HEADER, *rows, "", *origins, *notes])


def _format_row(report: Report, result: dict[str, Any]) -> str:
    sides = {side["side"]: side for side in result["sides"]}
    ours = sides["jaxgan"]
    share, memory = ours["share_of_peak"], ours["memory_bytes"]
    cells = [
        f"`{report['case']}` {result['dtype']}",
        f"{ours['images_per_second']:.3g}",
        "-" if share is None else f"{share:.0%}",
        "-" if memory is None else f"{memory / 2**30:.2f} GiB",
        f"{ours['start_seconds']:.0f} s",
        *(_format_ratio(sides[name]["ratio"]) if name in sides else "not measured" for name in _PEERS),
    ]
    return f"| {' | '.join(cells)} |"


def _format_ratio(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} ... {ratio['max']:.2f})"


def _describe(report: Report) -> str:
    plan, versions = report["plan"], report["versions"]
    return (
        f"{report['devices']['kind']}, {report['cpu_cores']} CPU cores; jax {versions['jax']}, "
        f"torch {versions['torch']}, revision {report['git_revision']}; {plan['rounds']} rounds of "
        f"{plan['steps']} step(s); float32 multiplies in {report['float32_precision']}; peak: {report['peak_source']}."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--presets", nargs="+", choices=(*PRESETS, "all"))
    what.add_argument("--read", nargs="+", type=Path, metavar="FILE", help="print files that were written before")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all reports there, as one list")
    arguments, rest = parser.parse_known_args(argv)
    problems: list[str] = []
    try:
        if arguments.json and not arguments.json.absolute().parent.is_dir():
            raise OSError(f"--json (={arguments.json}) must lie in a folder that exists; create it first.")
        if arguments.read:
            reports = [report for path in arguments.read for report in json.loads(path.read_text())]
        else:
            presets = list(PRESETS) if "all" in arguments.presets else arguments.presets
            reports, problems = time_presets(presets, rest)
    except (OSError, ValueError) as error:
        print(f"speed_table: {error}", file=sys.stderr)
        return 2
    print(format_table(reports))
    for problem in problems:
        print(problem, file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=1) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
