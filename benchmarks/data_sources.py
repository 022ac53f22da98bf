"""How many images per second does every data source deliver, beside raw arrays in memory and tf.data on TFRecord?

    python -m benchmarks.data_sources
    python -m benchmarks.data_sources --resolutions 128 --num_images 4000 --rounds 5 --json=sources.json

The same synthetic images (smooth, with a little noise) are written in every form into a temporary folder and read with
`Dataset.batches`: shuffled, flipped at random, uint8 batches, as in training. All sides live in one process and take
turns of `--seconds`, the order being reversed from round to round. A ratio is a side's rate over that of the arrays in
memory in the same round; above 1 the side is faster. The files lie in the page cache: the disk is not measured.

`digits`, `idx:` and `cifar10:` are arrays in memory. `packed:` holds up to 2 GiB in memory, as training does; the side
"from disk" reads every image when it is wanted, as with larger sets. tf.data does the same work (shuffle, decode, flip,
batch, prefetch) with as many threads, from JPEGs and from raw pixels; without TensorFlow it is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from benchmarks.arguments import positive
from jaxgan.config import DataConfig
from jaxgan.data import prepared
from jaxgan.data.packing import Packer, default_shard_images
from jaxgan.data.pipeline import Dataset
from jaxgan.data.shards import Recipe
from jaxgan.data.source import ArraySource, Source
from jaxgan.data.sources import open_source
from jaxgan.training.workdir import write_json

_NUM_CLASSES = 10
_JPEG_QUALITY = 90
_BUFFER = 4096  # images that tf.data shuffles; jaxgan shuffles the whole set

Batches = Callable[[], Generator[Any, None, None] | Iterator[Any]]  # an endless stream, from its beginning


def synthetic_images(count: int, resolution: int) -> np.ndarray:
    """Returns uint8 (count, resolution, resolution, 3): random 6 x 6 pixels, enlarged, with noise of 8 levels."""
    rng = np.random.default_rng(0)
    images = np.empty((count, resolution, resolution, 3), np.uint8)
    for i, small in enumerate(rng.integers(0, 248, (count, 6, 6, 3), np.uint8)):
        smooth = np.asarray(Image.fromarray(small).resize((resolution, resolution), Image.Resampling.BICUBIC))
        images[i] = np.minimum(smooth, 247) + rng.integers(0, 8, smooth.shape, np.uint8)
    return images


def encode(image: np.ndarray) -> bytes:
    """Returns a JPEG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def jaxgan_sides(folder: Path, images: np.ndarray, batch_size: int) -> tuple[dict[str, Batches], list[str]]:
    """Writes the images in every form; returns the streams by name, and a sentence for each that is left out."""
    labels = np.arange(len(images)) % _NUM_CLASSES
    files = [encode(image) for image in images]
    memory = ArraySource("memory", images, labels, [str(i) for i in range(_NUM_CLASSES)])
    write_folder(folder / "folder", files, labels)
    write_zip(folder / "images.zip", files, labels)
    pack(memory, folder / "packed")
    sources: dict[str, Source] = {
        "arrays in memory": memory,
        "packed:": open_source(f"packed:{folder / 'packed'}"),
        "packed:, from disk": open_source(f"packed:{folder / 'packed'}"),
        "folder: of JPEGs": open_source(f"folder:{folder / 'folder'}"),
        "archive: zip of JPEGs": open_source(f"archive:{folder / 'images.zip'}"),
    }
    notes = []
    if importlib.util.find_spec("lmdb"):
        write_lmdb(folder / "lmdb", files)
        sources["lsun: of JPEGs"] = open_source(f"lsun:{folder / 'lmdb'}")
    else:
        notes.append("lsun: is left out: the package lmdb is not installed.")
    data = DataConfig(resolution=images.shape[1], flip=True, num_threads=os.cpu_count() or 1)
    return {
        name: _stream(source, data, batch_size, in_memory="disk" not in name) for name, source in sources.items()
    }, notes


def _stream(source: Source, data: DataConfig, batch_size: int, *, in_memory: bool) -> Batches:
    limit = prepared._IN_MEMORY_BYTES if in_memory else 0
    with mock.patch.object(prepared, "_IN_MEMORY_BYTES", limit):
        dataset = Dataset(source, data)
    return lambda: dataset.batches(seed=0, batch_size=batch_size, num_d_steps=1)


def write_folder(folder: Path, files: Sequence[bytes], labels: np.ndarray) -> None:
    """Writes PATH/CLASS/NUMBER.jpg."""
    for i, (file, label) in enumerate(zip(files, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        (folder / str(label) / f"{i:06d}.jpg").write_bytes(file)


def write_zip(path: Path, files: Sequence[bytes], labels: np.ndarray) -> None:
    """Writes the same, stored in a zip file."""
    with zipfile.ZipFile(path, "w") as archive:
        for i, (file, label) in enumerate(zip(files, labels, strict=True)):
            archive.writestr(f"{label}/{i:06d}.jpg", file)


def write_lmdb(folder: Path, files: Sequence[bytes]) -> None:
    """Writes what LSUN distributes."""
    import lmdb

    with lmdb.open(str(folder), map_size=sum(map(len, files)) * 4 + 2**24) as environment:
        with environment.begin(write=True) as transaction:
            for i, file in enumerate(files):
                transaction.put(f"{i:08d}".encode(), file)


def pack(source: ArraySource, out: Path) -> None:
    """Writes what `python -m jaxgan prepare` would."""
    count, height, width, channels = source.images.shape
    recipe = Recipe(
        source=source.name, source_fingerprint=source.fingerprint, num_source_images=count,
        height=height, width=width, channels=channels, crop="none", filter="lanczos", min_side=0,
        class_names=source.class_names, label_of=tuple(range(len(source.class_names))),
        shard_images=default_shard_images(count, height * width * channels),
    )  # fmt: skip
    packer = Packer(source, recipe, out, num_threads=os.cpu_count() or 1)
    for _ in packer.write():
        pass
    packer.finish()


def tensorflow_sides(folder: Path, images: np.ndarray, batch_size: int) -> tuple[dict[str, Batches], list[str]]:
    """Returns tf.data's streams on TFRecord files of JPEGs and of raw pixels; none without TensorFlow."""
    if not importlib.util.find_spec("tensorflow"):
        return {}, ["tf.data is left out: TensorFlow is not installed (pip install tensorflow-cpu)."]
    import tensorflow as tf

    def decode_jpeg(record: Any) -> Any:
        return tf.io.decode_jpeg(record, channels=3)

    def decode_raw(record: Any) -> Any:
        return tf.reshape(tf.io.decode_raw(record, tf.uint8), images.shape[1:])

    def side(name: str, records: Iterator[bytes], decode: Callable[[Any], Any]) -> Batches:
        path = str(folder / f"{name}.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            for record in records:
                writer.write(record)
        threads = os.cpu_count() or 1
        data = tf.data.TFRecordDataset(path).shuffle(_BUFFER, seed=0).repeat()
        data = data.map(lambda record: tf.image.random_flip_left_right(decode(record)), num_parallel_calls=threads)
        data = data.batch(batch_size, drop_remainder=True).prefetch(2)
        return lambda: data.as_numpy_iterator()

    return {
        "tf.data: TFRecord of JPEGs": side("jpeg", (encode(image) for image in images), decode_jpeg),
        "tf.data: TFRecord of pixels": side("raw", (image.tobytes() for image in images), decode_raw),
    }, []


def rate(batches: Batches, seconds: float, batch_size: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Returns images per second over at least that time, counted from the first batch on."""
    stream = batches()
    next(stream)
    start = now = clock()
    count = 0
    while now - start < seconds:
        next(stream)
        count += batch_size
        now = clock()
    if isinstance(stream, Generator):
        stream.close()
    return count / (now - start)


def race(sides: dict[str, Batches], *, rounds: int, seconds: float, batch_size: int) -> dict[str, list[float]]:
    """Returns {side: images per second of each round}; every other round runs in reverse order."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sides if number % 2 == 0 else reversed(list(sides)):
            rates[name].append(rate(sides[name], seconds, batch_size))
    return rates


def summarize(rates: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Returns the figures of each side; ratios to the first one, round by round."""
    first = next(iter(rates.values()))
    rows = []
    for name, values in rates.items():
        ratios = [ours / theirs for ours, theirs in zip(values, first, strict=True)]
        rows.append(
            {
                "side": name,
                "images_per_second": statistics.median(values),
                "rates_of_rounds": values,
                "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
            }
        )
    return rows


def format_rows(resolution: int, rows: Sequence[dict[str, Any]], notes: Sequence[str]) -> str:
    """Returns the figures as a table for people."""
    lines = [f"{resolution} x {resolution}", f"{'':30}{'images/s':>10}   rate / arrays in memory: median (min ... max)"]
    for row in rows:
        ratio = row["ratio"]
        lines.append(
            f"{row['side']:30}{row['images_per_second']:>10,.0f}   "
            f"{ratio['median']:.2f} ({ratio['min']:.2f} ... {ratio['max']:.2f})"
        )
    return "\n".join([*lines, *notes])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolutions", type=positive, nargs="+", default=[32, 128], help="pixels")
    parser.add_argument("--num_images", type=positive, default=4000)
    parser.add_argument("--batch_size", type=positive, default=64)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="per side and round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args(argv)
    report: dict[str, Any] = {"cpu_cores": os.cpu_count(), "results": []}
    report |= {key: value for key, value in vars(arguments).items() if key not in ("json", "resolutions")}
    print(f"{arguments.num_images:,} images, batch {arguments.batch_size}, {os.cpu_count()} CPU cores\n")
    for resolution in arguments.resolutions:
        with tempfile.TemporaryDirectory() as folder:
            images = synthetic_images(arguments.num_images, resolution)
            ours, notes = jaxgan_sides(Path(folder), images, arguments.batch_size)
            theirs, more_notes = tensorflow_sides(Path(folder), images, arguments.batch_size)
            rates = race(
                ours | theirs, rounds=arguments.rounds, seconds=arguments.seconds, batch_size=arguments.batch_size
            )
        rows = summarize(rates)
        report["results"].append({"resolution": resolution, "sides": rows, "notes": notes + more_notes})
        print(format_rows(resolution, rows, notes + more_notes), end="\n\n", flush=True)
    if arguments.json:
        write_json(arguments.json, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
