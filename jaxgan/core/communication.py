"""The communication of a compiled program: which arrays travel between devices, and how often.

Read from the text of the optimized program (XLA's HLO), which `compiled.as_text()` returns for any kind of device.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")

_BYTES = {"pred": 1, "token": 0, "opaque": 0, "bf16": 2, "c64": 8, "c128": 16}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\(.*\) -> .*)?\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\]")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|branch_computations|true_computation|false_computation)=(\{[^}]*\}|%?[\w.\-]+)"
)
_TRIPS = re.compile(r'"known_trip_count":\s*\{\s*"n":\s*"(\d+)"')
_LISTED_GROUPS = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_IOTA_GROUPS = re.compile(r"replica_groups=\[\d+,(\d+)\]<=")
_MESH_GROUPS = re.compile(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}")
_MESH_AXIS = re.compile(r"'(\w+)'=(\d+)")
_CHOSEN_AXIS = re.compile(r"'(\w+)'(?::\(\d+\)(\d+))?")
_PARTITIONS = re.compile(r"\bnum_partitions=(\d+)")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective operation of a program; several arrays may travel in it together.

    Attributes:
      kind: one of KINDS.
      shapes: dtype and dimensions of the arrays: the result, but of a reduce-scatter what enters it.
      group_size: devices that exchange with each other.
      count: executions per run of the program; those in a loop count once per turn.
      count_is_known: False where the program does not tell the turns of a loop around it; it is counted as one then.
    """

    kind: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    group_size: int
    count: int
    count_is_known: bool

    @property
    def num_bytes(self) -> int:
        """Size of the arrays, of one execution on one device."""
        return sum(_itemsize(dtype) * math.prod(dims) for dtype, dims in self.shapes)

    @property
    def sent_bytes(self) -> float:
        """What each device sends in one execution on a ring (Patarasuk & Yuan 2009, 10.1016/j.jpdc.2008.09.002)."""
        n = self.group_size
        factor = {"all-reduce": 2 * (n - 1) / n, "collective-permute": 1.0, "collective-broadcast": 1.0}
        return self.num_bytes * factor.get(self.kind, (n - 1) / n)


def collectives(program: str) -> list[Collective]:
    """Returns the collectives of an optimized program, given as text; those among groups of one device are left out."""
    computations, entry = _parse(program)
    match = _PARTITIONS.search(program)
    partitions = int(match[1]) if match else 1
    runs: dict[str, tuple[int, bool]] = {}
    _count_runs(entry, 1, True, computations, runs)
    found = []
    for name, (count, known) in runs.items():
        for line in computations[name]:
            kind = _kind(line.opcode)
            if kind is None:
                continue
            size = _group_size(line.rest, partitions)
            if size > 1:
                shapes = _arrays(line)
                # A reduction whose result each device cuts at once: that is how TPU programs scatter.
                if kind == "reduce-scatter":
                    shapes = tuple((dtype, (size, *dims)) for dtype, dims in shapes)
                elif kind == "all-reduce" and name.startswith("all-reduce-scatter"):
                    kind = "reduce-scatter"
                found.append(Collective(kind, shapes, size, count, known))
    return found


def totals(found: list[Collective]) -> dict[str, tuple[int, int]]:
    """Returns {kind: (executions, bytes of the whole arrays)} per run of the program, in the order of KINDS."""
    sums = {}
    for kind in KINDS:
        of_kind = [c for c in found if c.kind == kind]
        if of_kind:
            sums[kind] = sum(c.count for c in of_kind), sum(c.count * c.num_bytes for c in of_kind)
    return sums


class _Line(NamedTuple):
    shape: str
    opcode: str
    rest: str  # operands and attributes


def _parse(program: str) -> tuple[dict[str, list[_Line]], str]:
    """Returns the instructions of every computation, and the name of the one that is run."""
    computations: dict[str, list[_Line]] = {}
    current: list[_Line] = []
    entry = ""
    for text in program.splitlines():
        if head := _COMPUTATION.match(text):
            current = computations.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif line := _INSTRUCTION.match(text):
            current.append(_Line(line[2], line[3], line[4]))
    return computations, entry


def _count_runs(
    name: str, times: int, known: bool, computations: Mapping[str, list[_Line]], runs: dict[str, tuple[int, bool]]
) -> None:
    """Adds to `runs` how often a computation and all that it calls are run."""
    before, before_known = runs.get(name, (0, True))
    runs[name] = before + times, before_known and known
    for line in computations.get(name, ()):
        if line.opcode in ("async-update", "async-done"):  # they name what async-start has begun
            continue
        trips = _TRIPS.search(line.rest) if line.opcode == "while" else None
        for called in _called(line.rest):
            if called not in computations:
                continue
            in_loop = line.opcode == "while"
            turns = int(trips[1]) if trips else 1
            _count_runs(called, times * turns, known and (not in_loop or trips is not None), computations, runs)


def _called(rest: str) -> Iterator[str]:
    for match in _CALLED.finditer(rest):
        yield from re.findall(r"[\w.\-]+", match[1])


def _kind(opcode: str) -> str | None:
    name = opcode.removesuffix("-start")
    return "all-to-all" if name == "ragged-all-to-all" else name if name in KINDS else None


def _arrays(line: _Line) -> tuple[tuple[str, tuple[int, ...]], ...]:
    arrays = [(dtype, tuple(map(int, dims.split(","))) if dims else ()) for dtype, dims in _ARRAY.findall(line.shape)]
    if line.opcode == "collective-permute-start":
        arrays = arrays[1:2]  # operand, result, two counters
    elif line.opcode.endswith("-start") and line.opcode != "all-reduce-start":
        arrays = arrays[len(arrays) // 2 :]  # operands, results
    return tuple(arrays)


def _group_size(rest: str, partitions: int) -> int:
    if match := _LISTED_GROUPS.search(rest):
        return len(match[1].split(","))
    if match := _IOTA_GROUPS.search(rest):
        return int(match[1])
    if match := _MESH_GROUPS.search(rest):
        sizes = {name: int(size) for name, size in _MESH_AXIS.findall(match[1])}
        return math.prod(int(part or sizes[name]) for name, part in _CHOSEN_AXIS.findall(match[2]))
    return partitions


def _itemsize(dtype: str) -> int:
    if dtype in _BYTES:
        return _BYTES[dtype]
    bits = re.search(r"\d+", dtype)
    return max(int(bits[0]) // 8, 1) if bits else 1
