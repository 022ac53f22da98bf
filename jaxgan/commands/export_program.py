"""What an exported program computes: images from latents and labels, or translations from images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxgan.core.network import BoundNetwork
from jaxgan.core.state import Average
from jaxgan.generation import generate as generate_lib
from jaxgan.generation import translate as translate_lib
from jaxgan.generation.padding import LEAST_SIDE
from jaxgan.generation.run import Run

Nets = Mapping[str, BoundNetwork]
Shapes = dict[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class Program:
    """A function of networks and inputs.

    Attributes:
      apply: (networks by name, inputs by name) -> images float32 (b, H, W, C) in [-1, 1].
      example: shapes of the inputs with numbers.
      symbolic: shapes of the inputs with symbols, from the most general to the most special.
      draw: (variables, number of images) -> inputs, and "images" or "translations" that the run itself makes of them.
      output: name of what it returns, in check.npz.
    """

    apply: Callable[[Nets, Mapping[str, jax.Array]], jax.Array]
    example: Shapes
    symbolic: tuple[Shapes, ...]
    draw: Callable[[Mapping[str, Average], int], dict[str, np.ndarray]]
    output: str


def drawing(run: Run, *, seed: int, truncation: float | None) -> Program:
    """z float32 (b, latent_dim) and labels int32 (b,) to images; the seed and the truncation are those of `draw`."""

    def apply(nets: Nets, inputs: Mapping[str, jax.Array]) -> jax.Array:
        return run.method.sample(nets, dict(inputs))

    def shapes(batch: str) -> Shapes:
        size = jax.export.symbolic_shape(f"{batch}, {run.latent_dim}")
        return {"z": jax.ShapeDtypeStruct(size, jnp.float32), "labels": jax.ShapeDtypeStruct(size[:1], jnp.int32)}

    def draw(variables: Mapping[str, Average], num: int) -> dict[str, np.ndarray]:
        batches = generate_lib.generate(run, num, seed=seed, batch_size=num, truncation=truncation, variables=variables)
        images, inputs = next(batches)
        return {**inputs, "images": images}

    return Program(apply, shapes("1"), (shapes("b"),), draw, "images")


def translating(run: Run, direction: str, *, seed: int) -> Program:
    """Images float32 (b, H, W, C) in [-1, 1] to their translations, where possible for every size the network takes.

    Where a generator has dropout, that of the image at a place of the batch is always the same: that of the image of
    this number which `Run.translate` gives with `seed`.
    """
    height, width, channels = run.data.height, run.data.width, run.data.channels

    def apply(nets: Nets, inputs: Mapping[str, jax.Array]) -> jax.Array:
        images = inputs["images"]
        numbers = jnp.arange(images.shape[0], dtype=jnp.int32)
        key = translate_lib.root_key(seed)
        scaling = run.config.data.scaling
        return translate_lib.translate_batch(run.method, nets, images, key, numbers, direction, scaling=scaling)

    def shapes(text: str, *constraints: str) -> Shapes:
        sizes = jax.export.symbolic_shape(f"{text}, {channels}", constraints=constraints)
        return {"images": jax.ShapeDtypeStruct(sizes, jnp.float32)}

    def draw(variables: Mapping[str, Average], num: int) -> dict[str, np.ndarray]:
        images = np.random.default_rng(seed).uniform(-1, 1, (num, height, width, channels)).astype(np.float32)
        translations = translate_lib.translate(run, images, direction, seed=seed, variables=variables)
        return {"images": images, "translations": translations}

    symbolic = [shapes(f"b, {height}, {width}")]
    if multiple := translate_lib.size_multiple(run, direction, run.variables()):
        least = -(-LEAST_SIDE // multiple)
        symbolic.insert(0, shapes(f"b, {multiple}*h, {multiple}*w", f"h >= {least}", f"w >= {least}"))
    return Program(apply, shapes(f"1, {height}, {width}"), tuple(symbolic), draw, "translations")
