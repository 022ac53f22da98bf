"""Does attention that may not look at its own neighbourhood draw better images? Non-local SAGAN's question, repeated.

    python -m benchmarks.nonlocal_comparison --source=folder:/my/images --variants full span0 span3 --seeds 0 1 2

Trains the networks of configs/sagan_celeba_nonlocal.py once per variant and seed, evaluates each on the way, and
writes `comparison.json` and `comparison.md` into --out. Type it again after any interruption and it goes on; more
variants, seeds or steps may be asked for later. The tables are made of what lies in the runs' own folders
(`config.json`, `run.json`, `evaluations.jsonl`), and --table_only makes them of whatever is there.

Runs of one seed begin with the same weights and see the same images in the same order: only the mask differs. Every
model is evaluated with the mask that it was trained with.

--resolution and --width_scale shrink the networks. Attention stays at the last two maps of G and of D, so that D's are
8x8 and 4x4 at every resolution: at 4x4 a window of span 3 covers the map, whatever the query.
"""

from __future__ import annotations

import argparse
import dataclasses
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from benchmarks.arguments import positive
from benchmarks.cases import override
from benchmarks.nonlocal_table import write_tables
from jaxgan import config_tree
from jaxgan.config import Config, ConfigError, EvalConfig
from jaxgan.core.checkpoint import CheckpointError
from jaxgan.core.compilation import use_compilation_cache
from jaxgan.data.errors import DataError
from jaxgan.data.pipeline import Dataset, open_dataset
from jaxgan.evaluation import records
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.in_training import TrainingEvaluator
from jaxgan.evaluation.protocol import Protocol
from jaxgan.training.loop import train
from jaxgan.training.metrics import NonFiniteError
from jaxgan.training.quiet import quiet_logs
from jaxgan.training.workdir import WorkdirError

RECIPE = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "sagan_celeba_nonlocal.py"))
VARIANTS: dict[str, int] = RECIPE["SPANS"]

_USER_ERRORS = (
    ConfigError, DataError, CheckpointError, WorkdirError, NonFiniteError, EvaluationError, OSError,
)  # fmt: skip


def settings(variant: str, seed: int, arguments: argparse.Namespace) -> Config:
    """Returns the settings of one run."""
    recipe = config_tree.from_dict(RECIPE["get_config"](variant).to_dict())
    config = resized(recipe, arguments.resolution, arguments.width_scale)
    every = arguments.evaluate_every or arguments.steps
    if every > arguments.steps or arguments.steps % every:
        raise ConfigError(f"--evaluate_every (={every}) must divide --steps (={arguments.steps}); change either.")
    evaluation = EvalConfig(
        every_steps=every,
        **{name: getattr(arguments, name) for name in ("num_samples", "extractor", "feature_dims", "resizer")},
        inception_weights=arguments.inception_weights,
    )
    config = dataclasses.replace(
        config,
        seed=seed,
        total_steps=arguments.steps,
        batch_size=arguments.batch_size,
        data=dataclasses.replace(config.data, source=arguments.source, crop="center"),
        checkpoint=dataclasses.replace(config.checkpoint, every_steps=every, keep=1, keep_best=0),
        sample=dataclasses.replace(config.sample, every_steps=every),
        eval=evaluation,
    )
    return override(config, arguments.set)


def resized(config: Config, resolution: int, width_scale: float) -> Config:
    """Returns the recipe at another resolution, 4 * 2^k pixels, with every width multiplied by `width_scale`."""
    model = config.model
    k = max(int(np.log2(max(resolution // model.base_size, 1))), 1)
    top = round(model.d_widths[0] * width_scale)  # the width of the largest map; it doubles from map to map
    widths = tuple(top * 2**i for i in range(k))
    model = dataclasses.replace(
        model,
        g_widths=widths[::-1],
        d_widths=widths,
        g_attention_resolutions=(resolution // 4, resolution // 2),
        d_attention_resolutions=(2 * model.base_size, model.base_size),
    )
    return dataclasses.replace(config, model=model, data=dataclasses.replace(config.data, resolution=resolution))


def run_all(arguments: argparse.Namespace) -> bool:
    """Trains what is not trained yet, one seed of all variants after the other; False if a signal asked to stop."""
    chosen = {
        arguments.out / f"{variant}_seed{seed}": settings(variant, seed, arguments)
        for seed in arguments.seeds
        for variant in arguments.variants
    }
    for workdir, config in chosen.items():
        _check_evaluated_alike(workdir, config)
    dataset = open_dataset(next(iter(chosen.values())).data)
    if not isinstance(dataset, Dataset):
        raise ConfigError(f"--source (={arguments.source}) holds two domains; give images of one, such as folder:PATH.")
    for workdir, config in chosen.items():
        print(f"{workdir}:", file=sys.stderr)
        evaluate = TrainingEvaluator(config, workdir, dataset)
        state = train(config, workdir, dataset=dataset, evaluate=evaluate)
        if int(state.step) < config.total_steps:
            return False
        jax.clear_caches()  # no other run needs these programs
    return True


def _check_evaluated_alike(workdir: Path, config: Config) -> None:
    """Refuses to go on with a run whose earlier evaluations could not stand in one table with the later ones."""
    for record in records.read(workdir):
        before = Protocol.parse(record["protocol"])
        pairs = {"num_samples": (before.num_samples, config.eval.num_samples)}
        if before.resizer is not None:  # Inception's
            pairs |= {
                "feature_dims": (before.dims, config.eval.feature_dims),
                "resizer": (before.resizer, config.eval.resizer),
            }
        for name, (then, now) in pairs.items():
            if then != now:
                raise EvaluationError(
                    f"{workdir} was evaluated with {name} {then} and now --{name} is {now}; choose another --out."
                )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="the images, e.g. folder:PATH; see README")
    parser.add_argument("--out", type=Path, default=Path("runs/nonlocal"), help="folder of the runs and tables")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="VARIANT", help=", ".join(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=positive, default=100_000, help="updates of G")
    parser.add_argument("--batch_size", type=positive, default=64)
    parser.add_argument("--resolution", type=positive, default=64, help="pixels, 4 * 2^k")
    parser.add_argument("--width_scale", type=float, default=1.0, help="of all maps; attention needs multiples of 8")
    parser.add_argument("--evaluate_every", type=positive, help="steps (default: at the last one only)")
    parser.add_argument("--num_samples", type=positive, default=10_000, help="generated images per evaluation")
    parser.add_argument("--extractor", default="inception", help="inception or classifier, as in `evaluate`")
    parser.add_argument("--feature_dims", type=int, default=2048, help="of Inception: 64, 192, 768 or 2048")
    parser.add_argument("--resizer", default="tf1", help="of Inception: tf1, bilinear or clean")
    parser.add_argument("--inception_weights", metavar="FILE", default="", help="default: as in `evaluate`")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="override fields of the settings")
    parser.add_argument("--table_only", action="store_true", help="train nothing, write the tables of what is there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    quiet_logs()
    use_compilation_cache()
    try:
        if not arguments.table_only:
            if arguments.source is None:
                raise ConfigError("--source is missing; give the images, such as folder:PATH.")
            if not run_all(arguments):
                print("nonlocal_comparison: stopped; type the same command to go on.", file=sys.stderr)
                return 0
        print(write_tables(arguments.out))
    except _USER_ERRORS as error:
        message = str(error).replace("--config.eval.", "--").replace("--config.data.source", "--source")
        print(f"nonlocal_comparison: {message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
