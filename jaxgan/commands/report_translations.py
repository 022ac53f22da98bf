"""The section on translations: what the weights make of images of both domains."""

from __future__ import annotations

import dataclasses
import html

import jax
import numpy as np

from jaxgan.commands.report_page import Section, note
from jaxgan.commands.report_pictures import picture
from jaxgan.evaluation import translations as translations_lib
from jaxgan.generation import images as images_lib
from jaxgan.generation.run import Run
from jaxgan.generation.sampler import fixed_inputs

_NUM_ROWS = 6
_GRID_BYTES = 2 * 2**20
_COLUMNS = {
    "cyclegan": "A, translated to B, back to A, and A through the generator into A; then the same of B",
    "pix2pix": "the input, its translation, and the image that belongs to it",
}


def translations(run: Run, source: str | None) -> Section:
    """A row per image of A and of B, as in the training's sample grids, but of the test images where there are any.

    Args:
      run: an opened run.
      source: of both domains; None = the test images beside the training's, or these.

    Raises:
      DataError, EvaluationError: the images cannot be read.
    """
    chosen = source or translations_lib.held_out(run.config.data.source)
    domains = translations_lib.open_domains(dataclasses.replace(run.config.data, source=chosen))
    num = min(_NUM_ROWS, domains.a.total, domains.b.total)
    real = {"a": domains.a.examples(num)[0], "b": domains.b.examples(num)[0]}
    inputs = fixed_inputs(run.method, run.config.seed, num, num, real)
    images = np.asarray(jax.device_get(run.sampler(run.variables(), inputs)))
    columns = run.method.grid_columns(num)
    grid = images_lib.grid(images, columns=columns, scale=images_lib.display_scale(images.shape[1]))
    weights = "averaged" if run.ema else "raw"
    shown = _COLUMNS.get(run.config.method.name, "as the method shows them")
    text = f"{chosen}, with the {weights} weights of step {run.step:,}; from left to right: {shown}."
    body = (
        f'<figure class="wide"><figcaption>{html.escape(text)}</figcaption>'
        f"{picture(grid, text, budget=_GRID_BYTES)}</figure>"
    )
    more = (
        "A page on a run that translates has no classes, nearest neighbours or attention; python -m jaxgan translate "
        "translates further images."
    )
    return Section("translations", "Translations", body + note(more))
