"""Writing a packed data set: shard by shard, so that an interrupted preparation goes on after its last complete shard.

Shard k holds what is left of the source's images [k S, (k + 1) S), so a shard depends on nothing but the source and the
recipe. It is written under a temporary name, read back and compared, and renamed; then its summary (a JSON file beside
it) says that it is complete. metadata.json comes last and makes the folder a data set. The format: `packed.py`.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.packed import LABELS, METADATA, REPORT, UNFINISHED, VERSION
from jaxgan.data.packing_report import describe
from jaxgan.data.records import RecordFile, RecordWriter
from jaxgan.data.shards import Recipe, ShardContent, digest, prepare_in_order
from jaxgan.data.source import Source

_SHARD_BYTES = 256 * 1024**2
_MAX_SHARDS = 256  # each is an open file while it is read
_COMPARED_BYTES = 16 * 1024**2  # at once


def default_shard_images(num_images: int, image_bytes: int) -> int:
    """Returns how many images of the source go into one shard."""
    return max(1, _SHARD_BYTES // image_bytes, -(-num_images // _MAX_SHARDS))


class Packer:
    """Prepares a source into a folder.

    Args:
      source: what to read.
      recipe: how; it names this source.
      out: created if absent.
      num_threads: that read and resize.
      skip_corrupt: leave out images that do not decode.
      overwrite: `out` may hold other files, which stay, and a packed data set, which is replaced.

    Raises:
      DataError: if `out` holds something else and `overwrite` is off.
    """

    def __init__(
        self,
        source: Source,
        recipe: Recipe,
        out: Path,
        *,
        num_threads: int,
        skip_corrupt: bool = False,
        overwrite: bool = False,
    ):
        self._source = source
        self._recipe = recipe
        self._out = out
        self._num_threads = num_threads
        self._skip_corrupt = skip_corrupt
        self.is_complete = _claim(out, recipe, overwrite=overwrite)

    @property
    def num_done(self) -> int:
        """Images of the source that are dealt with already."""
        if self.is_complete:
            return self._recipe.num_source_images
        return sum(len(self._recipe.indices(k)) for k in range(self._recipe.num_shards) if self._summary(k))

    def write(self) -> Iterator[int]:
        """Writes the shards that are missing; yields how many more images of the source are dealt with, as it goes.

        Raises:
          UnreadableImage: unless skip_corrupt.
          DataError: if an image is smaller than the crop, or the disk gives back other bytes than were written.
        """
        for number in range(0 if self.is_complete else self._recipe.num_shards):
            if not self._summary(number):
                yield from self._write_shard(number)

    def finish(self) -> dict[str, Any]:
        """Writes labels, report and metadata, after `write` has ended; returns the report.

        Raises:
          DataError: if no image is left.
        """
        if self.is_complete:
            return json.loads((self._out / REPORT).read_bytes())
        shards = [self._summary(number) for number in range(self._recipe.num_shards)]
        metadata, report = describe(self._recipe, shards, self._source)
        if self._recipe.label_of:
            labels = io.BytesIO()
            np.save(labels, np.concatenate([np.array(shard["labels"], np.int32) for shard in shards]))
            _write(self._out / LABELS, labels.getvalue())
        _write_json(self._out / REPORT, report, indent=2)
        _write_json(self._out / METADATA, {"version": VERSION} | metadata, indent=2)
        _remove(_leftovers(self._out))
        self.is_complete = True
        return report

    def _name(self, number: int) -> str:
        return f"images-{number:05d}-of-{self._recipe.num_shards:05d}"

    def _summary(self, number: int) -> dict[str, Any]:
        """Returns what is remembered of a shard; nothing if it is not complete."""
        name = self._name(number)
        try:
            summary = json.loads((self._out / f"{name}.json").read_bytes())
            size = (self._out / f"{name}.array_record").stat().st_size if summary["count"] else 0
            return summary if size == summary["bytes"] else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def _write_shard(self, number: int) -> Iterator[int]:
        final = self._out / f"{self._name(number)}.array_record"
        temporary = final.with_name(f"{final.name}.part")
        content = ShardContent(self._recipe.channels)
        with ThreadPoolExecutor(self._num_threads) as pool, RecordWriter(temporary) as writer:
            indices = self._recipe.indices(number)
            for chunk in prepare_in_order(self._source, self._recipe, indices, pool, skip_corrupt=self._skip_corrupt):
                for done in chunk:
                    content.add(done)
                    if done.image is not None:
                        writer.write(done.image)
                yield len(chunk)
        summary = content.summary() | {"file": final.name, "bytes": temporary.stat().st_size, "direct": False}
        if summary["count"]:
            summary["direct"] = _compare(temporary, content.digests, self._recipe.image_bytes)
            os.replace(temporary, final)
        else:
            summary["bytes"] = 0
            temporary.unlink()
        _write_json(final.with_suffix(".json"), summary)


def _claim(out: Path, recipe: Recipe, *, overwrite: bool) -> bool:
    """Makes `out` the folder of this recipe; returns whether it holds the complete data set already."""
    wanted = recipe.to_dict()
    if out.exists() and not out.is_dir():
        raise DataError(f"--out (={out}) is a file and must be a folder; choose another.")
    complete, begun = _read_recipe(out / METADATA), _read_recipe(out / UNFINISHED)
    if complete == wanted and not overwrite:
        _remove(_leftovers(out))
        return True
    if complete is None and begun == wanted:
        return False
    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise DataError(_refusal(out, wanted, complete, begun))
    out.mkdir(parents=True, exist_ok=True)
    # The metadata first: without it, whatever else is left no longer counts as a data set.
    _remove([out / METADATA, out / LABELS, out / REPORT, *_leftovers(out), *out.glob("images-*-of-*.array_record*")])
    _write_json(out / UNFINISHED, {"recipe": wanted}, indent=2)
    return False


def _leftovers(out: Path) -> list[Path]:
    """Files that only an unfinished data set needs."""
    return [out / UNFINISHED, *out.glob("images-*-of-*.json*")]


def _read_recipe(path: Path) -> dict[str, Any] | None:
    """Returns the recipe that a file of the folder names; None without such a file, {} if it cannot be understood."""
    try:
        return dict(json.loads(path.read_bytes())["recipe"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _refusal(
    out: Path, wanted: Mapping[str, Any], complete: Mapping[str, Any] | None, begun: Mapping[str, Any] | None
) -> str:
    found = begun if complete is None else complete
    if found is None:
        return f"--out (={out}) holds other files; choose another folder, or pass --overwrite to write beside them."
    changes = [f"{k} ({_short(found.get(k))} -> {_short(v)})" for k, v in wanted.items() if found.get(k) != v]
    return (
        f"--out (={out}) holds {'an unfinished' if complete is None else 'a'} data set that was prepared with other "
        f"settings: {', '.join(changes)}; choose another folder, or pass --overwrite to replace it."
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _compare(path: Path, digests: Sequence[bytes], size: int) -> bool:
    """Reads a shard back; returns whether its layout allows direct reading.

    Raises:
      DataError: if it cannot be read, or other bytes come back.
    """
    for direct in (True, False):
        try:
            if _has_digests(RecordFile(path, len(digests), size, direct=direct), digests, size):
                return direct
        except OSError:
            continue
    raise DataError(f"{path} does not hold what was written to it; check the disk, then type the command again.")


def _has_digests(file: RecordFile, digests: Sequence[bytes], size: int) -> bool:
    step = max(1, _COMPARED_BYTES // size)
    for start in range(0, len(digests), step):
        part = range(start, min(start + step, len(digests)))
        rows = np.empty((len(part), size), np.uint8)
        file.read_into(rows, range(len(part)), part)
        if [digest(row) for row in rows] != list(digests[start : part.stop]):
            return False
    return True


def _write_json(path: Path, tree: Mapping[str, Any], indent: int | None = None) -> None:
    _write(path, json.dumps(tree, indent=indent).encode())


def _write(path: Path, content: bytes) -> None:
    """Writes a file that is either complete or absent, after a loss of power too."""
    temporary = path.with_name(f"{path.name}.part")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
