"""Trains, evaluates and adds a row of docs/results.md: one command from a fresh clone.

    python -m benchmarks.reproduce digits
    python -m benchmarks.reproduce sagan_mnist --data=/data/mnist
    python -m benchmarks.reproduce sagan_mnist --data=/data/mnist --shrink   # a few steps, to see that all of it runs

It prints each command before it runs it, and they are those that one would type: `python -m jaxgan.main`, `python -m
jaxgan evaluate`, `python -m benchmarks.judge`, `python -m benchmarks.results add`. Type it again after an interruption
and it goes on: runs resume, finished ones are passed over. docs/reproduce.md tells of every row; they are defined in
`benchmarks/rows.py`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import progress
from benchmarks.row_commands import Command, commands, typed
from benchmarks.rows import ROWS


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status of the first command that fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--data", default="", help="the images that the row needs")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", help="other seeds than the row's; needs --docs")
    parser.add_argument("--docs", type=Path, help="where the row goes; default: docs/, or with --shrink --out/docs")
    parser.add_argument("--shrink", action="store_true", help="a few steps and samples; the row does not go to docs/")
    parser.add_argument("--print", action="store_true", help="print the commands and run none")
    arguments = parser.parse_args(argv)
    row = ROWS[arguments.row]
    if bool(row.needs) != bool(arguments.data):
        fix = "add --data=PATH" if row.needs else "leave --data out"
        has = f"needs {row.needs}" if row.needs else "needs no images of yours"
        print(f"reproduce: the row {arguments.row} {has}; {fix}.", file=sys.stderr)
        return 2
    docs = arguments.docs or (arguments.out / "docs" if arguments.shrink else None)
    if arguments.seeds and not docs:
        print("reproduce: --seeds makes another row than the project's; add --docs=FOLDER for it.", file=sys.stderr)
        return 2
    chosen = {"seeds": arguments.seeds, "shrink": arguments.shrink, "docs": docs}
    listed = commands(arguments.row, arguments.data, arguments.out, **chosen)
    if arguments.print:
        print("\n".join("$ " + typed(command) for command in listed))
        return 0
    try:
        return _run(listed)
    except KeyboardInterrupt:
        print("reproduce: stopped; type the same command to go on.", file=sys.stderr)
        return 130


def _run(listed: Sequence[Command]) -> int:
    """Runs commands until one fails, or a training is stopped, which ends with status 0; returns the exit status."""
    for command in listed:
        print("$ " + typed(command), flush=True)
        if _is_training(command) and _has_ended(command):
            continue  # again, it would only write another revision and other versions down
        if status := subprocess.run([sys.executable, "-m", *command]).returncode:
            return status
        if _is_training(command) and not _has_ended(command):
            print("reproduce: the training was stopped; type the same command to go on.", file=sys.stderr)
            return 130
    return 0


def _is_training(command: Command) -> bool:
    return command[0] == "jaxgan.main"


def _has_ended(training: Command) -> bool:
    (workdir,) = (part.partition("=")[2] for part in training if part.startswith("--workdir="))
    done, total = progress(Path(workdir))
    return done >= total


if __name__ == "__main__":
    sys.exit(main())
