"""`python -m jaxgan generate`: images of random classes, of one, or of each, as PNG files or as floats."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from jaxgan.commands import opening
from jaxgan.commands.errors import CommandError
from jaxgan.commands.output import output_folder
from jaxgan.core.state import Average
from jaxgan.data.npz import ArrayFileError, read_npz
from jaxgan.generation import generate as generate_lib
from jaxgan.generation import images as images_lib
from jaxgan.generation import latents
from jaxgan.generation.errors import RunError
from jaxgan.generation.npz import write_npz
from jaxgan.generation.progress import Progress
from jaxgan.generation.run import Run
from jaxgan.training.workdir import write_json

HELP = "draw images from a run: random classes, one class, or all of them"

Batches = Iterator[tuple[np.ndarray, Mapping[str, np.ndarray]]]  # (images, {"z", "labels"})

_MAX_TILES = 100  # of grid.png
_DEFAULT_NUM = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags: of the run, what to draw, and where to write."""
    opening.add_arguments(parser)
    parser.add_argument("--num", type=int, help=f"images, with --all_classes of each class (default {_DEFAULT_NUM})")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--class_id", help="class of all images, by id or by name; default: random classes")
    what.add_argument("--all_classes", action="store_true", help="one tiled image per class, out/classes/NAME.png")
    what.add_argument(
        "--latents", metavar="FILE.npz", help="`z` (N, latent_dim) and `labels` (N,) instead of drawn ones"
    )
    parser.add_argument(
        "--format", choices=("png", "npz"), default="png",
        help="out/images/*.png and out/grid.png, or out/samples.npz: images float32 (N, H, W, C) in [-1, 1], z, labels",
    )  # fmt: skip
    parser.add_argument("--out", help="folder to write; default: WORKDIR/generated/...")
    parser.add_argument("--overwrite", action="store_true", help="replace what --out holds under the same names")


def run(args: argparse.Namespace) -> None:
    """Generates; besides the images it writes `generate.json`: what they are images of."""
    latents.check_seed(args.seed)
    latents.check_truncation(args.truncation)
    for flag in ("num", "truncation"):
        if args.latents and getattr(args, flag) is not None:
            raise CommandError(f"--{flag} says how to draw latents, but --latents gives them; leave one of both out.")
    opened = opening.open_from(args)
    _ = opened.latent_dim  # raises where the run draws nothing
    given = _read_latents(Path(args.latents), opened) if args.latents else None
    classes = _classes(opened, args)
    num = len(given["z"]) if given else _DEFAULT_NUM if args.num is None else args.num
    generate_lib.check_sizes(num, args.batch_size)
    out = Path(args.out) if args.out else opened.workdir / "generated" / _folder_name(opened, args)
    with output_folder(out, overwrite=args.overwrite) as folder, Progress("generating", num * len(classes)) as progress:
        variables = opening.choose_variables(opened, args)
        batches = {class_id: _batches(opened, args, variables, num, class_id, given, progress) for class_id in classes}
        if args.format == "npz":
            _write_samples(folder, opened, num * len(classes), (batch for part in batches.values() for batch in part))
        elif args.all_classes:
            _write_classes(folder, opened, batches)
        else:
            _write_images(folder, batches[classes[0]])
        asked = {"num": num, "class_id": args.class_id, "all_classes": args.all_classes, "latents": args.latents}
        write_json(folder / "generate.json", opening.describe(opened, args) | asked)
    print(f"{num * len(classes):,} images of step {opened.step:,} are in {out}")


def _classes(run: Run, args: argparse.Namespace) -> list[int | None]:
    """Returns the classes to draw, one after the other; None = random ones, or those given."""
    if args.all_classes:
        if not run.num_classes:
            raise CommandError(
                f"--all_classes was asked for, but {run.workdir} was trained without classes; leave it out."
            )
        return list(range(run.num_classes))
    return [None if args.class_id is None else run.class_id(args.class_id)]


def _batches(
    run: Run,
    args: argparse.Namespace,
    variables: Mapping[str, Average],
    num: int,
    class_id: int | None,
    given: Mapping[str, np.ndarray] | None,
    progress: Progress,
) -> Batches:
    if given is None:
        yield from generate_lib.generate(
            run,
            num,
            seed=args.seed,
            batch_size=args.batch_size,
            truncation=args.truncation,
            class_id=class_id,
            variables=variables,
            progress=progress,
        )
        return
    start = 0
    for images in generate_lib.render(run, given, batch_size=args.batch_size, variables=variables, progress=progress):
        yield images, {name: rows[start : start + len(images)] for name, rows in given.items()}
        start += len(images)


def _write_images(folder: Path, batches: Batches) -> None:
    tiles: list[np.ndarray] = []
    count = 0
    for images, _ in batches:
        pixels = images_lib.to_uint8(images)
        for image in pixels:
            images_lib.write_png(folder / "images" / f"{count:06d}.png", image)
            count += 1
        tiles.extend(pixels[: _MAX_TILES - len(tiles)])
    _write_grid(folder / "grid.png", tiles)


def _write_classes(folder: Path, run: Run, batches: Mapping[int | None, Batches]) -> None:
    for class_id, part in batches.items():
        name = class_file_name(run, int(class_id or 0))
        tiles = [tile for images, _ in part for tile in images_lib.to_uint8(images)]
        _write_grid(folder / "classes" / f"{name}.png", tiles)


def _write_grid(path: Path, tiles: list[np.ndarray]) -> None:
    columns, scale = images_lib.grid_columns(len(tiles)), images_lib.display_scale(len(tiles[0]))
    images_lib.write_png(path, images_lib.grid(np.stack(tiles), columns=columns, scale=scale))


def _write_samples(folder: Path, run: Run, total: int, batches: Batches) -> None:
    inputs: dict[str, list[np.ndarray]] = {"z": [], "labels": []}

    def images() -> Iterator[np.ndarray]:
        for batch, rows in batches:
            for name, values in inputs.items():
                values.append(rows[name])
            yield batch

    shape = (total, run.data.height, run.data.width, run.data.channels)
    write_npz(
        folder / "samples.npz",
        "images",
        shape,
        images(),
        lambda: {name: np.concatenate(values) for name, values in inputs.items()},
    )


def _read_latents(path: Path, run: Run) -> dict[str, np.ndarray]:
    try:
        arrays = read_npz(path, ("z", "labels"))
    except ArrayFileError as error:
        raise CommandError(
            f"--latents {path} is not an .npz file of arrays ({error}); write it with np.savez."
        ) from error
    if "z" not in arrays:
        raise CommandError(f"--latents {path} has no array `z`; write it with np.savez(file, z=..., labels=...).")
    try:
        return latents.check_given(run.latent_dim, run.num_classes, arrays["z"], arrays.get("labels"))
    except RunError as error:
        raise CommandError(f"--latents {path}: {error}") from error


def class_file_name(run: Run, class_id: int) -> str:
    """Returns a file's name for a class: its name, with the id where names repeat or are not known."""
    names = [re.sub(r"[^\w.-]+", "_", name).strip("._") for name in run.data.class_names]
    if class_id >= len(names) or not names[class_id]:
        return f"{class_id:04d}"
    same = [name.casefold() for name in names].count(names[class_id].casefold())
    return names[class_id] if same == 1 else f"{names[class_id]}_{class_id:04d}"


def _folder_name(run: Run, args: argparse.Namespace) -> str:
    if args.latents:
        return opening.folder_name(run, args, f"latents_{Path(args.latents).stem}")
    if args.class_id is not None:
        return opening.folder_name(run, args, f"class_{class_file_name(run, run.class_id(args.class_id))}")
    return opening.folder_name(run, args, "all_classes" if args.all_classes else "")
