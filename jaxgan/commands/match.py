"""`python -m jaxgan match`: the real images that are nearest to generated ones."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.commands import match_embedding, opening
from jaxgan.commands.errors import CommandError
from jaxgan.commands.match_reals import Reals
from jaxgan.commands.output import output_folder
from jaxgan.core.state import Average
from jaxgan.evaluation.features import FeatureExtractor
from jaxgan.evaluation.neighbours import Neighbours, nearest
from jaxgan.evaluation.protocol import Protocol
from jaxgan.generation import generate as generate_lib
from jaxgan.generation import images as images_lib
from jaxgan.generation import latents
from jaxgan.generation.progress import Progress
from jaxgan.generation.run import Run
from jaxgan.training.workdir import write_json

HELP = "find the real images nearest to generated ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags: of the run, what to compare with what, and where to write."""
    opening.add_arguments(parser)
    parser.add_argument("--data", help="source of real images, e.g. folder:PATH; default: what the run was trained on")
    parser.add_argument("--class_id", help="class of the generated images, by id or by name; default: random classes")
    parser.add_argument("--num", type=int, default=1, help="generated images to match (default 1)")
    parser.add_argument("--top_n", type=int, default=15, help="real images per generated one (default 15)")
    among = parser.add_mutually_exclusive_group()
    among.add_argument(
        "--same_class", action="store_true", help="compare with real images of the same class (default, with labels)"
    )
    among.add_argument("--any_class", action="store_true", help="compare with all real images")
    match_embedding.add_arguments(parser)
    parser.add_argument("--out", help="folder to write; default: WORKDIR/matched/...")
    parser.add_argument("--overwrite", action="store_true", help="replace what --out holds under the same names")


def run(args: argparse.Namespace) -> None:
    """Writes match.png (with --num > 1: match_0000.png ...), generated image top left, and match.json."""
    latents.check_seed(args.seed)
    latents.check_truncation(args.truncation)
    generate_lib.check_sizes(args.num, args.batch_size)
    if args.top_n < 1:
        raise CommandError(f"--top_n (={args.top_n}) must be at least 1; raise it.")
    opened = opening.open_from(args)
    _ = opened.latent_dim  # raises where the run draws nothing
    class_id = None if args.class_id is None else opened.class_id(args.class_id)
    reals = Reals(opened, args.data)
    _check_classes(opened, reals, args)
    out = Path(args.out) if args.out else opened.workdir / "matched" / _folder_name(opened, args)
    with output_folder(out, overwrite=args.overwrite) as folder:
        images, labels = draw(opened, args, opening.choose_variables(opened, args), class_id)
        classes = [reals.class_id(int(label)) for label in labels] if _by_class(opened, reals, args) else None
        extractor = match_embedding.make_extractor(args, reals, configured=opened.config.eval.inception_weights)
        found, dims = search(reals, extractor, images, args.top_n, classes=classes, batch_size=args.batch_size)
        if not all(map(len, found.indices)):
            raise CommandError(
                f"{reals.name} has no readable image of a class asked for; pass --any_class, or other --data."
            )
        matches = [_describe(opened, reals, labels, found, i) for i in range(args.num)]
        for i, match in enumerate(matches):
            match["image"] = "match.png" if args.num == 1 else f"match_{i:04d}.png"
            images_lib.write_png(folder / match["image"], tile(reals, images[i], found.indices[i]))
        facts: dict[str, Any] = {
            "data": reals.name,
            "among": "any class" if classes is None else "same class",
            "top_n": args.top_n,
        }
        protocol = str(_protocol(opened, reals, args, extractor, dims))
        write_json(
            folder / "match.json", opening.describe(opened, args) | facts | {"protocol": protocol, "matches": matches}
        )
    _say(matches, args, out)


def draw(
    run: Run, args: argparse.Namespace, variables: Mapping[str, Average], class_id: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 images (N, H, W, C), rounded as in a PNG file, and their classes (N,)."""
    batches = list(
        generate_lib.generate(
            run,
            args.num,
            seed=args.seed,
            batch_size=args.batch_size,
            truncation=args.truncation,
            class_id=class_id,
            variables=variables,
        )
    )
    images = images_lib.to_uint8(np.concatenate([images for images, _ in batches]))
    return images, np.concatenate([inputs["labels"] for _, inputs in batches])


def search(
    reals: Reals,
    extractor: FeatureExtractor,
    images: np.ndarray,
    top_n: int,
    *,
    classes: list[int] | None = None,
    indices: np.ndarray | None = None,
    batch_size: int = 64,
) -> tuple[Neighbours, int]:
    """Streams over the real images.

    Args:
      reals: to search.
      extractor: of the embedding.
      images: uint8 (Q, H, W, C).
      top_n: neighbours of each.
      classes: label of each image's neighbours; None = any.
      indices: numbers of the real images to look at; None = all, or all of those classes.
      batch_size: real images at a time.

    Returns:
      The neighbours, and the number of features.
    """
    queries = extractor(images).features
    if indices is None:
        indices = np.arange(len(reals)) if classes is None else reals.indices_of(set(classes))
    wanted = None if classes is None else np.asarray(classes)

    def embedded() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        with Progress("comparing", len(indices)) as progress:
            for batch in reals.batches(indices, batch_size):
                allowed = None if wanted is None else wanted[:, None] == batch.labels[None, :]
                yield extractor(batch.images).features, batch.indices, allowed
                progress.advance(len(batch.indices))

    return nearest(queries, embedded(), top_n), queries.shape[1]


def tile(reals: Reals, image: np.ndarray, indices: np.ndarray, *, columns: int | None = None) -> np.ndarray:
    """Returns uint8 (H', W', C): the image top left, its neighbours row by row in their order; 4 x 4 for 15 of them."""
    tiles = np.concatenate([image[None], reals.dataset.gather(indices)[0]])
    scale = images_lib.display_scale(image.shape[0])
    return images_lib.grid(tiles, columns=columns or images_lib.grid_columns(len(tiles)), scale=scale)


def _by_class(run: Run, reals: Reals, args: argparse.Namespace) -> bool:
    return args.same_class or (not args.any_class and bool(run.num_classes and reals.class_names))


def _check_classes(run: Run, reals: Reals, args: argparse.Namespace) -> None:
    for what, known in ((run.workdir, run.num_classes), (reals.name, reals.class_names)):
        if args.same_class and not known:
            raise CommandError(f"--same_class was asked for, but {what} has no classes; leave it out.")


def _describe(run: Run, reals: Reals, labels: np.ndarray, found: Neighbours, i: int) -> dict[str, Any]:
    """Returns the JSON of one generated image."""
    real_labels = reals.dataset.gather(found.indices[i])[1]
    neighbours = [
        {"rank": rank, "index": int(index), "where": reals.source.where(int(index))}
        | _class(int(label), reals.class_names, len(reals.class_names))
        | {"distance": float(distance)}
        for rank, (index, label, distance) in enumerate(
            zip(found.indices[i], real_labels, found.distances[i], strict=True), start=1
        )
    ]
    return {"sample": i} | _class(int(labels[i]), run.data.class_names, run.num_classes) | {"neighbours": neighbours}


def _class(label: int, names: tuple[str, ...], num_classes: int) -> dict[str, Any]:
    known = label < len(names)
    return {"label": label if num_classes else None, "class": names[label] if known and num_classes else None}


def _protocol(run: Run, reals: Reals, args: argparse.Namespace, extractor: FeatureExtractor, dims: int) -> Protocol:
    return Protocol(
        extractor=extractor.name,
        dims=dims,
        reference=reals.name,
        fingerprint=reals.source.fingerprint,
        preprocessing=reals.preprocessing(),
        num_reference=len(reals),
        num_samples=args.num,
        weights=run.weights_used(args.weights),
        bn=args.bn,
        truncation="none" if args.truncation is None else f"{args.truncation:g}",
        seed=args.seed,
    )


def _folder_name(run: Run, args: argparse.Namespace) -> str:
    what = "random" if args.class_id is None else f"class_{run.class_id(args.class_id)}"
    return opening.folder_name(
        run, args, f"{what}_{args.extractor.replace(':', '.')}" + ("_any_class" if args.any_class else "")
    )


def _say(matches: list[dict[str, Any]], args: argparse.Namespace, out: Path) -> None:
    for match in matches:
        first = match["neighbours"][0]
        print(f"{match['image']}: nearest is {first['where']}, squared distance {first['distance']:.6g}")
    fewest = min(len(match["neighbours"]) for match in matches)
    if fewest < args.top_n:
        print(f"there are only {fewest:,} real images to compare with, fewer than --top_n {args.top_n}")
    print(f"images and match.json are in {out}")
