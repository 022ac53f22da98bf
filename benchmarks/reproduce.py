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


def _is_done(command: Command) -> bool:
    """Whether it is a training that has ended: it would only write another revision and other versions down."""
    if command[0] != "jaxgan.main":
        return False
    (workdir,) = (part.partition("=")[2] for part in command if part.startswith("--workdir="))
    done, total = progress(Path(workdir))
    return done >= total


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
    for command in commands(arguments.row, arguments.data, arguments.out, **chosen):
        print("$ " + typed(command), flush=True)
        if arguments.print or _is_done(command):
            continue
        if status := subprocess.run([sys.executable, "-m", *command]).returncode:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
