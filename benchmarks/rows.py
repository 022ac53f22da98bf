"""The rows of docs/results.md: what is trained, how it is judged, and what was to be reached, set before measuring.

`benchmarks/reproduce.py` turns a row into commands; `benchmarks/results_page.py` shows it. `{data}` stands for the
place of the images, which every machine has somewhere else.
"""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Target:
    """The mean of a score over the seeds is to be at least, or at most, a bound: a number or another score."""

    score: str
    relation: Literal["at least", "at most"]
    bound: float | str

    def met(self, value: float, bound: float) -> bool:
        return value >= bound if self.relation == "at least" else value <= bound


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row.

    Attributes:
      recipe: name of a file in configs/, with a variant after a colon.
      what: one sentence.
      source: of the training images, `{data}` in it.
      needs: what `{data}` is; "" = nothing, the images come with the library.
      settings: FIELD=VALUE beyond the recipe.
      seeds: one run for each.
      judge: flags of benchmarks/judge.py; () = not judged so.
      evaluations: flags of `python -m jaxgan evaluate`, one tuple for each call.
      targets: of the means over the seeds.
      hardware: what the row is meant for.
      remarks: what a reader should know; where a target is missed, why.
    """

    recipe: str
    what: str
    source: str = ""
    needs: str = ""
    settings: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    judge: tuple[str, ...] = ()
    evaluations: tuple[tuple[str, ...], ...] = ()
    targets: tuple[Target, ...] = ()
    hardware: str = "2 CPU cores"
    remarks: str = ""


_MNIST = "the folder with the four MNIST files"
_CIFAR = "the folder with CIFAR-10's batches"
_FACES = "a folder with faces, in it the folders of UTKFace and of aligned CelebA images"
_JUDGE_MNIST = ("--train=idx:{data}:train", "--test=idx:{data}:test")
_JUDGE_CIFAR = ("--train=cifar10:{data}:train", "--test=cifar10:{data}:test")
_FID_768 = ("--metrics=fid", "--feature_dims=768")

ROWS: dict[str, Row] = {
    "digits": Row(
        recipe="digits",
        what="A small SAGAN on three quarters of scikit-learn's 1,797 digits, class-conditional, 16x16; the judge is a "
        "support vector machine, and the last quarter are its real test images.",
        source="digits:train",
        seeds=(0, 1, 2),
        judge=("--judge=svc", "--train=digits:train", "--test=digits:test", "--num=2000"),
        targets=(Target("as_asked", "at least", 0.98), Target("taught", "at least", 0.96)),
    ),
    "sagan_mnist": Row(
        recipe="sagan_mnist",
        what="A small SAGAN on MNIST, class-conditional, 32x32.",
        source="idx:{data}:train",
        needs=_MNIST,
        judge=_JUDGE_MNIST,
        targets=(
            Target("recognised", "at least", 0.95),
            Target("as_asked", "at least", 0.98),
            Target("taught", "at least", 0.96),
        ),
    ),
}
