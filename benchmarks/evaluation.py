"""How long does FID of 50,000 samples take, and which share of a training run is that?

    python -m benchmarks.evaluation --preset=sagan32 --num_images=256
    python -m benchmarks.evaluation --preset=sagan128 --num_images=50000 --json=evaluation.json

Three parts are timed on the devices of this process, after one batch each to compile: drawing samples with a generator
of random weights, Inception's 2,048 features of them with random weights (resizing to 299 pixels included), and the
moments and Frechet distance on the host, of that many features of noise. What grows with the number of images is
extrapolated to `--of`; the distance itself does not. With `--steps_per_second` (from `benchmarks.train_step`, or a
run's own log), the share of a run that evaluates every `--every_steps` steps is printed too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.arguments import positive
from benchmarks.cases import PRESETS, Case, load_case
from benchmarks.sides import describe_data
from jaxgan.config import ConfigError
from jaxgan.core import sharding as sharding_lib
from jaxgan.evaluation import features
from jaxgan.evaluation.fid import frechet_distance
from jaxgan.evaluation.inception import parameter_shapes
from jaxgan.evaluation.inception_weights import InceptionWeights
from jaxgan.evaluation.statistics import Moments
from jaxgan.generation.sampler import make_sampler
from jaxgan.training import setup as setup_lib

_DIM = 2048


def random_inception(batch_size: int, *, dims: int = _DIM) -> features.FeatureExtractor:
    """Returns the extractor of evaluations with weights ~ N(0, 0.05^2) and variances of 1: the same work."""
    rng = np.random.default_rng(0)
    arrays = {
        name: np.ones(shape, np.float32) if name.endswith("var") else rng.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in parameter_shapes(dims, logits=False).items()
    }
    return features._InceptionExtractor(InceptionWeights(arrays, "random"), dims, "tf1", batch_size, logits=False)


def sampling(case: Case, batch_size: int) -> Callable[[int], np.ndarray]:
    """Returns a function that draws a batch of the preset's generator, uint8 (batch_size, H, W, C), by its number."""
    setup = setup_lib.prepare(case.config, describe_data(case))
    sampler = make_sampler(setup.method, setup.networks, sharding=sharding_lib.replicated(setup.mesh))
    z = jax.random.normal(jax.random.key(0), (batch_size, case.config.model.latent_dim))
    inputs = {"z": z, "labels": np.arange(batch_size, dtype=np.int32) % max(case.num_classes, 1)}

    def draw(number: int) -> np.ndarray:
        del number
        images = np.asarray(sampler(setup.state.nets, inputs))
        return np.clip(images * 127.5 + 128.0, 0, 255).astype(np.uint8)

    return draw


def images_per_second(
    batch: Callable[[int], Any], count: int, batch_size: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Runs `batch` for at least `count` images, after one more to warm up; returns the rate."""
    batch(0)
    batches = -(-count // batch_size)
    start = clock()
    for number in range(batches):
        batch(number)
    return batches * batch_size / (clock() - start)


def distance_seconds(
    count: int, dim: int = _DIM, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Returns the seconds of `count` features' moments, and those of one distance between two sets."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((max(count, 2), dim), np.float32)
    start = clock()
    moments = Moments(dim)
    moments.update(rows)
    mean, covariance = moments.mean, moments.covariance
    middle = clock()
    frechet_distance(mean, covariance, mean + 0.1, covariance)
    return middle - start, clock() - middle


def summarize(
    *, samples: float, inception: float, moments: float, distance: float, count: int, of: int
) -> dict[str, float]:
    """Returns seconds for `of` images, by part and in total.

    Args:
      samples: images per second drawn.
      inception: images per second through Inception.
      moments: seconds for the moments of `count` features.
      distance: seconds for the distance.
      count: features whose moments were timed.
      of: images of a whole evaluation.
    """
    parts = {
        "samples": of / samples,
        "inception": of / inception,
        "moments": moments * of / count,
        "distance": distance,
    }
    return parts | {"total": sum(parts.values())}


def share_of_run(seconds: float, every_steps: int, steps_per_second: float) -> float:
    """Returns the part of a run's wall time that evaluations of `seconds` every `every_steps` steps take."""
    return seconds / (seconds + every_steps / steps_per_second)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    presets = [name for name, case in PRESETS.items() if case.config.method.name == "adversarial"]
    parser.add_argument("--preset", choices=presets, default="sagan32")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE", help="override fields of the settings")
    parser.add_argument("--num_images", type=positive, default=256, help="through each part")
    parser.add_argument("--batch_size", type=positive, default=64)
    parser.add_argument("--of", type=positive, default=50_000, help="images of a whole evaluation")
    parser.add_argument("--every_steps", type=positive, default=10_000, help="updates of G between two evaluations")
    parser.add_argument("--steps_per_second", type=float, help="of training, for the share of a run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args(argv)
    try:
        case = load_case(arguments.preset, None, arguments.set, None)
        setup_lib.validate(case.config)
    except ConfigError as error:
        print(f"evaluation: {error}", file=sys.stderr)
        return 2
    count, batch_size = arguments.num_images, arguments.batch_size
    draw, extractor = sampling(case, batch_size), random_inception(batch_size)
    drawn = draw(0)
    samples = images_per_second(draw, count, batch_size)
    inception = images_per_second(lambda _: extractor(drawn), count, batch_size)
    moments, distance = distance_seconds(count)
    seconds = summarize(
        samples=samples, inception=inception, moments=moments, distance=distance, count=count, of=arguments.of
    )
    report: dict[str, Any] = {
        "preset": case.name, "num_images": count, "batch_size": batch_size, "of": arguments.of,
        "device": jax.devices()[0].device_kind, "cpu_cores": os.cpu_count(), "jax": jax.__version__,
        "samples_per_second": samples, "inception_images_per_second": inception, "distance_seconds": distance,
        "seconds": seconds,
    }  # fmt: skip
    print(f"{case.name} on {report['device']}, {report['cpu_cores']} CPU cores, jax {jax.__version__}: {count} images")
    print(f"samples {samples:,.1f}/s, Inception {inception:,.1f} images/s, distance {distance:.1f} s")
    print(f"{arguments.of:,} images: " + ", ".join(f"{name} {value:,.0f} s" for name, value in seconds.items()))
    if arguments.steps_per_second:
        share = share_of_run(seconds["total"], arguments.every_steps, arguments.steps_per_second)
        report["share_of_run"] = share
        print(f"every {arguments.every_steps:,} steps at {arguments.steps_per_second:g} steps/s: {share:.1%} of a run")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
