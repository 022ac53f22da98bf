"""The images of one shard of a packed data set: read, cropped and resized in parallel, counted in order."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np

from jaxgan.data.errors import DataError, UnreadableImage
from jaxgan.data.source import Source
from jaxgan.data.transforms import prepare

_CHUNK = 32  # images per task of a thread
_AHEAD = 16  # tasks that may wait for the disk
DIGEST_BYTES = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides the content of a packed data set; an interrupted preparation goes on only with the same."""

    source: str
    source_fingerprint: str
    num_source_images: int
    height: int  # pixels
    width: int
    channels: int
    crop: str  # see transforms.prepare
    filter: str  # one of transforms.FILTERS
    min_side: int  # pixels; images with a shorter side are left out
    class_names: tuple[str, ...]  # by the labels that are written
    label_of: tuple[int, ...]  # by the source's labels; empty = unlabelled
    shard_images: int  # of the source, per shard

    @property
    def num_shards(self) -> int:
        return -(-self.num_source_images // self.shard_images)

    @property
    def image_bytes(self) -> int:
        return self.height * self.width * self.channels

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        fields = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    def indices(self, shard: int) -> range:
        """Returns which images of the source are dealt with in that shard."""
        return range(shard * self.shard_images, min((shard + 1) * self.shard_images, self.num_source_images))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """One image of the source: its pixels, or why it is left out."""

    index: int  # in the source
    image: np.ndarray | None = None  # uint8 (height, width, channels)
    label: int = 0
    digest: bytes = b""  # of the pixels
    sums: np.ndarray | None = None  # uint64 (2, channels): of the values and of their squares
    is_enlarged: bool = False
    kind: str = ""  # why it is left out, in one word: "unreadable" or "small"
    reason: str = ""  # the same for this image


def prepare_image(source: Source, recipe: Recipe, index: int, *, skip_corrupt: bool) -> Prepared:
    """Reads and transforms one image.

    Raises:
      UnreadableImage: unless skip_corrupt.
      DataError: if it is smaller than the crop.
    """
    try:
        image, label = source.exact_example(index)
    except UnreadableImage as error:
        if not skip_corrupt:
            raise
        return Prepared(index=index, kind="unreadable", reason=error.reason)
    rows, columns = image.shape[:2]
    if min(rows, columns) < recipe.min_side:
        return Prepared(index=index, kind="small", reason=f"{rows} x {columns} pixels, a side below {recipe.min_side}")
    size = {"height": recipe.height, "width": recipe.width}
    try:
        image = prepare(image, **size, channels=recipe.channels, crop=recipe.crop, resample=recipe.filter)
    except DataError as error:
        raise DataError(f"{source.where(index)}: {error}") from error
    return Prepared(
        index=index,
        image=image,
        label=recipe.label_of[label] if recipe.label_of else 0,
        digest=digest(image),
        sums=_sums(image),
        is_enlarged=rows < recipe.height or columns < recipe.width,
    )


def prepare_in_order(
    source: Source, recipe: Recipe, indices: range, pool: Executor, *, skip_corrupt: bool
) -> Iterator[list[Prepared]]:
    """Yields lists of consecutive images, computed in the pool, never far ahead of the consumer."""

    def task(chunk: range) -> list[Prepared]:
        return [prepare_image(source, recipe, index, skip_corrupt=skip_corrupt) for index in chunk]

    waiting: collections.deque[Future[list[Prepared]]] = collections.deque()
    chunks = (indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK))
    try:
        waiting.extend(pool.submit(task, chunk) for chunk in itertools.islice(chunks, _AHEAD))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(task, chunk) for chunk in itertools.islice(chunks, 1))
    finally:
        for future in waiting:
            future.cancel()


class ShardContent:
    """What is remembered of a shard's images: enough for labels, report and fingerprint of the whole set."""

    def __init__(self, channels: int):
        self.digests: list[bytes] = []
        self._kept: list[Prepared] = []
        self._skipped: list[tuple[int, str, str]] = []
        self._sums = np.zeros((2, channels), object)  # of values and of squares, as exact integers

    def add(self, done: Prepared) -> None:
        """Counts one image, in the order of the source."""
        if done.image is None:
            self._skipped.append((done.index, done.kind, done.reason))
            return
        self.digests.append(done.digest)
        self._kept.append(dataclasses.replace(done, image=None, sums=None))
        assert done.sums is not None
        self._sums += done.sums.astype(object)

    def summary(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return {
            "count": len(self._kept),
            "indices": [done.index for done in self._kept],
            "labels": [done.label for done in self._kept],
            "digests": b"".join(self.digests).hex(),
            "enlarged": sum(done.is_enlarged for done in self._kept),
            "skipped": self._skipped,
            "sums": [[int(value) for value in row] for row in self._sums],
        }


def _sums(image: np.ndarray) -> np.ndarray:
    values = image.reshape(-1, image.shape[2]).astype(np.uint32)
    return np.stack([values.sum(0, dtype=np.uint64), (values * values).sum(0, dtype=np.uint64)])


def digest(pixels: np.ndarray) -> bytes:
    """Returns the bytes by which equal images are found."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=DIGEST_BYTES).digest()
