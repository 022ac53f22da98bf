"""Does the `digits` recipe draw the digits it is asked for, and all their variety?

    python -m benchmarks.digits_proof --seeds 0 1 2

For each seed the recipe trains on a stratified 75 % of the real images; the other 25 % are held out. The judge is a
support vector classifier (scikit-learn's `SVC(gamma=0.001)` on 8x8 pixels in 0 ... 16), and two questions are asked:

* accuracy: a judge trained on the real 75 % sees 2,000 samples of the averaged generator, 200 per class. How many are
  the digit that was asked for?
* coverage: a judge trained on those 2,000 samples alone sees the held-out real images. How many does it name? A
  generator whose classes collapse to a few shapes teaches little.

Images come to 8x8 by the mean over 2x2 pixels, the real ones after the same enlargement to 16x16 that the networks see.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.svm import SVC

from jaxgan import config as config_lib
from jaxgan.core import sharding
from jaxgan.data.dataset import Dataset
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.scaling import to_float
from jaxgan.data.sources import open_source
from jaxgan.generation.sampler import make_sampler
from jaxgan.recipe import load_recipe
from jaxgan.training import setup as setup_lib
from jaxgan.training.loop import train
from jaxgan.training.quiet import quiet_logs

RECIPE = Path(__file__).parent.parent / "configs" / "digits.py"
SAMPLES_PER_CLASS = 200


def features(images: np.ndarray) -> np.ndarray:
    """Brings float images (N, 16, 16, 1) in [-1, 1] to (N, 64) in 0 ... 16."""
    pooled = images.reshape(-1, 8, 2, 8, 2).mean(axis=(2, 4))
    return ((pooled + 1) * 8).reshape(len(images), 64)


def real_features(config: config_lib.Config, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns features and labels of the `train` or `test` part of the real images."""
    dataset = Dataset(open_source(f"digits:{split}"), config.data)
    images, labels = dataset.gather(np.arange(dataset.spec.num_images))
    return features(np.asarray(to_float(jnp.asarray(images), scaling=config.data.scaling))), labels


def draw(config: config_lib.Config, state, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns features and requested labels of the samples, drawn in evaluation mode from the averaged weights."""
    data = open_dataset(dataclasses.replace(config.data, source="digits:train")).spec
    setup = setup_lib.prepare(config, data)
    sampler = make_sampler(setup.method, setup.networks, sharding=sharding.replicated(setup.mesh))
    labels = np.repeat(np.arange(data.num_classes), SAMPLES_PER_CLASS).astype(np.int32)
    z = jax.random.normal(jax.random.key(seed + 10_000), (len(labels), config.model.latent_dim))
    variables = {name: state.ema.get(name, net) for name, net in state.nets.items()}
    return features(np.asarray(sampler(variables, {"z": z, "labels": jnp.asarray(labels)}))), labels


def classifier() -> SVC:
    return SVC(gamma=0.001)  # pyright: ignore[reportArgumentType] (the library's types know the strings only)


def prove(seed: int, config: config_lib.Config) -> dict[str, float]:
    """Trains with one seed and returns the figures."""
    data = dataclasses.replace(config.data, source="digits:train")
    config = dataclasses.replace(config, seed=seed, data=data)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as workdir:
        state = train(config, workdir)
    seconds = time.monotonic() - started
    train_x, train_y = real_features(config, "train")
    test_x, test_y = real_features(config, "test")
    fake_x, fake_y = draw(config, state, seed)
    judge, student = classifier().fit(train_x, train_y), classifier().fit(fake_x, fake_y)
    return {
        "seed": seed,
        "judge_on_held_out_real": judge.score(test_x, test_y),
        "accuracy": judge.score(fake_x, fake_y),
        "coverage": student.score(test_x, test_y),
        "lowest_class": min(judge.score(fake_x[fake_y == c], fake_y[fake_y == c]) for c in range(10)),
        "train_seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    quiet_logs()
    config = load_recipe(RECIPE)
    rows = []
    for seed in arguments.seeds:
        rows.append(prove(seed, config))
        print(json.dumps(rows[-1]), flush=True)
    for name in ("judge_on_held_out_real", "accuracy", "coverage", "lowest_class", "train_seconds"):
        values = [row[name] for row in rows]
        print(f"{name}: mean {np.mean(values):.4g}, range {min(values):.4g} ... {max(values):.4g}")


if __name__ == "__main__":
    main()
