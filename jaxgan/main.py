"""`python -m jaxgan.main --config=configs/digits.py`: trains a recipe, or goes on with it.

--config=FILE[:VARIANT] a recipe, and which of its variants if it has any
--config.FIELD=VALUE    overrides a field, e.g. --config.batch_size=128 --config.model.attention_resolutions=16,32
--workdir=FOLDER        of the run; default runs/NAME of the recipe's file, runs/NAME_VARIANT of a variant
--dry_run               print settings, parameters, FLOPs and memory, then exit
--accept_config_change  go on in a workdir that was trained with other settings
--distributed           one of several processes (started by a cluster's launcher) that train together
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import jax
from absl import app, flags
from ml_collections import config_flags

from jaxgan import config as config_lib
from jaxgan.config import Config, ConfigError
from jaxgan.core.checkpoint import CheckpointError
from jaxgan.core.compilation import use_compilation_cache
from jaxgan.data.errors import DataError
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.methods.errors import MethodError
from jaxgan.training.metrics import NonFiniteError
from jaxgan.training.quiet import quiet_logs
from jaxgan.training.workdir import WorkdirError

_CONFIG = config_flags.DEFINE_config_file("config", None, "The recipe, e.g. configs/digits.py.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default: runs/NAME of the recipe's file.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print settings, parameters, FLOPs and memory, then exit.")
_ACCEPT = flags.DEFINE_bool("accept_config_change", False, "Go on in a workdir trained with other settings.")
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Join the processes that a launcher started.")

_USER_ERRORS = (ConfigError, DataError, MethodError, CheckpointError, WorkdirError, NonFiniteError, EvaluationError)


def main(argv: Sequence[str]) -> None:
    """Trains; absl calls it with the arguments that no flag took."""
    if len(argv) > 1:
        _fail(f"unexpected argument {argv[1]!r}; flags have the form --name=value.")
    if _CONFIG.value is None:
        _fail("--config is missing; try --config=configs/digits.py.")
    quiet_logs()
    use_compilation_cache()
    try:
        if _DISTRIBUTED.value:
            jax.distributed.initialize()
        config = config_lib.from_dict(_CONFIG.value.to_dict())
        if _DRY_RUN.value:
            from jaxgan.training import dry_run

            print(dry_run.describe(config))
            return
        _train(config, _workdir())
    except _USER_ERRORS as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'the workdir'}: {error.strerror or error}.")
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _fail(
            f"the devices have too little memory for config.batch_size (={config.batch_size}) at "
            f"{config.data.resolution} pixels; lower it, or use more devices."
        )


def _train(config: Config, workdir: Path) -> None:
    from jaxgan.training.loop import train

    dataset = evaluate = None
    if config.eval.every_steps:
        # What evaluations need is looked for now, not at the first one, hours into the training.
        from jaxgan.data.pipeline import open_dataset
        from jaxgan.evaluation.in_training import TrainingEvaluator
        from jaxgan.training import setup

        setup.validate(config)
        dataset = open_dataset(config.data)
        evaluate = TrainingEvaluator(config, workdir, dataset)
    train(config, workdir, dataset=dataset, evaluate=evaluate, accept_config_change=_ACCEPT.value)


def _workdir() -> Path:
    if _WORKDIR.value:
        return Path(_WORKDIR.value)
    recipe, _, variant = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
    words = [Path(recipe).stem, *re.findall(r"[\w.+=-]+", variant)]  # a variant may hold what no folder's name can
    return Path("runs") / "_".join(words)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the flags; a recipe or override that is wrong is reported in one sentence."""
    try:
        rest = flags.FLAGS(list(argv))
        if _CONFIG.value is not None:
            _CONFIG.value.to_dict()  # a recipe that failed to load says so on its first use only
        return rest
    except flags.UnrecognizedFlagError as error:
        _fail(str(error).splitlines()[0].replace("Unknown command line flag", "there is no flag") + ".")
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        _fail(
            _override_problem(argv)
            or _recipe_problem(argv, error)
            or f"the recipe or an override of it is wrong: {_first_line(error)}"
        )
    except OSError as error:
        _fail(f"the recipe {_recipe(argv)} cannot be loaded ({str(error).splitlines()[-1].strip()}); see configs/.")
    except Exception as error:  # whatever the code of a recipe raises
        _fail(f"the recipe {_recipe(argv)} fails with {type(error).__name__}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _recipe(argv: Sequence[str]) -> str:
    return next((a.partition("=")[2] for a in argv if a.lstrip("-").startswith("config=")), "given by --config")


def _recipe_problem(argv: Sequence[str], error: BaseException) -> str | None:
    """Finds what a recipe raised, such as an unknown variant, in the traceback that config_flags makes of it."""
    lines = str(error).strip().splitlines()
    if not lines or not lines[0].endswith("Error whilst parsing config file:"):
        return None
    kind, _, sentence = lines[-1].partition(": ")
    said = sentence if kind.endswith("ConfigError") else f"it fails with {lines[-1]}"
    return f"the recipe {_recipe(argv)}: {said}"


def _override_problem(argv: Sequence[str]) -> str | None:
    """Names the override that the schema refuses, in the words of `from_dict`; None if they are all fields."""
    known = config_lib.flatten(config_lib.Config())
    for argument in argv[1:]:
        name, _, value = argument.lstrip("-").partition("=")
        if name.startswith("config.") and name.removeprefix("config.") not in known:
            tree: dict = {}
            *groups, field = name.removeprefix("config.").split(".")
            inner = tree
            for group in groups:
                inner = inner.setdefault(group, {})
            inner[field] = value
            try:
                config_lib.from_dict(tree)
            except ConfigError as problem:
                return str(problem)
    return None


def _fail(message: str) -> NoReturn:
    print(f"jaxgan: {message}", file=sys.stderr, flush=True)
    if __name__ == "__main__":
        # After a failed read or write, threads of the storage library print tracebacks of their own while the
        # interpreter shuts down. The sentence is said and nothing is left to be finished.
        sys.stdout.flush()
        os._exit(2)
    sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)
