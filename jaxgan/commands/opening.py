"""Flags that say which run, which of its steps, weights and batch norm statistics a command uses."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from jaxgan.commands.errors import CommandError
from jaxgan.core.state import Average
from jaxgan.generation.run import Run, open_run
from jaxgan.generation.standing import standing_statistics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `add_weights_arguments`, and --truncation, --seed and --batch_size of what is drawn."""
    add_weights_arguments(parser)
    parser.add_argument("--truncation", type=float, help="bound of every element of z, > 0; default: none")
    parser.add_argument("--seed", type=int, default=0, help="of z and random classes (default 0)")
    parser.add_argument("--batch_size", type=int, default=64, help="images per batch on all devices (default 64)")


def add_weights_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `add_run_arguments`, and --bn."""
    add_run_arguments(parser)
    parser.add_argument(
        "--bn", default="running", metavar="running|standing:N",
        help="batch norm by the training's running statistics (default), or recomputed over N training batches",
    )  # fmt: skip


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --workdir, --step and --weights."""
    parser.add_argument("--workdir", required=True, help="folder of the run, finished or training")
    parser.add_argument("--step", type=int, help="of the checkpoint; default: the newest")
    parser.add_argument(
        "--weights", choices=("auto", "ema", "raw"), default="auto",
        help="averaged or raw weights; auto (default) = averaged where the run keeps them",
    )  # fmt: skip


def open_from(args: argparse.Namespace) -> Run:
    """Opens the run that the flags name, after the flags that need no run are checked."""
    num_standing_batches(args.bn)
    return open_run(args.workdir, step=args.step)


def choose_variables(run: Run, args: argparse.Namespace) -> Mapping[str, Average]:
    """Returns the weights that the flags name, with the batch norm statistics that they name.

    Standing statistics are of batches of the training's size, whatever --batch_size, and of the truncation asked for.
    """
    variables = run.variables(args.weights)
    if not (num_batches := num_standing_batches(args.bn)):
        return variables
    return standing_statistics(
        run,
        variables,
        num_batches=num_batches,
        batch_size=run.config.batch_size,
        seed=args.seed,
        truncation=args.truncation,
    )


def num_standing_batches(text: str) -> int:
    """Returns N of `standing:N`, 0 for `running`; raises CommandError for anything else."""
    kind, _, number = text.partition(":")
    if text == "running":
        return 0
    if kind != "standing" or not number.isdecimal() or int(number) < 1:
        raise CommandError(f"--bn (={text!r}) must be running or standing:N with N >= 1 batches; try standing:16.")
    return int(number)


def describe(run: Run, args: argparse.Namespace) -> dict[str, Any]:
    """Returns what the flags chose, for the JSON beside the images."""
    return {
        "workdir": str(run.workdir.resolve()),
        "step": run.step,
        "weights": run.weights_used(args.weights),
        "bn": args.bn,
        "truncation": args.truncation,
        "seed": args.seed,
    }


def folder_name(run: Run, args: argparse.Namespace, what: str) -> str:
    """Returns a folder's name that tells what was chosen, e.g. `step_00001500_class_7_seed_0_truncation_0.5`."""
    parts = [f"step_{run.step:08d}", *([what] if what else []), f"seed_{args.seed}"]
    parts += [f"truncation_{args.truncation:g}"] if args.truncation is not None else []
    parts += [args.weights] if args.weights != "auto" else []
    parts += [args.bn.replace(":", "_")] if args.bn != "running" else []
    return "_".join(parts)
