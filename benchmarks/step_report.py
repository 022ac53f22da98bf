"""From measured seconds to figures, and from figures to a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.sides import Side


def summarize(
    sides: Sequence[Side], seconds: dict[str, list[float]], *, images: int, flops: float | None, peak: float | None
) -> list[dict[str, Any]]:
    """Returns the figures of each side.

    Args:
      sides: jaxgan first.
      seconds: per step, of each side in each round.
      images: real images of a step.
      flops: of a step; None = not known.
      peak: FLOP/s that are 100 %; None = not known.
    """
    rows = []
    for side in sides:
        middle = statistics.median(seconds[side.name])
        rate = flops / middle if flops else None
        ratios = [theirs / ours for theirs, ours in zip(seconds[side.name], seconds[sides[0].name], strict=True)]
        rows.append(
            {
                "side": side.name,
                "images_per_second": images / middle,
                "seconds_per_step": middle,
                "seconds_of_rounds": seconds[side.name],
                "flops_per_second": rate,
                "share_of_peak": rate / peak if rate and peak else None,
                "start_seconds": side.start_seconds,
                "memory_bytes": side.memory[0],
                "memory_source": side.memory[1],
                "num_params": side.num_params,
                "ratio": None
                if side is sides[0]
                else {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
            }
        )
    return rows


def format_report(report: dict[str, Any]) -> str:
    """Returns the figures as a table for people."""
    config, devices = report["config"], report["devices"]
    lines = [
        f"{report['case']}: {config['data']['resolution']} pixels, batch {config['batch_size']}, "
        f"{config['num_d_steps']} D step(s) per step; {devices['kind']}, {report['cpu_cores']} CPU cores; "
        f"jax {report['versions']['jax']}, torch {report['versions']['torch']}, revision {report['git_revision']}",
        f"float32 multiplies in {report['float32_precision']}; peak {report['peak_source']}",
    ]
    for result in report["results"]:
        flops, full, params = (
            result["flops_per_step"], result["peak_flops_per_second"], result["sides"][0]["num_params"],
        )  # fmt: skip
        lines += [
            "",
            f"{result['dtype']}: {_number(flops, 1e9)} GFLOP per step, peak {_number(full, 1e12)} TFLOP/s, "
            f"parameters {', '.join(f'{name} {count:,}' for name, count in params.items())}",
            f"{'':18}{'images/s':>10}{'s/step':>10}{'TFLOP/s':>10}{'of peak':>9}{'start s':>9}{'MiB':>9}"
            "  their time / ours: median (min ... max)",
        ]
        lines += [_format_side(side) for side in result["sides"]]
        lines += result["notes"]
    return "\n".join(lines)


def _format_side(side: dict[str, Any]) -> str:
    ratio, share = side["ratio"], side["share_of_peak"]
    return (
        f"{side['side']:18}{side['images_per_second']:>10.4g}{side['seconds_per_step']:>10.4g}"
        f"{_number(side['flops_per_second'], 1e12):>10}{'-' if share is None else f'{share:.1%}':>9}"
        f"{side['start_seconds']:>9.1f}{_number(side['memory_bytes'], 2**20):>9}"
        + (f"  {ratio['median']:.2f} ({ratio['min']:.2f} ... {ratio['max']:.2f})" if ratio else "")
    )


def _number(value: float | None, unit: float) -> str:
    return "-" if value is None else f"{value / unit:.4g}"
