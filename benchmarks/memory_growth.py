"""Does a long training grow? Resident memory, open files and live arrays while a tiny recipe runs.

    python -m benchmarks.memory_growth --steps=2000 --every=100

Prints a table with a row every `--every` steps and, at the end, the growth from the first quarter of the run to its
last row. Checkpoints, sample grids and metrics are written as in any run, so their leaks would show as well.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxgan.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    EmaConfig,
    EvalConfig,
    HealthConfig,
    LogConfig,
    ModelConfig,
    SampleConfig,
)
from jaxgan.core.compilation import use_compilation_cache
from jaxgan.core.host_memory import reuse_freed_memory
from jaxgan.training.loop import train


class Row(NamedTuple):
    step: int
    resident_mib: float
    open_files: int
    live_arrays: int
    threads: int


def measure(step: int) -> Row:
    """Reads the process's own figures from /proc."""
    gc.collect()
    status = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in status if ":" in line)
    return Row(
        step=step,
        resident_mib=int(fields["VmRSS"].split()[0]) / 1024,
        open_files=len(os.listdir("/proc/self/fd")),
        live_arrays=len(jax.live_arrays()),
        threads=int(fields["Threads"]),
    )


def tiny(steps: int, every: int) -> Config:
    """Returns the settings of the run: a small class-conditional SAGAN with everything on that a run may have."""
    return Config(
        total_steps=steps,
        batch_size=8,
        data=DataConfig(source="digits", resolution=8, channels=1, flip=True),
        model=ModelConfig(latent_dim=4, g_widths=(8, 8), d_widths=(8, 8), attention_resolutions=(4,)),
        ema=EmaConfig(halflife_images=500),
        checkpoint=CheckpointConfig(every_steps=every // 2),
        sample=SampleConfig(every_steps=every // 2, rows=4, columns=4),
        log=LogConfig(every_steps=10),
        eval=EvalConfig(every_steps=every),
        health=HealthConfig(diversity_from_step=0, min_diversity=1e-9),
    )


def run(steps: int, every: int) -> list[Row]:
    """Trains and returns a row every `every` steps."""
    rows: list[Row] = []

    def observe(state: Any, networks: Mapping[str, Any]) -> Mapping[str, float]:
        rows.append(measure(int(state.step)))
        print("{:>6} {:>9.1f} MiB {:>4} files {:>5} arrays {:>4} threads".format(*rows[-1]), flush=True)
        return {}

    with tempfile.TemporaryDirectory() as workdir:
        train(tiny(steps, every), workdir, evaluate=observe)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory and open files over a training.")
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--every", type=int, default=100)
    flags = parser.parse_args()
    use_compilation_cache()
    reuse_freed_memory()
    rows = run(flags.steps, flags.every)
    first, last = rows[len(rows) // 4], rows[-1]
    print(
        f"from step {first.step:,} to {last.step:,}: {last.resident_mib - first.resident_mib:+.1f} MiB, "
        f"{last.open_files - first.open_files:+d} files, {last.live_arrays - first.live_arrays:+d} arrays"
    )


if __name__ == "__main__":
    main()
