"""What a classifier that was trained on real images says of a run's samples, and what one learns from them.

    python -m benchmarks.judge runs/sagan_mnist --train=idx:/data/mnist:train --test=idx:/data/mnist:test

The judge (`benchmarks/judges.py`: a small convolutional network, or with --judge=svc a support vector machine) learns
from the real training images as the runs see them; its accuracy on the real test images stands beside every answer. Of
the samples of each run, drawn in evaluation mode from its averaged weights where it keeps them:

* recognised: the fraction to which the judge gives one class with a confidence (softmax) of at least 0.9;
  `recognised_real` is that fraction of the real test images, which is what perfect samples would have
* shares: the fraction of samples that it assigns to each class
* as_asked, of class-conditional runs: the fraction that it assigns to the class that was asked for; and of the class
  where that is lowest
* variety, of class-conditional runs: the standard deviation of a pixel within a class (its mean over pixels and
  classes), over that of the real training images; a class that collapses to one image has 0
* taught, of class-conditional runs: the accuracy on real test images of a classifier that was trained on the samples
  alone (the classification accuracy score of Ravuri and Vinyals 2019, arXiv:1905.10887), --taught_num of them: there
  as many as real training images; `taught_by_real` is the same training on as many real images, at most all

--latent_scale multiplies every z: below 1 samples are more alike, above 1 more varied, than those of training.

All go to `judgements.jsonl` in the run's folder, one line per step and protocol, and to the terminal.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arguments import positive, positive_number
from benchmarks.judges import Judge, NetworkJudge, VectorJudge
from jaxgan.config import DataConfig
from jaxgan.core.compilation import use_compilation_cache
from jaxgan.data.dataset import Dataset
from jaxgan.data.errors import DataError
from jaxgan.data.sources import open_source
from jaxgan.evaluation.accuracy_score import Labelled
from jaxgan.generation import latents
from jaxgan.generation.errors import RunError
from jaxgan.generation.generate import render
from jaxgan.generation.images import to_uint8
from jaxgan.generation.run import Run, open_run
from jaxgan.training.quiet import quiet_logs

FILE = "judgements.jsonl"
CONFIDENT = 0.9
_BATCH = 256


def judge_samples(judge: Judge, images: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
    """Returns the figures of uint8 samples (N, H, W, C), but for what they teach.

    `labels` are the classes asked for; None = unconditional.
    """
    assigned, confidence = judge.assign(images)
    shares = np.bincount(assigned, minlength=judge.num_classes) / len(images)
    figures: dict[str, Any] = {"shares": [round(float(share), 4) for share in shares]}
    _, confidence_in_real = judge.assign(judge.test[0])
    if confidence is not None and confidence_in_real is not None:
        figures |= {"recognised": _sure(confidence), "recognised_real": _sure(confidence_in_real)}
    if labels is None:
        return figures
    right = assigned == labels
    return figures | {
        "as_asked": float(np.mean(right)),
        "as_asked_lowest": min(float(np.mean(right[labels == label])) for label in np.unique(labels)),
        "variety": _spread(images, labels) / _spread(*judge.train),
    }


def teach(judge: Judge, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns the figures of what a classifier learns from samples and the classes they were asked for."""
    return {"taught": judge.taught_by(images, labels), "taught_by_real": judge.taught_by_real(len(images))}


def _sure(confidence: np.ndarray) -> float:
    return float(np.mean(confidence >= CONFIDENT))


def _spread(images: np.ndarray, labels: np.ndarray) -> float:
    """The standard deviation of a pixel within a class, mean over pixels and classes."""
    return float(np.mean([images[labels == label].std(axis=0).mean() for label in np.unique(labels)]))


def draw(run: Run, num: int, seed: int, latent_scale: float = 1.0) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns uint8 samples of z ~ N(0, latent_scale^2 I), and the classes asked for where the run has classes."""
    inputs = latents.draw(run.latent_dim, run.num_classes, seed, 0, num)
    inputs["z"] *= np.float32(latent_scale)
    batches = render(run, inputs, batch_size=_BATCH, variables=run.variables())
    return np.concatenate([to_uint8(batch) for batch in batches]), inputs["labels"] if run.num_classes else None


def real(source: str, data: DataConfig) -> Labelled:
    """Returns all images of a source as the run's networks see them, and their labels.

    Raises:
      DataError: if it has no labels, or cannot be read.
    """
    dataset = Dataset(open_source(source), dataclasses.replace(data, labels=True))
    if not dataset.spec.num_classes:
        raise DataError(f"{source} has no labels; a judge needs them.")
    rows = np.random.default_rng(0).permutation(dataset.spec.num_images)  # no class first
    return dataset.gather(rows)


def write(workdir: Path, record: dict[str, Any]) -> None:
    """Adds a line; it takes the place of one of the same step and protocol."""
    path = workdir / FILE
    old = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    same = ("step", "protocol")
    kept = [other for other in old if any(other[name] != record[name] for name in same)]
    temporary = path.with_name(f".{path.name}.tmp")  # a stop here must not cost the older lines
    temporary.write_text("".join(json.dumps(line) + "\n" for line in (*kept, record)))
    os.replace(temporary, path)


def judge_run(
    workdir: Path,
    judge: Judge,
    *,
    num: int,
    taught_num: int,
    seed: int,
    sources: tuple[str, str],
    latent_scale: float = 1.0,
) -> dict[str, Any]:
    """Judges the newest step of a run by samples 0 ... num - 1 of the seed, what it teaches by 0 ... taught_num - 1.

    Writes down what was found.
    """
    run = open_run(workdir)
    images, labels = draw(run, max(num, taught_num if run.num_classes else 0), seed, latent_scale)
    figures = judge_samples(judge, images[:num], labels if labels is None else labels[:num])
    protocol: dict[str, Any] = {
        "judge": judge.name,
        "judge_accuracy": round(judge.accuracy, 4),
        "train": sources[0],
        "test": sources[1],
        "num_samples": num,
        "seed": seed,
        "weights": run.weights_used(),
    }
    if latent_scale != 1:
        protocol["latent_scale"] = latent_scale
    if labels is not None:
        figures |= teach(judge, images[:taught_num], labels[:taught_num])
        protocol |= {"taught": f"{judge.teaching} on {taught_num} samples"}
    record = {"step": run.step, **figures, "protocol": protocol}
    write(workdir, record)
    return record


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdirs", nargs="+", type=Path, help="runs on images of one size")
    parser.add_argument("--train", required=True, help="real images of the judge: a source string")
    parser.add_argument("--test", required=True, help="real images that it has not seen")
    parser.add_argument("--judge", choices=("network", "svc"), default="network")
    parser.add_argument("--num", type=positive, default=10_000, help="samples of each run")
    parser.add_argument("--taught_num", type=positive, help="samples that a classifier learns from (default: --num)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument("--latent_scale", type=positive_number, default=1.0, help="what every z is multiplied by")
    parser.add_argument("--judge_steps", type=positive, default=4_000, help="updates of the judge, 128 images each")
    parser.add_argument("--taught_steps", type=positive, default=2_000, help="updates of what learns from samples")
    arguments = parser.parse_args(argv)
    quiet_logs()
    use_compilation_cache()
    try:
        data = open_run(arguments.workdirs[0]).config.data
        start = time.monotonic()
        judge = _judge(arguments, data)
        print(f"judge: {judge.accuracy:.2%} of the real test images, {time.monotonic() - start:.0f} s", flush=True)
        for workdir in arguments.workdirs:
            sources = (without_folders(arguments.train), without_folders(arguments.test))
            record = judge_run(
                workdir, judge, num=arguments.num, taught_num=arguments.taught_num or arguments.num,
                seed=arguments.seed, sources=sources, latent_scale=arguments.latent_scale,
            )  # fmt: skip
            print(json.dumps({"workdir": str(workdir)} | record), flush=True)
    except (DataError, RunError) as error:
        print(f"judge: {error}", file=sys.stderr)
        return 2
    return 0


def _judge(arguments: argparse.Namespace, data: DataConfig) -> Judge:
    train, test = real(arguments.train, data), real(arguments.test, data)
    if arguments.judge == "svc":
        return VectorJudge(train, test)
    return NetworkJudge.of(train, test, steps=arguments.judge_steps, taught_steps=arguments.taught_steps)


def without_folders(source: str) -> str:
    """Returns a source string without the folders that only this machine has: `idx:/data/mnist:test` as `idx:test`."""
    kind, *parts = source.split(":")
    return ":".join([kind, *(part for part in parts if part in ("train", "test", "val"))])


if __name__ == "__main__":
    sys.exit(main())
