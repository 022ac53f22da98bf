"""Images in any number, batch by batch on all devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.core.state import Average
from jaxgan.generation import latents
from jaxgan.generation.errors import RunError
from jaxgan.generation.progress import Counter
from jaxgan.generation.sampler import Sampler


class Source(Protocol):
    """What images are drawn from; an opened `Run` is one."""

    @property
    def mesh(self) -> Mesh: ...

    @property
    def sampler(self) -> Sampler: ...

    @property
    def latent_dim(self) -> int: ...

    @property
    def num_classes(self) -> int: ...

    def variables(self, weights: str = "auto") -> Mapping[str, Average]: ...


def generate(
    run: Source,
    num: int,
    *,
    seed: int,
    batch_size: int,
    truncation: float | None = None,
    class_id: int | None = None,
    weights: str = "auto",
    variables: Mapping[str, Average] | None = None,
    progress: Counter | None = None,
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Draws `num` images, the samples 0 ... num - 1 of the seed; see `latents.draw`.

    The inputs are the same bits, and the images the same up to the rounding of floats, whatever the batch size and
    the number of devices: nothing in evaluation mode mixes the samples of a batch.

    Args:
      run: an opened run.
      num: images, at least 1.
      seed: of the inputs.
      batch_size: images per batch over all devices, at least 1; the last batch may be smaller.
      truncation: bound of the elements of z; None = none.
      class_id: class of every image; None = random classes.
      weights: auto | ema | raw.
      variables: what to use instead of `weights`, e.g. with other batch norm statistics.
      progress: is told of every finished batch.

    Yields:
      (images float32 (B, H, W, C) in [-1, 1], inputs {"z", "labels"}), B <= batch_size.

    Raises:
      RunError: for an argument out of its range, before the first batch.
    """
    check_sizes(num, batch_size)
    variables = run.variables(weights) if variables is None else variables
    for start in range(0, num, batch_size):
        inputs = latents.draw(
            run.latent_dim,
            run.num_classes,
            seed,
            start,
            min(batch_size, num - start),
            truncation=truncation,
            class_id=class_id,
        )
        images = _batch(run, variables, inputs, min(batch_size, num))
        if progress is not None:
            progress.advance(len(images))
        yield images, inputs


def render(
    run: Source,
    inputs: Mapping[str, np.ndarray],
    *,
    batch_size: int,
    variables: Mapping[str, Average],
    progress: Counter | None = None,
) -> Iterator[np.ndarray]:
    """Draws the images of given inputs.

    Args:
      run: an opened run.
      inputs: "z" float32 (N, latent_dim) and "labels", int32 (N,) or mixtures of classes float32 (N, num_classes).
      batch_size: images per batch over all devices, at least 1.
      variables: of all networks.
      progress: is told of every finished batch.

    Yields:
      images float32 (B, H, W, C) in [-1, 1], B <= batch_size.
    """
    num = len(inputs["z"])
    check_sizes(num, batch_size)
    for start in range(0, num, batch_size):
        rows = {name: values[start : start + batch_size] for name, values in inputs.items()}
        images = _batch(run, variables, rows, min(batch_size, num))
        if progress is not None:
            progress.advance(len(images))
        yield images


def check_sizes(num: int, batch_size: int) -> None:
    """Raises RunError unless both are at least 1."""
    for name, value in (("number of images", num), ("batch size", batch_size)):
        if value < 1:
            raise RunError(f"the {name} (={value}) must be at least 1; raise it.")


def _batch(
    run: Source, variables: Mapping[str, Average], inputs: Mapping[str, np.ndarray], batch_size: int
) -> np.ndarray:
    """Runs one batch, padded to `batch_size` rounded up to the devices, so that one program serves all batches."""
    count, devices = len(inputs["z"]), run.mesh.size
    padding = -(-batch_size // devices) * devices - count
    sharding = NamedSharding(run.mesh, PartitionSpec(run.mesh.axis_names))
    padded: dict[str, Any] = {
        name: jax.device_put(np.concatenate([rows, np.repeat(rows[-1:], padding, axis=0)]), sharding)
        for name, rows in inputs.items()
    }
    return np.asarray(jax.device_get(run.sampler(variables, padded)))[:count]
