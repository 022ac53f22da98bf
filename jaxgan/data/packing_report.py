"""What a packed data set says of itself: `metadata.json` for programs, `report.json` for people."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.shards import DIGEST_BYTES, Recipe
from jaxgan.data.source import Source, fingerprint

_SKIP_KINDS = {"unreadable": "unreadable", "small": "a side below --min_side"}


def describe(
    recipe: Recipe, shards: Sequence[Mapping[str, Any]], source: Source
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the contents of metadata.json and report.json, from the summaries of the shards.

    Mean and standard deviation are those of all pixels of a channel, on the scale 0..1. A duplicate is an image whose
    prepared pixels equal those of an earlier one.

    Raises:
      DataError: if no image is left.
    """
    count = sum(shard["count"] for shard in shards)
    skipped = [(path, "unreadable", reason) for path, reason in source.skipped]
    skipped += [(source.where(index), kind, reason) for shard in shards for index, kind, reason in shard["skipped"]]
    if not count:
        raise DataError(
            f"none of the {len(skipped)} images of {recipe.source} is left (the first: {skipped[0][2]}); choose "
            "another source, or a smaller --min_side."
        )
    labels = np.concatenate([np.array(shard["labels"], np.int32) for shard in shards])
    digests = np.frombuffer(bytes.fromhex("".join(shard["digests"] for shard in shards)), np.uint8)
    duplicates = _duplicates(digests.reshape(-1, DIGEST_BYTES))
    indices = [index for shard in shards for index in shard["indices"]]
    mean, std = _mean_and_std(shards, count * recipe.height * recipe.width)
    counts = np.bincount(labels, minlength=len(recipe.class_names)).tolist() if recipe.label_of else []
    shape = [recipe.height, recipe.width, recipe.channels]
    metadata = {
        "height": recipe.height,
        "width": recipe.width,
        "channels": recipe.channels,
        "num_images": count,
        "class_names": list(recipe.class_names),
        "label_counts": counts,
        "fingerprint": fingerprint([repr(shape).encode(), digests, labels.astype("<i4")]),
        "mean": mean,
        "std": std,
        "num_skipped": len(skipped),
        "num_duplicates": len(duplicates),
        "recipe": recipe.to_dict(),
        "shards": [
            {key: shard[key] for key in ("file", "bytes", "count", "direct")} for shard in shards if shard["count"]
        ],
    }
    by_kind = collections.Counter(kind for _, kind, _ in skipped)
    report = {
        **{key: metadata[key] for key in ("num_images", "height", "width", "channels", "mean", "std", "fingerprint")},
        "bytes": sum(shard["bytes"] for shard in shards),
        "recipe": metadata["recipe"],
        "label_counts": [
            {"label": label, "name": name, "images": number}
            for label, (name, number) in enumerate(zip(recipe.class_names, counts, strict=True))
        ],
        "num_enlarged": sum(shard["enlarged"] for shard in shards),
        "num_skipped": len(skipped),
        "skipped_by_reason": {_SKIP_KINDS[kind]: number for kind, number in sorted(by_kind.items())},
        "skipped": [{"image": where, "reason": reason} for where, _, reason in skipped],
        "num_duplicates": len(duplicates),
        "duplicates": [
            {"image": source.where(indices[later]), "equals": source.where(indices[first])}
            for later, first in duplicates
        ],
    }
    return metadata, report


def _mean_and_std(shards: Sequence[Mapping[str, Any]], num_pixels: int) -> tuple[list[float], list[float]]:
    """From exact sums of values 0..255 and of their squares, per channel."""
    sums, squares = (
        [sum(column) for column in zip(*(shard["sums"][row] for shard in shards), strict=True)] for row in (0, 1)
    )
    mean = [total / num_pixels for total in sums]
    # The variance from integers: n sum(x^2) - (sum x)^2 cancels without rounding.
    variance = [
        (num_pixels * square - total * total) / num_pixels**2 for total, square in zip(sums, squares, strict=True)
    ]
    return [value / 255 for value in mean], [value**0.5 / 255 for value in variance]


def _duplicates(digests: np.ndarray) -> list[tuple[int, int]]:
    """Returns (image, first image that equals it), in order; digests uint8 (N, DIGEST_BYTES)."""
    keys = digests.view("<u8")  # (N, 2)
    order = np.lexsort((np.arange(len(keys)), keys[:, 1], keys[:, 0]))
    ordered = keys[order]
    is_first = np.ones(len(keys), bool)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(1)
    first = order[np.maximum.accumulate(np.where(is_first, np.arange(len(keys)), 0))]
    pairs = zip(order[~is_first].tolist(), first[~is_first].tolist(), strict=True)
    return sorted(pairs)


def summary(report: Mapping[str, Any]) -> str:
    """Returns the report as a few lines for a terminal."""
    size = " x ".join(str(report[side]) for side in ("height", "width", "channels"))
    lines = [f"{report['num_images']:,} images of {size}, {report['bytes'] / 1e6:,.1f} MB"]
    counts = [entry["images"] for entry in report["label_counts"]]
    if counts:
        empty = counts.count(0)
        lines.append(
            f"{len(counts)} classes of {min(counts):,} to {max(counts):,} images"
            + (f"; {empty} of them have none" if empty else "")
        )
    else:
        lines.append("no labels")
    lines.append(
        f"mean {' '.join(f'{value:.4f}' for value in report['mean'])}, "
        f"standard deviation {' '.join(f'{value:.4f}' for value in report['std'])} (per channel, of 0..1)"
    )
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in report["skipped_by_reason"].items())
    lines.append(f"left out: {reasons or 'none'}")
    if report["skipped"]:
        lines.append(f"  first: {report['skipped'][0]['image']} ({report['skipped'][0]['reason']})")
    lines.append(f"duplicates: {report['num_duplicates']:,}")
    if report["duplicates"]:
        lines.append(f"  first: {report['duplicates'][0]['image']} = {report['duplicates'][0]['equals']}")
    if report["num_enlarged"]:
        lines.append(f"enlarged, since smaller than the target: {report['num_enlarged']:,}")
    return "\n".join(lines)
