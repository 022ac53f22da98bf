"""Evaluations as a table for people, with the protocols below it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jaxgan.evaluation.protocol import Protocol, warn_if_unlike
from jaxgan.evaluation.records import Record
from jaxgan.evaluation.settings import METRICS
from jaxgan.evaluation.translations import INPUT

_ERROR_BARS = {"is": "is_std", "kid": "kid_std"}
_ABOUT = ("images", "step", "direction", "weights", "bn", "truncation")


def table(found: Sequence[Record]) -> str:
    """Returns a line per evaluation, in the order of their steps; unlike protocols are warned of and told apart.

    A truncation curve is made to be compared, so the truncation alone makes no protocol unlike; the directions of a
    translation are not, so they warn of nothing.
    """
    found = sorted(found, key=lambda record: record.get("step", 0))
    protocols = [_comparable(record) for record in found]
    for direction in dict.fromkeys(protocol.direction for protocol in protocols):
        warn_if_unlike([protocol for protocol in protocols if protocol.direction == direction])
    distinct = list(dict.fromkeys(map(str, protocols)))
    scores = [name for names in METRICS.values() for name in names if any(name in record for record in found)]
    scores = [name for name in scores if name not in _ERROR_BARS.values()]
    about = [name for name in _ABOUT if any(name in record for record in found)]
    header = [*about, *scores, "samples", "reference", *(["protocol"] if len(distinct) > 1 else [])]
    rows = [header]
    for record, protocol in zip(found, protocols, strict=True):
        row = [_text(record.get(name)) for name in about] + [_score(record, name) for name in scores]
        row += [_text(record.get("num_samples")), _text(record.get("num_reference"))]
        rows.append(row + ([_letter(distinct.index(str(protocol)))] if len(distinct) > 1 else []))
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += _inputs(found)
    if len(distinct) == 1:
        return "\n".join([*lines, "", f"protocol: {distinct[0]}"])
    return "\n".join([*lines, "", *(f"protocol {_letter(i)}: {text}" for i, text in enumerate(distinct))])


def _inputs(found: Sequence[Record]) -> list[str]:
    """Returns a line per direction with what the images scored before they were translated."""
    scored = {
        record["direction"]: ", ".join(f"{name} {value:.4g}" for name, value in record[INPUT].items())
        for record in found
        if INPUT in record
    }
    return [f"untranslated, {direction}: {text}" for direction, text in scored.items()]


def _comparable(record: Record) -> Protocol:
    return dataclasses.replace(Protocol.parse(record["protocol"]), truncation=None, notes=None)


def _score(record: Record, name: str) -> str:
    if name not in record:
        return ""
    error = record.get(_ERROR_BARS.get(name, ""))
    return f"{record[name]:.4g}" + (f" ± {error:.2g}" if error is not None else "")


def _text(value: object) -> str:
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _letter(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else str(index)
