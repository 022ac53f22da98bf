"""Scores of what translates: the translations of A against the real images of B, and of B against A."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jaxgan.config import DataConfig
from jaxgan.core.state import Average
from jaxgan.data.domains import DomainsDataset
from jaxgan.data.layouts import has_domains
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.sources import split_suffix
from jaxgan.evaluation import image_sets
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.evaluator import Evaluator
from jaxgan.evaluation.image_sets import RealImages, TranslatedImages
from jaxgan.evaluation.protocol import Protocol
from jaxgan.evaluation.scores import Scores
from jaxgan.evaluation.settings import Settings
from jaxgan.generation import translate as translate_lib

INPUT = "input"  # in a record: the scores of the images that were translated, as they were before

_HELD_OUT = {"unpaired": ("test",), "aligned": ("test", "val")}  # in this order; pix2pix's maps have val only


@dataclasses.dataclass(frozen=True)
class Domains:
    """Real images of both domains, of one part of a data set."""

    data: DataConfig
    a: RealImages
    b: RealImages
    split: str | None = None

    def ends(self, direction: str) -> tuple[RealImages, RealImages]:
        """Returns the domains that a direction, a2b or b2a, starts from and leads to."""
        return (self.a, self.b) if direction == "a2b" else (self.b, self.a)


def held_out(source: str) -> str:
    """Returns the test images that belong to a source of two domains: `unpaired:PATH` has `unpaired:PATH:test`.

    Of `aligned:PATH`, `:val` takes the place of a `:test` that is not there. A source that names its part, other than
    the training's, and one that has no such folders, is returned as it is.
    """
    kind, _, rest = source.partition(":")
    splits = _HELD_OUT.get(kind, ())
    path, split = split_suffix(rest, ("train", *splits))
    if split not in ("", "train"):
        return source
    for name in splits:
        folders = [path / f"{name}{domain}" for domain in "AB"] if kind == "unpaired" else [path / name]
        if any(folder.is_dir() for folder in folders):
            return f"{kind}:{rest.removesuffix(':train')}:{name}"
    return source


def open_domains(data: DataConfig, *, nums: tuple[int, int] = (0, 0)) -> Domains:
    """Opens the images of both domains at the size of a training, whole and unflipped, without regard to pairs.

    Args:
      data: of the training, with the source to be opened.
      nums: images of A and of B; 0 = all.

    Raises:
      DataError: they cannot be read.
      EvaluationError: for a source that has not two domains, or more images than there are.
    """
    if not has_domains(data.source):
        raise EvaluationError(
            f"--data {data.source} has one domain, and translations are evaluated on two; give unpaired:PATH or "
            "aligned:PATH."
        )
    crop = "none" if data.crop.startswith("random:") else data.crop
    data = dataclasses.replace(data, paired=False, flip=False, crop=crop)
    dataset = open_dataset(data)
    assert isinstance(dataset, DomainsDataset)
    return from_dataset(dataset, data, nums=nums)


def from_dataset(dataset: DomainsDataset, data: DataConfig, *, nums: tuple[int, int] = (0, 0)) -> Domains:
    """Returns the images of both domains; see `open_domains`."""
    a, b = (
        image_sets.from_dataset(part, data, num, domain=domain)
        for part, num, domain in zip((dataset.a, dataset.b), nums, "AB", strict=True)
    )
    return Domains(data, a, b, _split_of(data.source))


def with_num(images: RealImages, num: int, what: str = "num_samples") -> RealImages:
    """Returns `num` of the images, 0 = all; raises EvaluationError for more than there are."""
    if not 0 <= num <= images.total:
        raise EvaluationError(f"{what} (={num}) must be at most {images.total}, the images of {images.name}.")
    return dataclasses.replace(images, num=num or images.total)


class TranslationEvaluator:
    """Evaluates any number of weights in some directions; the references go through the network once.

    Args:
      settings: which scores, and how.
      domains: what is translated and compared with.
      directions: of a2b and b2a.
      nums: (images to translate, reference images) of each domain; 0 = all.
      at_most: images to translate, where the domain has more; None = all.
      options: of `Evaluator`.

    Raises:
      EvaluationError: the metrics cannot be computed of these images.
    """

    def __init__(
        self,
        settings: Settings,
        domains: Domains,
        directions: Sequence[str],
        *,
        nums: tuple[int, int] = (0, 0),
        at_most: int | None = None,
        **options: Any,
    ):
        settings.check_labels(generated=False, reference=True)
        if settings.extractor == "classifier" and options.get("extractor") is None:
            raise EvaluationError(
                "extractor (='classifier') needs classes, which the domains of a translation have not; take inception."
            )
        self.settings, self.domains = settings, domains
        self.inputs: dict[str, RealImages] = {}
        self.evaluators: dict[str, Evaluator] = {}
        base: Evaluator | None = None
        for direction in directions:
            inputs, reference = domains.ends(direction)
            num = nums[0] if at_most is None else min(at_most, inputs.total)
            self.inputs[direction] = with_num(inputs, num)
            reference = with_num(reference, nums[1], "num_reference") if settings.needs_reference else None
            base = Evaluator(settings, reference, **options) if base is None else base.against(reference)
            base.check(self.inputs[direction])
            self.evaluators[direction] = base

    def images(
        self, direction: str, name: str, source: translate_lib.Source, variables: Mapping[str, Average], seed: int = 0
    ) -> TranslatedImages:
        """Returns what is evaluated: the translations by these weights."""
        return TranslatedImages(f"{name} {direction}", self.inputs[direction], direction, source, variables, seed)

    def about(self, direction: str, *, weights: str, seed: int) -> dict[str, Any]:
        """Returns the fields of the protocol that only translations have, and these two."""
        return {
            "direction": direction,
            "inputs": self.inputs[direction].fingerprint,
            "split": self.domains.split,
            "weights": weights,
            "seed": seed,
        }

    def protocol(self, images: TranslatedImages, *, weights: str) -> Protocol:
        """Returns what the scores of these translations will depend on."""
        about = self.about(images.direction, weights=weights, seed=images.seed)
        return self.evaluators[images.direction].protocol(images, **about)

    def evaluate(self, images: TranslatedImages, *, weights: str) -> Scores:
        """Returns the scores of these translations; every process calls it."""
        about = self.about(images.direction, weights=weights, seed=images.seed)
        return self.evaluators[images.direction].evaluate(images, **about)

    def baseline(self, direction: str) -> dict[str, float]:
        """Returns the scores of the images to be translated, as they are, against the domain they should get to."""
        return self.evaluators[direction].evaluate(self.inputs[direction]).values


def mean_scores(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Returns the scores of all directions, e.g. a2b_fid and b2a_fid, and their means over them, fid.

    Args:
      found: scores by direction. Of their errors, whose names end in _std, no mean is taken.
    """
    scores = {f"{direction}_{name}": value for direction, values in found.items() for name, value in values.items()}
    names = [name for name in next(iter(found.values())) if not name.endswith("_std")]
    return scores | {name: statistics.fmean(values[name] for values in found.values()) for name in names}


def _split_of(source: str) -> str | None:
    kind, _, rest = source.partition(":")
    if kind not in _HELD_OUT:
        return None
    path, split = split_suffix(rest, ("train", *_HELD_OUT[kind]))
    return split or ("train" if kind == "unpaired" or (path / "train").is_dir() else None)
