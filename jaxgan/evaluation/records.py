"""`evaluations.jsonl` of a workdir: one JSON object per evaluation, with its protocol."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.protocol import Protocol

FILE = "evaluations.jsonl"

Record = dict[str, Any]  # step, weights, bn, truncation, the scores, num_samples, num_reference, protocol, time


def read(workdir: str | os.PathLike[str]) -> list[Record]:
    """Returns the evaluations of a run in the order of the file; lines that are not whole are passed over."""
    try:
        lines = (Path(workdir) / FILE).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [record for line in lines if (record := _parse(line)) is not None]


def write(workdir: str | os.PathLike[str], record: Mapping[str, Any], *, drop_later: bool = False) -> None:
    """Adds an evaluation; it takes the place of one of the same step under the same protocol.

    Args:
      workdir: of the run.
      record: with "step" and "protocol".
      drop_later: drop what was recorded of this and later steps, which a training that was set back runs again.
    """
    path = Path(workdir) / FILE
    old = read(workdir)
    kept = [other for other in old if not _is_replaced(other, record, drop_later)]
    line = json.dumps(dict(record), allow_nan=False) + "\n"
    if len(kept) == len(old) and _ends_whole(path):
        with open(path, "a", encoding="utf-8") as file:
            file.write(line)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text("".join(json.dumps(other) + "\n" for other in kept) + line, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def find(records: Iterable[Record], step: int, protocol: Protocol, score_names: Iterable[str]) -> Record | None:
    """Returns the record of a step under a protocol, if it has all these scores; notes are not compared."""
    names = set(score_names)
    for record in records:
        if record["step"] == step and names <= set(record) and _same_protocol(record["protocol"], str(protocol)):
            return record
    return None


def _is_replaced(old: Record, new: Mapping[str, Any], drop_later: bool) -> bool:
    if drop_later and old["step"] >= new["step"]:
        return True
    return old["step"] == new["step"] and _same_protocol(old["protocol"], str(new["protocol"]))


def _same_protocol(a: str, b: str) -> bool:
    try:
        first, second = (dataclasses.replace(Protocol.parse(text), notes=None) for text in (a, b))
    except EvaluationError:
        return False
    return first == second


def _parse(line: bytes) -> Record | None:
    if not line.endswith(b"\n"):  # cut off by a kill; even if it parses, a number may have lost digits
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, dict) and isinstance(record.get("step"), int) and isinstance(record.get("protocol"), str)
    return record if whole else None


def _ends_whole(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            if not file.tell():
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return True
