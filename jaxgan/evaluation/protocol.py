"""What a score depends on besides the generator, as one line of text to be written beside it.

Scores of unlike protocols cannot be compared: the same SAGAN-32 has FID 14.0 in one codebase and 10.2 in another, from
the resizer, the reference and the network's weights alone (README of SAGAN in mmgeneration).
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

from absl import logging

from jaxgan.evaluation.errors import EvaluationError

VERSION = 1  # of the way scores are computed; raised when equal fields no longer mean equal numbers

_PREFIX = "jaxgan-eval"
_ESCAPES = {"%": "%25", ";": "%3B", "\n": "%0A", "\r": "%0D"}
_SAME_QUESTION = ("seed", "notes")  # another draw, or words about it: the scores still estimate the same number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """One evaluation. None means that a field does not apply, e.g. `weights` of a folder of images."""

    extractor: str  # name of the network, including a hash of its weights
    dims: int  # features per image
    resizer: str | None = None  # tf1 | bilinear | clean
    reference: str | None = None  # source string, or the file of features
    split: str | None = None
    fingerprint: str | None = None  # of the reference's content
    preprocessing: str | None = None  # of the reference before the extractor: "crop=center, resolution=128, channels=3"
    num_reference: int | None = None
    num_samples: int | None = None
    direction: str | None = None  # a2b | b2a, of translations
    inputs: str | None = None  # fingerprint of the images that were translated
    weights: str | None = None  # ema | raw
    bn: str | None = None  # running | standing:N
    truncation: str | None = None  # threshold as text, "none" for samples without
    seed: int | None = None
    is_splits: int | None = None
    kid_subsets: int | None = None
    kid_subset_size: int | None = None
    k: int | None = None  # of precision, recall, density and coverage
    classifier: str | None = None  # of the classification accuracy score
    notes: str | None = None  # reasons not to trust a score, joined by "|"
    version: int = VERSION

    def __str__(self) -> str:
        """Returns `jaxgan-eval; extractor=...; dims=2048; ...; version=1`, in the order of the fields."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return "; ".join([_PREFIX, *(f"{name}={_escape(str(value))}" for name, value in values if value is not None)])

    def extraction(self) -> str:
        """Returns the part that features of the reference depend on, in the same form: what a cache is keyed by."""
        names = ("extractor", "dims", "resizer", "preprocessing", "num_reference", "version")
        return "; ".join(f"{name}={_escape(str(getattr(self, name)))}" for name in names)

    @classmethod
    def parse(cls, text: str) -> Protocol:
        """Inverse of `str`; fields that this version does not know are dropped, `version` tells of them.

        Raises:
          EvaluationError: for a text that is none.
        """
        head, *parts = text.split("; ")
        fields = dict(part.split("=", 1) for part in parts if "=" in part)
        hints = typing.get_type_hints(cls)
        if head != _PREFIX or not {"extractor", "dims", "version"} <= set(fields):
            raise EvaluationError(
                f"{text[:80]!r} is no protocol: it must begin with `{_PREFIX}; extractor=`; evaluate again."
            )
        try:
            values: dict[str, Any] = {
                name: int(value) if hints[name] in (int, int | None) else _unescape(value)
                for name, value in fields.items()
                if name in hints
            }
        except ValueError as error:
            raise EvaluationError(f"{text[:80]!r} is no protocol ({error}); evaluate again.") from error
        return cls(**values)


def differences(a: Protocol, b: Protocol) -> dict[str, tuple[object, object]]:
    """Returns {field: (in a, in b)} of what makes two scores incomparable.

    Seeds and notes are left out, and so are fields that do not apply to one of the two: a metric that was not asked
    for, the weights of a folder of images. Equal fingerprints mean the same reference under whatever name.
    """
    names = [field.name for field in dataclasses.fields(Protocol) if field.name not in _SAME_QUESTION]
    pairs = {name: (getattr(a, name), getattr(b, name)) for name in names}
    if a.fingerprint is not None and a.fingerprint == b.fingerprint:
        pairs = {name: pair for name, pair in pairs.items() if name not in ("reference", "split")}
    return {name: pair for name, pair in pairs.items() if None not in pair and pair[0] != pair[1]}


def warn_if_unlike(protocols: Sequence[Protocol | str]) -> str | None:
    """Logs and returns one sentence that names the fields in which scores to be shown together differ, else None."""
    parsed = [Protocol.parse(item) if isinstance(item, str) else item for item in protocols]
    values: dict[str, list[object]] = {}
    for i, a in enumerate(parsed):
        for b in parsed[i + 1 :]:
            for name, pair in differences(a, b).items():
                found = values.setdefault(name, [])
                found += [value for value in pair if value not in found]
    if not values:
        return None
    listed = ", ".join(f"{name} ({' / '.join(map(str, found))})" for name, found in values.items())
    message = f"these scores cannot be compared, their protocols differ in {listed}; evaluate again with one protocol."
    logging.warning("%s", message)
    return message


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def _unescape(text: str) -> str:
    for character, code in reversed(_ESCAPES.items()):  # "%" last, or "%253B" would become ";"
        text = text.replace(code, character)
    return text
