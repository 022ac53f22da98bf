"""`python -m jaxgan COMMAND --help`: everything that is done with a run after its training, and with data before it."""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from jaxgan.commands.errors import CommandError

COMMANDS = ("generate", "morph", "match", "translate", "evaluate", "prepare", "convert", "export", "report")


def main(argv: Sequence[str]) -> int:
    """Runs one command; returns the exit code: 0, 2 for a mistake of the user's (one sentence on stderr), or 130."""
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(_overview())
            return 0
        command = _load(argv[0])
        arguments = _parse(argv[0], command, argv[1:])
    except CommandError as error:
        return _fail(str(error))
    _prepare_libraries()
    try:
        command.run(arguments)
        return 0
    except KeyboardInterrupt:
        print("jaxgan: interrupted.", file=sys.stderr, flush=True)
        return 130
    except _user_errors() as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}.")
    except Exception as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _fail("the devices have too little memory for this batch size; lower --batch_size, or use more devices.")


class _Parser(argparse.ArgumentParser):
    """Reports mistakes by an exception, in the words of the other errors."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message}; `{self.prog} --help` lists the flags.")


def _parse(name: str, command: ModuleType, argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog=f"python -m jaxgan {name}", description=command.HELP, allow_abbrev=False)
    command.add_arguments(parser)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        near = difflib.get_close_matches(unknown[0].partition("=")[0], flags, n=1)
        hint = f"did you mean {near[0]}?" if near else f"`{parser.prog} --help` lists the flags."
        raise CommandError(f"{name} does not know the argument {unknown[0]!r}; {hint}")
    return arguments


def _load(name: str) -> ModuleType:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}."
        raise CommandError(f"there is no command {name!r}; {hint}")
    return importlib.import_module(f"jaxgan.commands.{name}")


def _overview() -> str:
    lines = [f"  {name:<10} {_help_of(name)}" for name in COMMANDS]
    usage = "usage: python -m jaxgan COMMAND --help     (training: python -m jaxgan.main --config=FILE)"
    return "\n".join([usage, "", "commands:", *lines])


def _help_of(name: str) -> str:
    """Reads HELP off the source: importing every command would import JAX and take seconds."""
    source = Path(__file__).with_name("commands").joinpath(f"{name}.py").read_text()
    assigned = {
        node.targets[0].id: node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return str(ast.literal_eval(assigned["HELP"]))


def _prepare_libraries() -> None:
    """As the training does: quiet logs, and compiled programs kept between starts."""
    from absl import flags, logging

    from jaxgan.core.compilation import use_compilation_cache
    from jaxgan.training.quiet import quiet_logs

    flags.FLAGS.mark_as_parsed()  # else absl's first line says that they are not; these commands have none of its flags
    logging.use_absl_handler()  # the one that `quiet_logs` filters
    quiet_logs()
    use_compilation_cache()


def _user_errors() -> tuple[type[Exception], ...]:
    """The errors whose messages are sentences for the user. Imported late: these modules import JAX."""
    from jaxgan.config import ConfigError
    from jaxgan.core.checkpoint import CheckpointError
    from jaxgan.data.errors import DataError
    from jaxgan.evaluation.errors import EvaluationError
    from jaxgan.generation.errors import RunError
    from jaxgan.methods.errors import MethodError
    from jaxgan.training.metrics import HealthError
    from jaxgan.training.workdir import WorkdirError

    return (
        CommandError, ConfigError, DataError, CheckpointError, WorkdirError, MethodError, HealthError, RunError,
        EvaluationError,
    )  # fmt: skip


def _fail(message: str) -> int:
    print(f"jaxgan: {message}", file=sys.stderr, flush=True)
    return 2


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code:
        # After a failed read or write, threads of the storage library print tracebacks of their own while the
        # interpreter shuts down. The sentence is said and nothing is left to be finished.
        sys.stdout.flush()
        os._exit(code)
