"""`python -m jaxgan morph`: from class to class at fixed z, or from one z to another, as frames, strip and gif."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from jaxgan.commands import opening
from jaxgan.commands.errors import CommandError
from jaxgan.commands.output import output_folder
from jaxgan.generation import generate as generate_lib
from jaxgan.generation import images as images_lib
from jaxgan.generation import latents, morph
from jaxgan.generation.progress import Progress
from jaxgan.generation.run import Run
from jaxgan.training.workdir import write_json

HELP = "morph images from class to class, or from one latent to another"

_FRAME_MILLISECONDS = 125  # of the gif


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags: of the run, from where to where, and where to write."""
    opening.add_arguments(parser)
    parser.add_argument("--from_class", help="id or name of the class of the first frame")
    parser.add_argument("--to_class", help="id or name of the class of the last frame")
    parser.add_argument("--classes", help="several classes in a row instead, e.g. 0,3,8")
    parser.add_argument("--to_seed", type=int, help="z moves as well, on a great circle, to the z of this seed")
    parser.add_argument("--class_id", help="class of all frames, where only z moves; default: random classes")
    parser.add_argument(
        "--num_frames", type=int, default=9, help="from each class to the next, both included (default 9)"
    )
    parser.add_argument("--num", type=int, default=1, help="latents that are morphed side by side (default 1)")
    parser.add_argument(
        "--nnabla_order", action="store_true",
        help="frame i of n has i/n of --from_class and the rest of --to_class, as nnabla-examples' morph.py",
    )  # fmt: skip
    parser.add_argument("--out", help="folder to write; default: WORKDIR/morphed/...")
    parser.add_argument("--overwrite", action="store_true", help="replace what --out holds under the same names")


def run(args: argparse.Namespace) -> None:
    """Writes frames/0000.png ..., strip.png (a row per latent), morph.gif and morph.json."""
    names = _class_names(args)
    for seed in (args.seed, *([] if args.to_seed is None else [args.to_seed])):
        latents.check_seed(seed)
    latents.check_truncation(args.truncation)
    generate_lib.check_sizes(args.num, args.batch_size)
    opened = opening.open_from(args)
    inputs = _inputs(opened, args, names)
    num_frames = len(inputs["z"]) // args.num
    out = Path(args.out) if args.out else opened.workdir / "morphed" / _folder_name(opened, args, names)
    with output_folder(out, overwrite=args.overwrite) as folder:
        variables = opening.choose_variables(opened, args)
        with Progress("morphing", len(inputs["z"])) as progress:
            batches = list(
                generate_lib.render(opened, inputs, batch_size=args.batch_size, variables=variables, progress=progress)
            )
        pixels = images_lib.to_uint8(np.concatenate(batches))
        _write(folder, pixels.reshape(num_frames, args.num, *pixels.shape[1:]))
        asked = {"classes": names, "class_id": args.class_id, "to_seed": args.to_seed, "num": args.num}
        asked |= {"num_frames": args.num_frames, "nnabla_order": args.nnabla_order}
        write_json(folder / "morph.json", opening.describe(opened, args) | asked)
    print(f"{num_frames:,} frames of step {opened.step:,} are in {out}")


def _class_names(args: argparse.Namespace) -> list[str]:
    """Returns the classes to visit as the user wrote them; none where only z moves."""
    ends = [name for name in (args.from_class, args.to_class) if name is not None]
    if args.classes is not None:
        if ends:
            raise CommandError("--classes names all classes to visit; leave --from_class and --to_class out.")
        ends = [name.strip() for name in args.classes.split(",") if name.strip()]
    elif len(ends) == 1:
        raise CommandError("--from_class and --to_class belong together; give both.")
    if ends and args.class_id is not None:
        raise CommandError("--class_id fixes the class of all frames; leave it out to morph between classes.")
    if not ends and args.to_seed is None:
        raise CommandError("there is nothing to morph; give --from_class and --to_class, --classes, or --to_seed.")
    if args.nnabla_order and args.to_seed is not None:
        raise CommandError("--nnabla_order morphs classes at fixed z; leave --to_seed out.")
    if args.nnabla_order and len(ends) != 2:
        raise CommandError(f"--nnabla_order is defined for two classes and got {len(ends)}; give two, or leave it out.")
    return ends


def _inputs(run: Run, args: argparse.Namespace, names: list[str]) -> dict[str, np.ndarray]:
    """Returns z and labels of all images, frame by frame."""
    start = latents.draw(
        run.latent_dim,
        run.num_classes,
        args.seed,
        0,
        args.num,
        truncation=args.truncation,
        class_id=None if args.class_id is None else run.class_id(args.class_id),
    )
    if names:
        morph.check_mixable(run)
        classes = [run.class_id(name) for name in names]
        mixtures = morph.class_mixtures(classes, run.num_classes, args.num_frames, nnabla_order=args.nnabla_order)
        labels = np.repeat(mixtures, args.num, axis=0)
    else:
        labels = np.tile(start["labels"], args.num_frames)
    num_frames = len(labels) // args.num
    if args.to_seed is None:
        return {"z": np.tile(start["z"], (num_frames, 1)), "labels": labels}
    end = latents.draw(run.latent_dim, 0, args.to_seed, 0, args.num, truncation=args.truncation)
    z = morph.spherical(start["z"], end["z"], args.num_frames if not names else num_frames)
    return {"z": z.reshape(-1, run.latent_dim), "labels": labels}


def _write(folder: Path, pixels: np.ndarray) -> None:
    """Writes uint8 pixels (frames, latents, H, W, C): frames as they are, small strips and films magnified."""
    num_frames, num = pixels.shape[:2]
    columns, padding = images_lib.grid_columns(num), 0 if num == 1 else 2
    scale = images_lib.display_scale(pixels.shape[2])
    frames = [images_lib.grid(images, columns=columns, padding=padding) for images in pixels]
    for number, frame in enumerate(frames):
        images_lib.write_png(folder / "frames" / f"{number:04d}.png", frame)
    rows = pixels.swapaxes(0, 1).reshape(-1, *pixels.shape[2:])
    images_lib.write_png(folder / "strip.png", images_lib.grid(rows, columns=num_frames, scale=scale))
    large = [frame.repeat(scale, axis=0).repeat(scale, axis=1) for frame in frames]
    pictures = [Image.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else frame) for frame in large]
    pictures[0].save(
        folder / "morph.gif", save_all=True, append_images=pictures[1:], duration=_FRAME_MILLISECONDS, loop=0
    )


def _folder_name(run: Run, args: argparse.Namespace, names: list[str]) -> str:
    parts = [f"class_{'-'.join(str(run.class_id(name)) for name in names)}"] if names else []
    parts += [f"class_{run.class_id(args.class_id)}"] if args.class_id is not None else []
    parts += [f"to_seed_{args.to_seed}"] if args.to_seed is not None else []
    parts += ["nnabla_order"] if args.nnabla_order else []
    return opening.folder_name(run, args, "_".join([*parts, f"frames_{args.num_frames}"]))
