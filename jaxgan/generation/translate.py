"""Images translated into the other domain, in any number and of any size, batch by batch on all devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.core import rng
from jaxgan.core.compilation import compiler_options
from jaxgan.core.network import BoundNetwork, Network
from jaxgan.core.state import Average
from jaxgan.data.scaling import to_float
from jaxgan.data.spec import DataSpec
from jaxgan.generation.errors import RunError
from jaxgan.generation.padding import LEAST_SIDE, Size, crop, is_coarse, pad, padded_sizes
from jaxgan.generation.progress import Counter

# (variables, images uint8 or float32 (B, H, W, C), key, numbers int32 (B,), direction) -> float32 (B, H, W, C)
Translator = jax.stages.Wrapped

_LARGEST_STEP = 1024  # pixels, that sizes a network takes may lie apart


class Source(Protocol):
    """What translates; an opened `Run` of such a method is one."""

    @property
    def mesh(self) -> Mesh: ...

    @property
    def translator(self) -> Translator: ...

    @property
    def directions(self) -> tuple[str, ...]: ...

    @property
    def data(self) -> DataSpec: ...

    def variables(self, weights: str = "auto") -> Mapping[str, Average]: ...


def make_translator(
    method: Any, networks: Mapping[str, Network], *, scaling: str, sharding: jax.sharding.Sharding
) -> Translator:
    """Returns a jitted function that translates a batch; see `Translator`.

    Args:
      method: what was trained: its `translate(nets, images, direction, key)` is called.
      networks: the pure functions of its networks.
      scaling: of uint8 images, as in the training.
      sharding: of the translations; replicated, so that every process can read them.
    """

    def translate(
        variables: Mapping[str, Average], images: jax.Array, key: jax.Array, numbers: jax.Array, direction: str
    ) -> jax.Array:
        nets = {name: BoundNetwork(networks[name], v.params, v.stats) for name, v in variables.items()}
        return translate_batch(method, nets, images, key, numbers, direction, scaling=scaling)

    return jax.jit(translate, static_argnames="direction", out_shardings=sharding, compiler_options=compiler_options())


def translate_batch(
    method: Any,
    nets: Mapping[str, BoundNetwork],
    images: jax.Array,
    key: jax.Array,
    numbers: jax.Array,
    direction: str,
    *,
    scaling: str,
) -> jax.Array:
    """Translates one batch within a trace; the dropout of an image depends on `key` and its number only."""
    if images.dtype == jnp.uint8:
        images = to_float(images, scaling=scaling)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
    return method.translate(nets, images, direction, keys).astype(jnp.float32)


def root_key(seed: int) -> jax.Array:
    """Returns the key of all translations with a seed."""
    return rng.stream(jax.random.key(seed), "translate")


def translate(
    source: Source,
    images: Any,
    direction: str,
    *,
    seed: int = 0,
    batch_size: int = 8,
    variables: Mapping[str, Average] | None = None,
    start: int = 0,
    progress: Counter | None = None,
) -> np.ndarray:
    """Returns the translations of images of one size, float32 (N, H, W, C) in [-1, 1].

    Any size does: where the network takes multiples of some number of pixels only, the images are continued by
    reflection below and to the right, and the translations are cut. Images of a size that it takes are translated as
    they are.

    Args:
      source: an opened run.
      images: (N, H, W, C), uint8, or floats in [-1, 1].
      direction: one of `source.directions`.
      seed: of the dropout of a generator that has any.
      batch_size: images per batch over all devices, at least 1.
      variables: of all networks; None = averaged ones where there are any.
      start: number of the first image, of which its dropout depends.
      progress: is told of every finished batch.

    Raises:
      RunError: for images or a direction that the run does not translate.
    """
    images = _check_images(source, images)
    sizes = [(int(images.shape[1]), int(images.shape[2]))] * len(images)
    found = np.empty(images.shape, np.float32)
    done = translate_each(
        source, images.__getitem__, sizes, direction, seed=seed, batch_size=batch_size, variables=variables,
        numbers=range(start, start + len(images)), progress=progress,
    )  # fmt: skip
    for number, translation in done:
        found[number] = translation
    return found


def translate_each(
    source: Source,
    read: Callable[[int], np.ndarray],
    sizes: Sequence[Size],
    direction: str,
    *,
    seed: int = 0,
    batch_size: int = 1,
    variables: Mapping[str, Average] | None = None,
    numbers: Sequence[int] | None = None,
    names: Sequence[str] = (),
    progress: Counter | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Translates images of any sizes, those of one size after padding together; see `translate` and `padded_sizes`.

    Args:
      read: from the place of an image, 0 ... len(sizes) - 1, to the image (H, W, C), of the run's channels.
      sizes: (H, W) of every image, in pixels.
      numbers: of the images, of which their dropout depends; None = their places.
      names: of the images, for messages.
      say: is told where more is padded than necessary.
      (others): see `translate`.

    Yields:
      (place, translation float32 (H, W, C) in [-1, 1]), size by size.

    Raises:
      RunError: see `translate`; before the first image.
    """
    check_direction(source, direction)
    if batch_size < 1:
        raise RunError(f"the batch size (={batch_size}) must be at least 1; raise it.")
    variables = source.variables() if variables is None else variables
    trained_on = (source.data.height, source.data.width)
    multiple = 1 if set(sizes) <= {trained_on} else size_multiple(source, direction, variables)
    padded = padded_sizes(sizes, multiple, trained_on, names)
    if is_coarse(sizes, multiple):
        say(f"the images have many sizes, so they are padded to fewer ({len(set(padded))}), multiples of 32 pixels")
    key = root_key(seed)
    for size in dict.fromkeys(padded):
        places = [place for place, found in enumerate(padded) if found == size]
        for first in range(0, len(places), batch_size):
            part = places[first : first + batch_size]
            images = np.stack([pad(read(place), size) for place in part])
            keyed = np.array(part if numbers is None else [numbers[place] for place in part], np.int32)
            found = _run(source, variables, images, key, keyed, direction, min(batch_size, len(places)))
            for place, translation in zip(part, found, strict=True):
                yield place, crop(translation, sizes[place])
            if progress is not None:
                progress.advance(len(part))


def size_multiple(source: Source, direction: str, variables: Mapping[str, Average]) -> int:
    """Returns the number of pixels of which the sides of images must be multiples; 0 = only the training's size does.

    It is found by asking what shapes the network returns for sizes around those of the training, without running it,
    and so is true of any network.
    """
    height, width = source.data.height, source.data.width
    multiple = 1
    while multiple <= _LARGEST_STEP:
        if height % multiple == width % multiple == 0:
            if _keeps_size(source, direction, variables, (height + multiple, width + multiple)):
                return multiple
        multiple *= 2
    return 0


def check_direction(source: Source, direction: str) -> None:
    """Raises RunError unless the source translates in this direction."""
    if not source.directions:
        raise RunError("this run draws images from latents and translates none; use `python -m jaxgan generate`.")
    if direction not in source.directions:
        raise RunError(f"direction (={direction!r}) must be {' or '.join(source.directions)}, as the run was trained.")


def one_direction(source: Source, direction: str | None) -> str:
    """Returns the direction asked for, or, for None, the only one there is; raises RunError as `check_direction`."""
    if direction is None and len(source.directions) > 1:
        raise RunError(
            f"the direction is missing, since the run translates {' and '.join(source.directions)}; name one."
        )
    direction = direction or (*source.directions, "")[0]
    check_direction(source, direction)
    return direction


def _keeps_size(source: Source, direction: str, variables: Mapping[str, Average], size: Size) -> bool:
    images = jax.ShapeDtypeStruct((1, *size, source.data.channels), jnp.float32)
    numbers = jax.ShapeDtypeStruct((1,), jnp.int32)
    try:
        found = source.translator.trace(variables, images, root_key(0), numbers, direction).out_info
        return found.shape[1:3] == size
    except (TypeError, ValueError):  # what JAX and the layers raise for shapes that do not fit
        return False


def _check_images(source: Source, images: Any) -> np.ndarray:
    array = np.asarray(images)
    channels = source.data.channels
    if array.ndim != 4 or not len(array) or array.shape[3] != channels:
        raise RunError(f"images (shape {array.shape}) must be (N, H, W, {channels}), with at least one image.")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise RunError(f"images (dtype {array.dtype}) must be uint8, or floats in [-1, 1]; convert them.")
    if not np.all(np.abs(array) <= 1):  # NaN too
        raise RunError(
            f"images must be uint8, or floats in [-1, 1], and reach from {array.min():g} to {array.max():g}; scale "
            "them."
        )
    return array.astype(np.float32)


def _run(
    source: Source,
    variables: Mapping[str, Average],
    images: np.ndarray,
    key: jax.Array,
    numbers: np.ndarray,
    direction: str,
    batch_size: int,
) -> np.ndarray:
    """Runs one batch, filled up to `batch_size` rounded up to the devices, so that one program serves a size."""
    count, devices = len(images), source.mesh.size
    filling = -(-batch_size // devices) * devices - count
    sharding = NamedSharding(source.mesh, PartitionSpec(source.mesh.axis_names))
    filled = [
        jax.device_put(np.concatenate([rows, np.repeat(rows[-1:], filling, axis=0)]), sharding)
        for rows in (images, numbers)
    ]
    try:
        found = source.translator(variables, filled[0], key, filled[1], direction)
    except (TypeError, ValueError) as error:
        height, width = images.shape[1:3]
        raise RunError(
            f"the generator cannot translate images of {height} x {width} pixels ({error}); resize them, to "
            f"{source.data.height} x {source.data.width} as in the training, or to {LEAST_SIDE} pixels at least."
        ) from error
    return np.asarray(jax.device_get(found))[:count]
