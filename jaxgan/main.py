"""`python -m jaxgan.main --config=configs/digits.py`: trains a recipe, or goes on with it.

--config=FILE[:VARIANT] a recipe, and which of its variants if it has any
--config.FIELD=VALUE    overrides a field, e.g. --config.batch_size=128 --config.model.attention_resolutions=16,32
--workdir=FOLDER        of the run; default runs/NAME of the recipe's file, runs/NAME_VARIANT of a variant
--dry_run               print settings, parameters, FLOPs, memory and communication, then exit
--mesh=tpu:v5e:4x4      of --dry_run: compile for devices that are not there; cpu:8 simulates them
--accept_config_change  go on in a workdir that was trained with other settings

Several processes that train together are found by themselves under Slurm, Open MPI and JobSet, and on Cloud TPU; else:

--coordinator=HOST:PORT of process 0, with --num_processes=N and --process_id=I
--distributed           it is a mistake if no launcher is found; --nodistributed: train alone, whatever is found
--start_timeout=300     seconds to wait for all to come
--peer_timeout=60       seconds without any word after which another process counts as gone
--stopped_status=0      exit status after a polite stop before the last step, for launchers that start the run again

Exit status: 0 done, or stopped politely; 2 a mistake of the user's, in one sentence; 75 another process ended, and all
are to be started again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import jax
from absl import app, flags
from ml_collections import config_flags

from jaxgan import config as config_lib
from jaxgan import config_tree
from jaxgan.config import Config, ConfigError
from jaxgan.core import processes
from jaxgan.core.checkpoint import CheckpointError
from jaxgan.core.compilation import use_compilation_cache
from jaxgan.core.host_memory import reuse_freed_memory
from jaxgan.core.peers import Peers, ProcessError
from jaxgan.data.errors import DataError
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.methods.errors import MethodError
from jaxgan.training.metrics import HealthError
from jaxgan.training.quiet import quiet_logs
from jaxgan.training.workdir import WorkdirError

_CONFIG = config_flags.DEFINE_config_file("config", None, "The recipe, e.g. configs/digits.py.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default: runs/NAME of the recipe's file.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print settings, parameters, FLOPs and memory, then exit.")
_MESH = flags.DEFINE_string("mesh", None, "Topology for --dry_run, e.g. tpu:v5e:4x4 or cpu:8.")
_ACCEPT = flags.DEFINE_bool("accept_config_change", False, "Go on in a workdir trained with other settings.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", None, "Insist on the processes that a launcher started, or ignore them."
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0 of several.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes train together.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this process, from 0.", lower_bound=0)
_START_TIMEOUT = flags.DEFINE_float("start_timeout", 300.0, "Seconds to wait for all processes.", lower_bound=1.0)
_PEER_TIMEOUT = flags.DEFINE_float(
    "peer_timeout", 60.0, "Seconds until a silent process counts as gone.", lower_bound=10.0
)
_STOPPED_STATUS = flags.DEFINE_integer(
    "stopped_status", 0, "Exit status after a polite stop.", lower_bound=0, upper_bound=125
)

_USER_ERRORS = (
    ConfigError, DataError, MethodError, CheckpointError, WorkdirError, HealthError, EvaluationError, ProcessError,
)  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Trains; absl calls it with the arguments that no flag took."""
    if len(argv) > 1:
        _fail(f"unexpected argument {argv[1]!r}; flags have the form --name=value.")
    if _CONFIG.value is None:
        _fail("--config is missing; try --config=configs/digits.py.")
    if _MESH.value and not _DRY_RUN.value:
        _fail(f"--mesh (={_MESH.value}) is for --dry_run; config.mesh.* shapes the mesh of a training.")
    quiet_logs()
    use_compilation_cache()
    peers, finished = None, True
    try:
        config = config_tree.from_dict(_CONFIG.value.to_dict())
        peers = _join(config)
        if _DRY_RUN.value:
            from jaxgan.training import dry_run

            print(dry_run.describe(config, _MESH.value or ""))
        else:
            finished = _train(config, _workdir())
        if peers is not None:
            peers.leave()
    except _USER_ERRORS as error:
        _fail(str(error), peers)
    except OSError as error:
        _fail(f"{error.filename or 'the workdir'}: {error.strerror or error}.", peers)
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error) and isinstance(error, jax.errors.JaxRuntimeError):
            _fail(
                f"the devices have too little memory for config.batch_size (={config.batch_size}) at "
                f"{config.data.resolution} pixels; lower it, or use more devices.",
                peers,
            )
        if peers is None:
            raise
        peers.leave(f"failed with {type(error).__name__}: {_first_line(error)}", 1)
        traceback.print_exc()
        os._exit(1)  # at an orderly exit, JAX would wait for the other processes
    if not finished:
        sys.exit(_STOPPED_STATUS.value)


def _join(config: Config) -> Peers | None:
    """Joins the other processes of the run, if there are any; all must have the same settings."""
    settings = json.dumps(config_tree.to_dict(config), sort_keys=True).encode()
    peers = processes.start(
        processes.from_flags(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value),
        os.environ,
        wanted=_DISTRIBUTED.value,
        about=f"settings {hashlib.sha256(settings).hexdigest()[:8]}",
        start_timeout=_START_TIMEOUT.value,
        peer_timeout=_PEER_TIMEOUT.value,
    )
    if peers is not None:
        peers.progress = lambda: _newest_checkpoint(_workdir())
    return peers


def _newest_checkpoint(workdir: Path) -> str:
    steps = [int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*") if path.name.isdigit()]
    return f"; the newest checkpoint is step {max(steps):,}" if steps else "; there is no checkpoint yet"


def _train(config: Config, workdir: Path) -> bool:
    """Returns whether the run is finished: False if it was asked to stop before."""
    from jaxgan.training.loop import train

    reuse_freed_memory()
    dataset = evaluate = None
    if config.eval.every_steps:
        # What evaluations need is looked for now, not at the first one, hours into the training.
        from jaxgan.data.pipeline import open_dataset
        from jaxgan.evaluation.in_training import TrainingEvaluator
        from jaxgan.training import setup

        setup.validate(config)
        dataset = open_dataset(config.data)
        evaluate = TrainingEvaluator(config, workdir, dataset)
    state = train(config, workdir, dataset=dataset, evaluate=evaluate, accept_config_change=_ACCEPT.value)
    return int(state.step) >= config.total_steps


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
            _override_problem(argv, error)
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


def _override_problem(argv: Sequence[str], error: BaseException) -> str | None:
    """Names the override that the schema refuses, in the words of `from_dict`; None if it is not the mistake."""
    known = config_tree.flatten(config_lib.Config())
    for argument in argv[1:]:
        name, _, value = argument.lstrip("-").partition("=")
        if str(error).startswith(f"flag --{name}={value}:") and name.removeprefix("config.") in known:
            return f"{name} (={value!r}) must be of type {type(known[name.removeprefix('config.')]).__name__}."
        if name.startswith("config.") and name.removeprefix("config.") not in known:
            tree: dict = {}
            *groups, field = name.removeprefix("config.").split(".")
            inner = tree
            for group in groups:
                inner = inner.setdefault(group, {})
            inner[field] = value
            try:
                config_tree.from_dict(tree)
            except ConfigError as problem:
                return str(problem)
    return None


def _fail(message: str, peers: Peers | None = None) -> NoReturn:
    if peers is not None:
        peers.leave(f"failed: {message}", 2)
    print(f"jaxgan: {message}", file=sys.stderr, flush=True)
    if __name__ == "__main__" or peers is not None:
        # After a failed read or write, threads of the storage library print tracebacks of their own while the
        # interpreter shuts down. The sentence is said and nothing is left to be finished.
        sys.stdout.flush()
        os._exit(2)
    sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)
