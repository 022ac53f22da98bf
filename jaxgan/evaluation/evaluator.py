"""From two sets of images to scores, and the protocol that stands beside them.

evaluator = Evaluator(Settings(metrics=("fid", "prdc")), reference)
scores = evaluator.evaluate(generated)
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from jaxgan.evaluation.accuracy_score import classification_accuracy_score
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.extraction import Extracted, Keep, extract
from jaxgan.evaluation.features import FeatureExtractor, inception_extractor
from jaxgan.evaluation.image_sets import ImageSet, RealImages
from jaxgan.evaluation.protocol import Protocol
from jaxgan.evaluation.reference import Reference, ReferenceCache
from jaxgan.evaluation.scores import Scores, metric_fields, score
from jaxgan.evaluation.settings import Settings, need
from jaxgan.evaluation.small_classifier import NUM_FEATURES, SmallClassifier, train_classifier
from jaxgan.generation.progress import Progress

_CLASSIFIER_BATCH = 128  # images per update
_TRAINED_ON = 50_000  # reference images that the classifier is trained on at most, in memory
_TESTED_ON = 10_000  # reference images that the accuracy score is measured on at most, in memory


class Evaluator:
    """Evaluates any number of image sets against one reference, which goes through the network once.

    Args:
      settings: which scores, and how.
      reference: the real images; None only where the metrics need none.
      extractor: a network of the caller's; None = what `settings.extractor` says.
      cache: where features of references are kept between runs of the program; None = nowhere.
      show: whether to show progress, on stderr.

    Raises:
      EvaluationError: the reference lacks what the metrics need, or the network's weights cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        reference: RealImages | None,
        *,
        extractor: FeatureExtractor | None = None,
        cache: ReferenceCache | None = None,
        show: bool = True,
    ):
        self.settings, self.reference, self._cache, self._show = settings, reference, cache, show
        if reference is None and settings.needs_reference:
            raise EvaluationError(f"{need(settings.metrics)} real images to compare with; name them by --data.")
        if reference is not None:
            reference_labels = reference.num_classes > 0
            settings.check_labels(generated=True, reference=reference_labels or extractor is not None)
        self._given, self._found_dims = extractor, 0
        if settings.extractor == "inception":
            _ = self._extractor  # what is wrong with its weights should show now
        self._told: set[str] = set()

    def against(self, reference: RealImages | None) -> Evaluator:
        """Returns an evaluator with the same network and another reference."""
        return Evaluator(self.settings, reference, extractor=self._extractor, cache=self._cache, show=self._show)

    def check(self, images: ImageSet) -> None:
        """Raises EvaluationError if these images cannot be evaluated, before any time is spent on them."""
        reference = self.reference
        if reference is None:
            self.settings.check_sizes(images.num, None, (images.name, ""))
        else:
            self.settings.check_sizes(images.num, reference.num, (images.name, reference.name))
        self.settings.check_labels(images.num_classes > 0, reference is None or reference.num_classes > 0)
        if {"intra_fid", "cas"} & set(self.settings.metrics) and reference is not None:
            if images.class_names and images.class_names != reference.class_names:
                raise EvaluationError(
                    f"intra_fid and cas compare class by class, but {images.name} has {_classes(images)} and "
                    f"{reference.name} {_classes(reference)}; give a --data with the same classes."
                )

    def protocol(self, images: ImageSet, **about: Any) -> Protocol:
        """Returns what the scores of these images will depend on.

        Args:
          images: the set.
          **about: further fields of `Protocol`: weights, bn, truncation, seed.
        """
        settings, reference = self.settings, self.reference
        asked = set(settings.metrics)
        of_reference = {}
        if reference is not None:
            of_reference = {
                "reference": reference.name,
                "fingerprint": reference.fingerprint,
                "preprocessing": reference.preprocessing,
                "num_reference": reference.num,
            }
        return Protocol(
            extractor=self._extractor.name if self._extractor else "none",
            dims=self._dims(images),
            resizer=settings.resizer if self._is_inception else None,
            num_samples=images.num,
            **of_reference,
            **metric_fields(settings),
            classifier=f"small-classifier, {settings.classifier_steps} steps" if "cas" in asked else None,
            **about,
        )

    def evaluate(self, images: ImageSet, **about: Any) -> Scores:
        """Returns the scores; every process calls it and gets the same.

        Args:
          images: the set.
          **about: see `protocol`.

        Raises:
          EvaluationError: see `check`, and whatever is wrong with the features.
        """
        self.check(images)
        protocol = self.protocol(images, **about)
        reference = self._reference_features if self.settings.needs_network and self.reference else None
        keep = Keep(
            features=self.settings.needs_features,
            logits=self.settings.needs_logits,
            images="cas" in self.settings.metrics,
        )
        generated = self._extract(f"evaluating {images.name}", images, keep)
        names = () if self.reference is None else self.reference.class_names
        values, notes = score(self.settings, reference, generated, class_names=names, progress=self._progress)
        if "cas" in self.settings.metrics:
            values["cas"] = self._accuracy_score(generated)
        for note in notes:
            if note not in self._told:
                logging.warning("%s.", note)
        self._told.update(notes)
        values = {name: values[name] for name in self.settings.score_names}
        return Scores(values, dataclasses.replace(protocol, notes="|".join(notes) or None))

    @functools.cached_property
    def _reference_features(self) -> Extracted:
        """From the cache if every process finds it there: one alone would wait for the others for ever."""
        images = self.reference
        assert images is not None
        fingerprint, extraction = images.fingerprint, self.protocol(images).extraction()
        keep = Keep(features=self.settings.needs_features)
        found = self._cache.load(fingerprint, extraction) if self._cache else None
        needs_labels = keep.features and images.num_classes > 0
        usable = (
            found is not None
            and (found.features is not None or not keep.features)
            and (found.labels is not None or not needs_labels)
        )
        if _everywhere(usable) and found is not None:
            return Extracted(found.moments, features=found.features, labels=found.labels)
        computed = self._extract(f"reading the reference {images.name}", images, keep)
        if self._cache:
            self._cache.save(fingerprint, extraction, Reference(computed.moments, computed.features, computed.labels))
        return computed

    def _extract(self, what: str, images: ImageSet, keep: Keep) -> Extracted:
        with self._progress(what, images.num, "images") as progress:
            return extract(
                images, self._extractor, keep, batch_size=self.settings.batch_size, progress=progress.advance
            )

    def _accuracy_score(self, generated: Extracted) -> float:
        assert self.reference is not None and generated.images is not None and generated.labels is not None
        steps = self.settings.classifier_steps
        with self._progress("training on generated images", steps * _CLASSIFIER_BATCH, "images") as progress:
            return classification_accuracy_score(
                (generated.images, generated.labels),
                self.reference.examples(_TESTED_ON),
                num_classes=self.reference.num_classes,
                num_steps=steps,
                batch_size=_CLASSIFIER_BATCH,
                progress=progress.advance,
            ).accuracy

    @property
    def _is_inception(self) -> bool:
        return self._extractor is not None and self._extractor.name.startswith("inception-")

    def _dims(self, images: ImageSet) -> int:
        if self._extractor is None:
            return 0
        if self._is_inception:
            return self.settings.feature_dims
        if isinstance(self._extractor, SmallClassifier):
            return NUM_FEATURES
        return self._probed_dims(images)

    def _probed_dims(self, images: ImageSet) -> int:
        """Asks a caller's own network, once, with one image."""
        if not self._found_dims and self._extractor:
            batch, _ = next(iter((self.reference or images).batches(1)))
            self._found_dims = int(self._extractor(batch).features.shape[1])
        return self._found_dims

    @functools.cached_property
    def _extractor(self) -> FeatureExtractor | None:
        settings = self.settings
        if self._given is not None or not settings.needs_network:
            return self._given
        if settings.extractor == "inception":
            return inception_extractor(
                dims=settings.feature_dims,
                resizer=settings.resizer,
                weights=settings.inception_weights or None,
                batch_size=settings.batch_size,
                logits=settings.needs_logits,
            )
        assert self.reference is not None
        images, labels = self.reference.examples(_TRAINED_ON)
        steps = settings.classifier_steps
        with self._progress("training the classifier", steps * _CLASSIFIER_BATCH, "images") as progress:
            return train_classifier(
                images,
                labels,
                num_classes=self.reference.num_classes,
                num_steps=steps,
                batch_size=_CLASSIFIER_BATCH,
                progress=progress.advance,
            )

    def _progress(self, what: str, total: int, unit: str) -> Progress:
        return Progress(what, total, unit, stream=None if self._show else io.StringIO())


def default_cache() -> ReferenceCache:
    """Features of references are kept under XDG_CACHE_HOME, else ~/.cache."""
    return ReferenceCache(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxgan" / "reference")


def _everywhere(here: bool) -> bool:
    if jax.process_count() == 1:
        return here
    return bool(np.all(multihost_utils.process_allgather(np.array([here], np.int32))))


def _classes(images: ImageSet) -> str:
    names = ", ".join(images.class_names[:3]) + (", ..." if len(images.class_names) > 3 else "")
    return f"{images.num_classes} ({names})" if images.class_names else f"{images.num_classes}"
