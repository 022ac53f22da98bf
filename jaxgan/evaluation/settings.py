"""Which scores are computed, and how: what the flags of `evaluate` and `config.eval` say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jaxgan.evaluation.errors import EvaluationError

# What each metric reports, in the order of the results.
METRICS: dict[str, tuple[str, ...]] = {
    "fid": ("fid",),
    "is": ("is", "is_std"),
    "kid": ("kid", "kid_std"),
    "prdc": ("precision", "recall", "density", "coverage"),
    "intra_fid": ("intra_fid",),
    "cas": ("cas",),
}
LOWER_IS_BETTER = ("fid", "kid", "intra_fid")
EXTRACTORS = ("inception", "classifier")

_NEED_FEATURES = {"kid", "prdc", "intra_fid"}
_NEED_LABELS = {"intra_fid", "cas"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Raises EvaluationError for a value that is out of its range."""

    metrics: tuple[str, ...] = ("fid",)
    extractor: str = "inception"  # inception | classifier (a small one, trained on the labelled reference first)
    feature_dims: int = 2048  # of Inception: 64 | 192 | 768 | 2048
    resizer: str = "tf1"  # of Inception: tf1 | bilinear | clean
    inception_weights: str = ""  # file; "" = see `inception_weights.load`
    batch_size: int = 64  # images at a time, over all devices
    is_splits: int = 10
    kid_subsets: int = 100
    kid_subset_size: int = 1000  # images
    kid_seed: int = 2020  # of the subsets; torch-fidelity's
    k: int = 5  # neighbours, of precision, recall, density and coverage
    classifier_steps: int = 500  # updates of 128 images; of the extractor, and of the accuracy score's classifier

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(dict.fromkeys(self.metrics)))
        for metric in self.metrics or ("",):
            if metric not in METRICS:
                raise EvaluationError(f"metrics (={metric!r}) must be some of {','.join(METRICS)}; correct the name.")
        if self.extractor not in EXTRACTORS:
            raise EvaluationError(f"extractor (={self.extractor!r}) must be one of {', '.join(EXTRACTORS)}.")
        for name in ("batch_size", "is_splits", "kid_subsets", "k", "classifier_steps"):
            if getattr(self, name) < 1:
                raise EvaluationError(f"{name} (={getattr(self, name)}) must be at least 1; raise it.")
        if self.kid_subset_size < 2:
            raise EvaluationError(f"kid_subset_size (={self.kid_subset_size}) must be at least 2 images; raise it.")
        if not 0 <= self.kid_seed < 2**32:
            raise EvaluationError(f"seed (={self.kid_seed}) must be 0 ... 4294967295; choose another.")

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the numbers that the metrics report."""
        return tuple(name for metric in self.metrics for name in METRICS[metric])

    @property
    def needs_network(self) -> bool:
        return bool(set(self.metrics) - {"cas"})

    @property
    def needs_features(self) -> bool:
        """Whether features are kept, beyond their moments."""
        return bool(_NEED_FEATURES & set(self.metrics))

    @property
    def needs_logits(self) -> bool:
        return "is" in self.metrics

    @property
    def needs_reference(self) -> bool:
        return bool(set(self.metrics) - {"is"}) or self.extractor == "classifier"

    def check_sizes(
        self,
        num_samples: int,
        num_reference: int | None,
        names: tuple[str, str] = ("the generated set", "the reference"),
    ) -> None:
        """Refuses what the metrics would refuse once all features are there, before any is computed.

        Args:
          num_samples: images to evaluate.
          num_reference: images to compare with; None = there are none.
          names: of the two sets.
        """
        sizes = [num_samples] + ([] if num_reference is None else [num_reference])
        for name, size in zip(names, sizes, strict=False):
            if size < 2:
                raise EvaluationError(f"{name} has {size} image{'s' * (size != 1)} and needs at least 2; give more.")
        if "is" in self.metrics and self.is_splits > num_samples:
            raise EvaluationError(
                f"is_splits (={self.is_splits}) must be at most {num_samples}, the number of generated images."
            )
        smallest, largest = min(sizes), max(sizes)
        takes_all = self.kid_subsets == 1 and self.kid_subset_size >= largest
        if "kid" in self.metrics and self.kid_subset_size > smallest and not takes_all:
            raise EvaluationError(
                f"kid_subset_size (={self.kid_subset_size}) must be at most {smallest}, the number of images in the "
                f"smaller set; lower it (or take both sets whole: kid_subsets 1 and kid_subset_size {largest})."
            )
        if "prdc" in self.metrics and self.k >= smallest:
            raise EvaluationError(
                f"k (={self.k}) must be less than {smallest}, the number of images in the smaller set; lower it."
            )

    def check_labels(self, generated: bool, reference: bool) -> None:
        """Refuses metrics and extractors whose labels are missing; the arguments say which set has labels."""
        asked = sorted(_NEED_LABELS & set(self.metrics))
        if asked and not generated:
            raise EvaluationError(f"{need(asked)} the classes of the evaluated images, which have none; leave it out.")
        if self.extractor == "classifier" and self.needs_network:
            asked.append("the classifier as extractor")
        if asked and not reference:
            raise EvaluationError(f"{need(asked)} a reference with classes; give a labelled --data.")


def need(subjects: Sequence[str]) -> str:
    """Returns `fid needs` or `fid and kid need`."""
    return f"{' and '.join(subjects)} need{'s' * (len(subjects) == 1)}"
