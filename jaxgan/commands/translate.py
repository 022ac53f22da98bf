"""`python -m jaxgan translate`: images of any size, taken from one domain into the other under their own names."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from jaxgan.commands import opening
from jaxgan.commands.errors import CommandError
from jaxgan.commands.output import output_folder
from jaxgan.data.decode import EXTENSIONS, DecodeError, decode, is_image
from jaxgan.data.folder import images_below
from jaxgan.data.transforms import convert_channels, resize
from jaxgan.generation import images as images_lib
from jaxgan.generation import latents, padding
from jaxgan.generation import translate as translate_lib
from jaxgan.generation.padding import Size
from jaxgan.generation.progress import Progress
from jaxgan.generation.run import Run, open_run
from jaxgan.training.workdir import write_json

HELP = "translate a folder of images with a run of CycleGAN or pix2pix"


class Input(NamedTuple):
    """An image file to be translated."""

    number: int  # in the order of names, of which its dropout depends
    path: Path
    target: str  # file to write, relative to --out, with forward slashes
    size: Size  # after --resize


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags: which run, which images, and where to write."""
    opening.add_run_arguments(parser)
    parser.add_argument("--images", required=True, help="folder, read with its sub-folders, or one file")
    parser.add_argument("--direction", choices=("a2b", "b2a"), help="needed where the run learnt both")
    parser.add_argument(
        "--resize", default="none", metavar="HxW|N|none",
        help="before translating: to H x W pixels, or, in proportion, to N pixels of the shorter side; default: none",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the dropout of a generator that has any (default 0)")
    parser.add_argument("--batch_size", type=int, help="images at a time on all devices; default: one on each")
    parser.add_argument("--skip_corrupt", action="store_true", help="leave out files that are no readable images")
    parser.add_argument("--out", help="folder to write; default: WORKDIR/translated/step_..._a2b")
    parser.add_argument("--overwrite", action="store_true", help="replace what --out holds under the same names")


def run(args: argparse.Namespace) -> None:
    """Writes a PNG file for every image, at its place in the folder, and `translate.json`: how they were made.

    Raises:
      CommandError, RunError: with one sentence for the user; nothing is written then.
    """
    latents.check_seed(args.seed)
    wanted = _wanted_size(args.resize)
    root = Path(args.images).expanduser()
    files = _list_files(root)
    opened = open_run(args.workdir, step=args.step)
    direction = translate_lib.one_direction(opened, args.direction)
    out = (
        Path(args.out).expanduser()
        if args.out
        else opened.workdir / "translated" / _folder_name(opened, direction, args)
    )
    _check_apart(out, root)
    with output_folder(out, overwrite=args.overwrite) as folder:
        inputs = _measure(files, wanted, skip_corrupt=args.skip_corrupt)
        _translate(opened, direction, inputs, folder, args)
        left_out = [file.as_posix() for number, file in enumerate(files.values())
                    if number not in {one.number for one in inputs}]  # fmt: skip
        chosen = {
            "workdir": str(opened.workdir.resolve()),
            "step": opened.step,
            "weights": opened.weights_used(args.weights),
            "direction": direction,
            "images": args.images,
            "resize": args.resize,
            "seed": args.seed,
            "num": len(inputs),
            "left_out": left_out,
        }
        write_json(folder / "translate.json", chosen)
    print(f"{len(inputs):,} translations ({direction}) of step {opened.step:,} are in {out}")


def _translate(run: Run, direction: str, inputs: Sequence[Input], folder: Path, args: argparse.Namespace) -> None:
    variables = run.variables(args.weights)
    sizes = [one.size for one in inputs]

    def read(number: int) -> np.ndarray:
        one = inputs[number]
        return _resized(convert_channels(decode(one.path.read_bytes()), run.data.channels), one.size)

    with Progress("translating", len(inputs)) as progress:
        translations = translate_lib.translate_each(
            run, read, sizes, direction, seed=args.seed, variables=variables, progress=progress,
            batch_size=run.mesh.size if args.batch_size is None else args.batch_size,
            numbers=[one.number for one in inputs], names=[str(one.path) for one in inputs], say=_say,
        )  # fmt: skip
        for number, translation in translations:
            images_lib.write_png(folder / inputs[number].target, images_lib.to_uint8(translation))


def _list_files(root: Path) -> dict[str, Path]:
    """Returns {file to write: file to read}, in the order of the names read."""
    if root.is_file():
        if not is_image(root.name):
            raise CommandError(f"--images {root} is no image file ({', '.join(EXTENSIONS)}); give one, or a folder.")
        names, folder = [root.name], root.parent
    elif root.is_dir():
        names, folder = images_below(root, "."), root
    else:
        raise CommandError(f"--images {root} does not exist; give a folder of images, or one file.")
    if not names:
        raise CommandError(
            f"--images {root}: the folder and its sub-folders hold no image; looked for files ending in "
            f"{', '.join(EXTENSIONS)} (any case, not hidden)."
        )
    files: dict[str, Path] = {}
    taken: dict[str, str] = {}  # by what file systems that ignore case take for equal
    for name in names:
        target = PurePosixPath(name).with_suffix(".png").as_posix()
        if other := taken.get(target.casefold()):
            raise CommandError(
                f"--images {root}: {other} and {name} would both be written as {target}; rename one of them."
            )
        taken[target.casefold()] = name
        files[target] = folder / name
    return files


def _check_apart(out: Path, root: Path) -> None:
    """Refuses to write where images may be replaced by their translations, or the next call would read these."""
    folder = root.resolve() if root.is_dir() else root.resolve().parent
    inside = out.resolve().is_relative_to(folder) if root.is_dir() else out.resolve() == folder
    if inside:
        raise CommandError(f"--out {out} lies in the folder of the images, {folder}; choose one elsewhere.")


def _measure(files: dict[str, Path], wanted: Size | int | None, *, skip_corrupt: bool) -> list[Input]:
    """Decodes every file once, to know its size and that it is whole before anything is translated."""
    inputs: list[Input] = []
    with Progress("reading", len(files)) as progress:
        for number, (target, path) in enumerate(files.items()):
            try:
                height, width = decode(path.read_bytes()).shape[:2]
                inputs.append(Input(number, path, target, _size((height, width), wanted)))
            except DecodeError as error:
                if not skip_corrupt:
                    raise CommandError(
                        f"{path} is not a readable image ({error}); repair or remove it, or pass --skip_corrupt."
                    ) from error
                _say(f"left out {path} ({error})")
            progress.advance(1)
    if not inputs:
        raise CommandError(f"none of the {len(files):,} files is a readable image; give others by --images.")
    return inputs


def _wanted_size(text: str) -> Size | int | None:
    """Returns (H, W), the length of the shorter side, or None for images as they are."""
    if text == "none":
        return None
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    sides = [int(number) for number in match.groups() if number] if match else []
    if not sides or min(sides) < padding.LEAST_SIDE:
        raise CommandError(
            f"--resize (={text!r}) must be HxW, e.g. 256x512, or N, with at least {padding.LEAST_SIDE} pixels, or none."
        )
    return (sides[0], sides[1]) if len(sides) == 2 else sides[0]


def _size(size: Size, wanted: Size | int | None) -> Size:
    if wanted is None:
        return size
    if isinstance(wanted, tuple):
        return wanted
    height, width = (round(side * wanted / min(size)) for side in size)
    return height, width


def _resized(image: np.ndarray, size: Size) -> np.ndarray:
    return resize(image, height=size[0], width=size[1])


def _folder_name(run: Run, direction: str, args: argparse.Namespace) -> str:
    parts = [f"step_{run.step:08d}", direction]
    parts += [args.weights] if args.weights != "auto" else []
    parts += [f"resized_{args.resize}"] if args.resize != "none" else []
    parts += [f"seed_{args.seed}"] if args.seed else []
    return "_".join(parts)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
