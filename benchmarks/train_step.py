"""How fast is a training step, and how fast is PyTorch with the same networks?

    python -m benchmarks.train_step --preset=sagan32
    python -m benchmarks.train_step --config=configs/sagan_imagenet.py --set batch_size=64 --json=step.json

Both sides train on the same synthetic batch, which lies on the device already: reading data is not part of the time.
They have the same networks (parameter counts are compared), number of D steps, optimizer and moving average, live in
one process and take turns: in each round every side trains `--steps` steps and waits for the device, the order being
reversed from round to round. A ratio is PyTorch's time over jaxgan's in the same round; above 1 jaxgan is faster.

FLOP/s: XLA's count of jaxgan's step, for both sides, over the time. Share: of the device's peak for the precision; on a
CPU of the rate of a large float32 matrix product in JAX, for either dtype. Images: real ones, num_d_steps * batch_size
per step. In float32 a GPU multiplies in TF32 on both sides, unless `--precision=float32`. PyTorch runs channels_last,
with one thread per core on a CPU and fused attention; bfloat16 is its autocast.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks.arguments import positive
from benchmarks.cases import PRESETS, Case, load_case
from benchmarks.device_peak import listed_peak, measured_peak
from benchmarks.peer_settings import NoPeer, peer_settings
from benchmarks.sides import Batch, JaxganSide, PeerSide, Side, describe_data, draw_batch
from benchmarks.step_report import format_report, summarize
from jaxgan import config_tree
from jaxgan.config import ConfigError
from jaxgan.core.host_memory import reuse_freed_memory
from jaxgan.training import setup as setup_lib
from jaxgan.training import workdir as workdir_lib

_PAUSE_SECONDS = 0.5  # before each turn on a CPU: OpenMP's threads keep a core busy for a while after PyTorch's turn


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to time."""

    peer: str = "eager"  # none | eager | compiled | both
    rounds: int = 5
    steps: int = 3  # per round and side
    tf32: bool = True
    pause: float = 0.0  # seconds before each turn


def race(sides: Sequence[Side], plan: Plan, clock: Callable[[], float] = time.perf_counter) -> dict[str, list[float]]:
    """Returns {side: seconds per step in each round}; every other round runs in reverse order."""
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(plan.rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            time.sleep(plan.pause)
            start = clock()
            side.run(plan.steps)
            seconds[side.name].append((clock() - start) / plan.steps)
    return seconds


def time_case(case: Case, plan: Plan, peak: Callable[[str], float | None]) -> dict[str, Any]:
    """Builds the sides in the dtype of `case.config`, checks that they are the same size, and times them.

    Args:
      case: what to time.
      plan: how.
      peak: FLOP/s of all devices that take part, by dtype.

    Raises:
      ConfigError: the settings are wrong.
      RuntimeError: the two sides are not the same networks.
    """
    setup_lib.validate(case.config)
    batch = draw_batch(case)
    ours = JaxganSide(case, batch)
    peers, notes = build_peers(case, plan, batch)
    for peer in peers:
        if peer.num_params != ours.num_params:
            raise RuntimeError(f"{peer.name} has {peer.num_params} parameters, jaxgan {ours.num_params}; not a match.")
    images = case.config.batch_size * case.config.num_d_steps
    sides = [ours, *peers]
    with _without_garbage_collection():
        seconds = race(sides, plan)
    full = peak(case.config.dtype)
    return {
        "dtype": case.config.dtype,
        "flops_per_step": ours.flops,
        "compiled_flops_per_step": ours.compiled_flops,
        "peak_flops_per_second": full,
        "sides": summarize(sides, seconds, images=images, flops=ours.flops, peak=full),
        "notes": notes,
    }


def build_peers(case: Case, plan: Plan, batch: Batch) -> tuple[list[Side], list[str]]:
    """Returns the PyTorch sides that can run, and one sentence for each that cannot."""
    if plan.peer == "none":
        return [], []
    try:
        settings = peer_settings(case.config, case.num_classes) | {"device": _torch_device(), "tf32": plan.tf32}
    except NoPeer as problem:
        return [], [str(problem)]
    peers: list[Side] = []
    notes = []
    for compiled in {"eager": (False,), "compiled": (True,), "both": (False, True)}[plan.peer]:
        try:
            peers.append(PeerSide(settings, batch, compile=compiled))
        except RuntimeError as error:  # memory, or whatever torch.compile's back end lacks
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            notes.append(f"PyTorch {'compiled' if compiled else 'eager'} is left out: {reason}")
    return peers, notes


def _torch_device() -> str:
    """Returns PyTorch's name of the device that jaxgan runs on, with its threads set; raises NoPeer."""
    try:
        import torch
    except ModuleNotFoundError:
        raise NoPeer("PyTorch is not installed (requirements-benchmark.txt); jaxgan is timed alone.") from None
    backend = jax.default_backend()
    if backend == "gpu" and torch.cuda.is_available():
        return "cuda"
    if backend == "cpu":
        torch.set_num_threads(os.cpu_count() or 1)
        return "cpu"
    raise NoPeer(f"PyTorch does not see the {backend} device that JAX runs on; jaxgan is timed alone.")


def benchmark(case: Case, dtypes: Sequence[str], plan: Plan) -> dict[str, Any]:
    """Times a case in each dtype; returns everything that a reader needs to judge the figures, as JSON values."""
    on_cpu = jax.default_backend() == "cpu"
    kind, count = jax.devices()[0].device_kind, case.config.mesh.data or len(jax.devices())
    measured = measured_peak() if on_cpu else None

    def peak(dtype: str) -> float | None:
        one = listed_peak(kind, dtype, tf32=plan.tf32)
        return measured if on_cpu else one and one * count

    # DEFAULT is TF32 on GPUs that have it, and what training uses; it is named here so that no setting changes it.
    precision = "highest" if jax.default_backend() == "gpu" and not plan.tf32 else "default"
    results = []
    with jax.default_matmul_precision(precision):
        for dtype in dtypes:
            typed = dataclasses.replace(case, config=dataclasses.replace(case.config, dtype=dtype))
            results.append(time_case(typed, plan, peak))
            gc.collect()  # the device memory of these sides
    run = workdir_lib.describe_run(describe_data(case))
    run["versions"]["torch"] = getattr(sys.modules.get("torch"), "__version__", None)
    return {
        "case": case.name,
        "config": config_tree.to_dict(case.config),
        "plan": dataclasses.asdict(plan),
        "cpu_cores": os.cpu_count(),
        "float32_precision": "float32" if on_cpu or not plan.tf32 else "TF32 where the device has it",
        "peak_source": "measured: float32 matrix product in JAX" if on_cpu else "data sheet",
        **run,
        "results": results,
    }


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--preset", choices=PRESETS)
    what.add_argument("--config", metavar="FILE", help="a recipe; its data are replaced by noise")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="override fields of the settings")
    parser.add_argument("--num_classes", type=positive, help="of a conditional recipe's data (default: 1000)")
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--peer", choices=("none", "eager", "compiled", "both"), help="default: both, on a CPU eager")
    parser.add_argument("--precision", choices=("tf32", "float32"), default="tf32", help="of float32 on a GPU")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--steps", type=positive, default=3, help="per side and round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs its share of the device
    jax.config.update("jax_enable_compilation_cache", False)  # compilation is timed
    reuse_freed_memory()  # as in `jaxgan.main`; it holds for PyTorch's memory too, which is in the same process
    on_cpu = jax.default_backend() == "cpu"
    plan = Plan(
        peer=arguments.peer or ("eager" if on_cpu else "both"),
        rounds=arguments.rounds,
        steps=arguments.steps,
        tf32=arguments.precision == "tf32",
        pause=_PAUSE_SECONDS if on_cpu else 0.0,
    )
    try:
        if arguments.json and not arguments.json.absolute().parent.is_dir():
            raise ConfigError(f"--json (={arguments.json}) must lie in a folder that exists; create it first.")
        case = load_case(arguments.preset, arguments.config, arguments.set, arguments.num_classes)
        report = benchmark(case, arguments.dtypes, plan)
    except (ConfigError, OSError) as error:
        print(f"train_step: {error}", file=sys.stderr)
        return 2
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print("train_step: the device has too little memory; lower it with --set batch_size=N.", file=sys.stderr)
        return 2
    print(format_report(report))
    if arguments.json:
        workdir_lib.write_json(arguments.json, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
