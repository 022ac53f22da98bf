"""Scaling on paper: what a step computes and sends, counted in the compiled program, and the time that this takes.

    python -m benchmarks.scaling --config=configs/sagan_imagenet.py --mesh=tpu:v5e:4x4 --batch_size=256
    python -m benchmarks.scaling --config=configs/sagan_imagenet.py --mesh=cpu:8 --device=h100 --batch_size=256
    python -m benchmarks.scaling --config=configs/sagan_imagenet.py --mesh=cpu:64 --device="TPU v5" --batch_size=2048

The step is compiled for a topology that is not there (as `--dry_run --mesh` of `jaxgan.main` does); FLOPs and
collectives are read from the program. Rates of the devices are the vendors' (`DEVICES`); the share of the peak that is
reached (`--utilisation`) and the time that a collective needs to start (`--latency`) are assumptions until they are
measured. docs/scaling.md explains the formula.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import NamedTuple

from jaxgan.config import Config
from jaxgan.core.communication import Collective, collectives, totals
from jaxgan.core.topology import absent_devices
from jaxgan.recipe import load_recipe
from jaxgan.training import dry_run, setup


class Device(NamedTuple):
    """What the vendor states for one device."""

    peak: float  # FLOP/s of dense bfloat16 matrix products
    bandwidth: float  # bytes/s that one device sends to its neighbours, over all links
    memory_gib: int
    source: str


DEVICES = {
    "TPU v5 lite": Device(197e12, 200e9, 16, "https://cloud.google.com/tpu/docs/v5e"),
    "TPU v5": Device(459e12, 600e9, 95, "https://cloud.google.com/tpu/docs/v5p"),
    "h100": Device(989e12, 450e9, 80, "https://www.nvidia.com/en-us/data-center/h100/"),
}


class Counts(NamedTuple):
    """Of one step, on each device."""

    num_devices: int
    flops: float
    collectives: list[Collective]


class Times(NamedTuple):
    """Seconds of one step."""

    compute: float
    transfer: float
    latency: float

    @property
    def efficiency(self) -> tuple[float, float]:
        """Share of time spent computing: nothing sent meanwhile, and all but the latencies hidden behind it."""
        return self.compute / sum(self), self.compute / (max(self.compute, self.transfer) + self.latency)


def count(config: Config, mesh: str, platform: str | None = None) -> tuple[Counts, str]:
    """Compiles the step for an absent topology; returns its counts and the kind of its devices.

    With a `platform` the networks take its operations: on CPUs resampling is part of its convolution, which needs fewer
    FLOPs and sends larger gradients than a GPU's.
    """
    devices = absent_devices(mesh)
    setup.validate(config, devices=devices)
    prepared = setup.prepare(config, dry_run.assumed_data(config), devices=devices, platform=platform)
    compiled = prepared.lower().compile()
    found = collectives(compiled.as_text())
    return Counts(prepared.mesh.size, dry_run.count_flops(compiled), found), devices[0].device_kind


def times(counts: Counts, device: Device, *, utilisation: float, latency: float) -> Times:
    """Returns the time of a step; `latency` in seconds is of one hop, and a ring takes n - 1 of them, or twice that."""
    hops = sum(c.count * (c.group_size - 1) * (2 if c.kind == "all-reduce" else 1) for c in counts.collectives)
    sent = sum(c.count * c.sent_bytes for c in counts.collectives)
    return Times(counts.flops / (device.peak * utilisation), sent / device.bandwidth, hops * latency)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/sagan_imagenet.py", help="the recipe")
    parser.add_argument("--mesh", default="tpu:v5e:4x4", help="topology, as of --dry_run")
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--fsdp", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--device", choices=tuple(DEVICES), help="whose rates; default: the topology's own")
    parser.add_argument("--utilisation", type=float, default=0.35, help="assumed share of the peak")
    parser.add_argument("--latency", type=float, default=2e-6, help="assumed seconds per hop")
    args = parser.parse_args(argv)
    overrides = {"batch_size": args.batch_size, "dtype": args.dtype, "mesh.fsdp": args.fsdp}
    stands_in = args.mesh.startswith("cpu:") and args.device  # simulated devices for others, which nothing compiles for
    platform = ("gpu" if args.device == "h100" else "tpu") if stands_in else None
    counts, kind = count(load_recipe(args.config, overrides), args.mesh, platform)
    name = args.device or kind
    if name not in DEVICES:
        parser.error(f"--device is needed for {kind!r}; one of {', '.join(DEVICES)}.")
    result = times(counts, DEVICES[name], utilisation=args.utilisation, latency=args.latency)
    print(
        json.dumps(
            {
                "recipe": args.config, "mesh": args.mesh, "devices": counts.num_devices, "device": name, **overrides,
                "flops_per_device": counts.flops, "collectives": totals(counts.collectives),
                "counts_complete": all(one.count_is_known for one in counts.collectives),
                "utilisation": args.utilisation, "latency": args.latency,
                "seconds": result._asdict(), "efficiency": result.efficiency,
                "images_per_second": [args.batch_size * share / result.compute for share in result.efficiency],
            },
            indent=2,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
