"""What a classifier that was trained on real images says of a run's samples, and what one learns from them.

    python -m benchmarks.judge runs/sagan_mnist --train=idx:/data/mnist:train --test=idx:/data/mnist:test

The judge is a small convolutional classifier of this library (`evaluation/small_classifier.py`), trained on the real
training images as the runs see them; its accuracy on the real test images stands beside every answer. Of the samples
of each run, drawn in evaluation mode from its averaged weights where it keeps them:

* recognised: the fraction to which the judge gives one class with a confidence (softmax) of at least 0.9
* shares: the fraction of samples that it assigns to each class
* as_asked, of class-conditional runs: the fraction that it assigns to the class that was asked for; and of the class
  where that is lowest
* taught, of class-conditional runs: the accuracy on real test images of a classifier that was trained on the samples
  alone (the classification accuracy score of Ravuri and Vinyals 2019, arXiv:1905.10887); `taught_by_real` is the same
  training on as many real images

All go to `judgements.jsonl` in the run's folder, one line per step and protocol, and to the terminal.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arguments import positive
from jaxgan.config import DataConfig
from jaxgan.core.compilation import use_compilation_cache
from jaxgan.data.dataset import Dataset
from jaxgan.data.errors import DataError
from jaxgan.data.sources import open_source
from jaxgan.evaluation.accuracy_score import Labelled, classification_accuracy_score
from jaxgan.evaluation.small_classifier import SmallClassifier, train_classifier
from jaxgan.generation.errors import RunError
from jaxgan.generation.generate import generate
from jaxgan.generation.images import to_uint8
from jaxgan.generation.run import Run, open_run
from jaxgan.training.quiet import quiet_logs

FILE = "judgements.jsonl"
CONFIDENT = 0.9
_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Judge:
    """A classifier of real images, the real images, and what it makes of those it has not seen."""

    classifier: SmallClassifier
    train: Labelled
    test: Labelled
    accuracy: float
    steps: int

    @classmethod
    def of(cls, train: Labelled, test: Labelled, steps: int) -> Judge:
        num_classes = int(np.max(train[1])) + 1
        classifier = train_classifier(*train, num_classes=num_classes, num_steps=steps)
        return cls(classifier, train, test, classifier.accuracy(*test), steps)

    @property
    def num_classes(self) -> int:
        return self.classifier.num_classes


def judge_samples(judge: Judge, images: np.ndarray, labels: np.ndarray | None, *, steps: int) -> dict[str, Any]:
    """Returns the figures of uint8 samples (N, H, W, C); `labels` are the classes asked for, None = unconditional."""
    logits = judge.classifier.logits(images).astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence, assigned = odds.max(axis=1) / odds.sum(axis=1), np.argmax(logits, axis=1)
    shares = np.bincount(assigned, minlength=judge.num_classes) / len(images)
    figures: dict[str, Any] = {
        "recognised": float(np.mean(confidence >= CONFIDENT)),
        "shares": [round(float(share), 4) for share in shares],
    }
    if labels is None:
        return figures
    right = assigned == labels
    taught = classification_accuracy_score(
        (images, labels), judge.test, num_classes=judge.num_classes, real=judge.train, num_steps=steps
    )
    return figures | {
        "as_asked": float(np.mean(right)),
        "as_asked_lowest": min(float(np.mean(right[labels == label])) for label in np.unique(labels)),
        "taught": taught.accuracy,
        "taught_by_real": taught.real_accuracy,
    }


def draw(run: Run, num: int, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns uint8 samples, and the classes they were asked for where the run has classes."""
    images, labels = [], []
    for batch, inputs in generate(run, num, seed=seed, batch_size=_BATCH):
        images.append(to_uint8(batch))
        labels.append(inputs["labels"])
    return np.concatenate(images), np.concatenate(labels) if run.num_classes else None


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
    path.write_text("".join(json.dumps(line) + "\n" for line in (*kept, record)))


def judge_run(workdir: Path, judge: Judge, *, num: int, seed: int, steps: int, sources: tuple[str, str]) -> dict:
    """Judges the newest step of a run, and writes down what was found."""
    run = open_run(workdir)
    images, labels = draw(run, num, seed)
    protocol = {
        "judge": judge.classifier.name,
        "judge_steps": judge.steps,
        "judge_accuracy": judge.accuracy,
        "train": sources[0],
        "test": sources[1],
        "num_samples": num,
        "seed": seed,
        "weights": run.weights_used(),
        "taught_steps": steps,
    }
    record = {"step": run.step, **judge_samples(judge, images, labels, steps=steps), "protocol": protocol}
    write(workdir, record)
    return record


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdirs", nargs="+", type=Path, help="runs on images of one size")
    parser.add_argument("--train", required=True, help="real images of the judge: a source string")
    parser.add_argument("--test", required=True, help="real images that it has not seen")
    parser.add_argument("--num", type=positive, default=10_000, help="samples of each run")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument("--judge_steps", type=positive, default=4_000, help="updates of the judge, 128 images each")
    parser.add_argument("--taught_steps", type=positive, default=2_000, help="updates of what learns from samples")
    arguments = parser.parse_args(argv)
    quiet_logs()
    use_compilation_cache()
    try:
        data = open_run(arguments.workdirs[0]).config.data
        start = time.monotonic()
        judge = Judge.of(real(arguments.train, data), real(arguments.test, data), arguments.judge_steps)
        print(f"judge: {judge.accuracy:.2%} of the real test images, {time.monotonic() - start:.0f} s", flush=True)
        for workdir in arguments.workdirs:
            sources = (_name(arguments.train), _name(arguments.test))
            record = judge_run(
                workdir, judge, num=arguments.num, seed=arguments.seed, steps=arguments.taught_steps, sources=sources
            )
            print(json.dumps({"workdir": str(workdir)} | record), flush=True)
    except (DataError, RunError) as error:
        print(f"judge: {error}", file=sys.stderr)
        return 2
    return 0


def _name(source: str) -> str:
    """Returns a source string without the folders that only this machine has."""
    kind, _, place = source.partition(":")
    return f"{kind}:{place.rpartition('/')[2]}" if place else kind


if __name__ == "__main__":
    sys.exit(main())
