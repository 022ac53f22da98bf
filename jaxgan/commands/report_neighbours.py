"""The section on nearest neighbours: does the run draw what it was shown?"""

from __future__ import annotations

import numpy as np

from jaxgan.commands import match
from jaxgan.commands.match_embedding import pixels_extractor, trained_classifier
from jaxgan.commands.match_reals import Reals
from jaxgan.commands.report_page import Section, note
from jaxgan.commands.report_pictures import picture
from jaxgan.commands.report_samples import Drawn
from jaxgan.generation import images as images_lib
from jaxgan.generation.run import Run

_NUM_IMAGES, _TOP_N = 8, 7
_MAX_REAL = 10_000  # real images that are looked at
_SHOWN_PIXELS = 48
_PICTURE_BYTES = 2**20


def neighbours(run: Run, drawn: Drawn, reals: Reals, *, extractor: str, seed: int) -> Section:
    """A row per generated image: the image, then its nearest real images.

    Args:
      run: an opened run.
      drawn: samples, of which the first of some rows are matched.
      reals: real images; evenly spread ones of a large set.
      extractor: pixels | classifier.
      seed: of the classifier.
    """
    rows = drawn.first_column(_NUM_IMAGES)
    by_class = bool(run.num_classes and reals.class_names)
    classes = [reals.class_id(int(label)) for label in drawn.labels[rows]] if by_class else None
    embedding = pixels_extractor() if extractor == "pixels" else trained_classifier(reals, seed=seed)
    available = np.arange(len(reals)) if classes is None else reals.indices_of(set(classes))
    step = max(1, -(-len(available) // _MAX_REAL))
    found, dims = match.search(
        reals, embedding, drawn.images[rows], _TOP_N, classes=classes, indices=available[::step], batch_size=256
    )
    blank = np.zeros_like(drawn.images[:1])
    tiles = [
        np.concatenate([drawn.images[row : row + 1], reals.dataset.gather(indices)[0], *[blank] * _TOP_N])[: _TOP_N + 1]
        for row, indices in zip(rows, found.indices, strict=True)
    ]
    scale = max(1, _SHOWN_PIXELS // drawn.images.shape[1])
    grid = images_lib.grid(np.concatenate(tiles), columns=_TOP_N + 1, scale=scale)
    of = f"{len(available[::step]):,} of {len(available):,}" if step > 1 else f"{len(available):,}"
    among = " and of the same class" if by_class else ""
    space = "pixels in [0, 1]" if extractor == "pixels" else f"the {dims} features of a classifier trained on them"
    text = (
        f"Left: generated. Then the nearest of {of} real images of {reals.name}{among}, nearest first, by squared L2 "
        f"distance of {space}."
    )
    closest = ", ".join(f"{distances[0]:.4g}" for distances in found.distances if len(distances))
    body = (
        f"{note(text)}{picture(grid, text, budget=_PICTURE_BYTES)}{note(f'Smallest distance, row by row: {closest}.')}"
    )
    return Section("neighbours", "Nearest neighbours", body)
