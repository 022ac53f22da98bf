"""`python -m jaxgan prepare --source=folder:PATH --out=DIR --resolution=128`: any source becomes a packed data set."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from jaxgan.commands.errors import CommandError

HELP = "read, crop and resize a data set once, into files that are read at the speed of memory (packed:DIR)"

_CROPS = "center, center:N with N pixels, shorter_side, celeba (= center:160) or none"
_FILTERS = ("lanczos", "bicubic", "bilinear", "box", "area")
# Messages about data speak of the configuration; here the same is said by a flag.
_FLAGS = {"data.source=": "--source=", "data.source (=": "--source (=", "data.crop=": "--crop=",
          "set data.skip_corrupt=True": "pass --skip_corrupt"}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the flags."""
    parser.add_argument("--source", required=True, help="what to read, as in --config.data.source, e.g. folder:PATH")
    parser.add_argument("--out", required=True, type=Path, help="folder of the packed data set")
    parser.add_argument("--resolution", required=True, type=int, help="pixels; height, and width unless --width")
    parser.add_argument("--width", type=int, default=0, help="pixels (default: square)")
    parser.add_argument("--crop", default="center", help=f"{_CROPS} (default: center, the largest that fits)")
    parser.add_argument("--filter", choices=_FILTERS, default="lanczos", help="of the resize; all are antialiased")
    parser.add_argument("--channels", type=int, choices=(1, 3, 4), default=3, help="1 grey, 3 RGB (default), 4 RGBA")
    parser.add_argument("--min_side", type=int, default=0, help="pixels; leave out images with a shorter side")
    parser.add_argument("--skip_corrupt", action="store_true", help="leave out images that do not decode")
    parser.add_argument("--dirname_to_label", type=Path, metavar="FILE", help="lines `n01440764 0`: folder and label")
    parser.add_argument("--label_to_classname", type=Path, metavar="FILE", help="lines `0: 'tench, Tinca tinca'`")
    parser.add_argument("--num_workers", type=int, default=os.cpu_count() or 1, help="threads (default: one per core)")
    parser.add_argument("--overwrite", action="store_true", help="replace another data set in --out; other files stay")


def run(args: argparse.Namespace) -> None:
    """Prepares the data set, or goes on with it, and prints what it holds.

    Raises:
      CommandError: a flag is out of its range, or the data are not as they must be.
      OSError: files cannot be read or written.
    """
    from jaxgan.data.errors import DataError

    crop = _check(args)
    try:
        _prepare(args, crop)
    except DataError as error:
        raise CommandError(_in_flags(str(error))) from error


def _prepare(args: argparse.Namespace, crop: str) -> None:
    from jaxgan.data.packing import Packer, default_shard_images
    from jaxgan.data.packing_report import summary
    from jaxgan.data.shards import Recipe
    from jaxgan.data.sources import open_source
    from jaxgan.generation.progress import Progress

    source = open_source(args.source, skip_corrupt=args.skip_corrupt)
    class_names, label_of = _classes(args, source.class_names)
    width = args.width or args.resolution
    recipe = Recipe(
        source=args.source,
        source_fingerprint=source.fingerprint,
        num_source_images=len(source),
        height=args.resolution,
        width=width,
        channels=args.channels,
        crop=crop,
        filter=args.filter,
        min_side=args.min_side,
        class_names=class_names,
        label_of=label_of,
        shard_images=default_shard_images(len(source), args.resolution * width * args.channels),
    )
    packer = Packer(
        source, recipe, args.out,
        num_threads=args.num_workers, skip_corrupt=args.skip_corrupt, overwrite=args.overwrite,
    )  # fmt: skip
    done = packer.num_done
    if packer.is_complete:
        print(f"{args.out} is complete already.", file=sys.stderr)
    elif done:
        print(f"going on after {done:,} of {len(source):,} images", file=sys.stderr)
    with Progress("preparing", len(source) - done) as progress:
        for count in packer.write():
            progress.advance(count)
    print(_printable(summary(packer.finish())))
    print(f"train on it with --config.data.source=packed:{args.out}; details: {args.out / 'report.json'}")


def _classes(args: argparse.Namespace, folders: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns class names by label, and the label of each of the source's classes."""
    from jaxgan.data import class_files

    numbers = _class_file(args, args.dirname_to_label, class_files.DIRNAME_TO_LABEL)
    names = _class_file(args, args.label_to_classname, class_files.LABEL_TO_CLASSNAME)
    if not folders:
        if args.dirname_to_label or args.label_to_classname:
            raise CommandError(
                f"--dirname_to_label and --label_to_classname need a source with classes, but {args.source} has none; "
                "leave them out."
            )
        return (), ()
    return class_files.renumber(
        folders,
        class_files.read_dirname_to_label(numbers) if numbers else None,
        class_files.read_label_to_classname(names) if names else None,
    )


def _class_file(args: argparse.Namespace, given: Path | None, name: str) -> Path | None:
    """Returns the file that was given, or the one of that name in the source's folder, or None."""
    kind, _, path = args.source.partition(":")
    lying = Path(path).expanduser() / name
    return given or (lying if kind == "folder" and lying.is_file() else None)


def _check(args: argparse.Namespace) -> str:
    """Checks the flags; returns the crop in the words of the data pipeline."""
    for flag, least in (("resolution", 1), ("width", 0), ("min_side", 0), ("num_workers", 1)):
        value = getattr(args, flag)
        if value < least:
            raise CommandError(f"--{flag} (={value}) must be at least {least}.")
    crop = "center:160" if args.crop == "celeba" else args.crop
    pixels = crop.removeprefix("center:")
    if crop not in ("none", "center", "shorter_side") and not (pixels != crop and pixels.isdecimal() and int(pixels)):
        raise CommandError(f"--crop (={args.crop!r}) must be {_CROPS}.")
    return crop


def _printable(text: str) -> str:
    """File names may hold bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


def _in_flags(message: str) -> str:
    for field, flag in _FLAGS.items():
        message = message.replace(field, flag)
    return message
