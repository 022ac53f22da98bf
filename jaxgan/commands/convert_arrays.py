"""From the named arrays of another program's file to the variables of a network here: nothing missing, nothing left."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.commands.errors import CommandError

_MOST_LISTED, _LONGEST_NAME = 20, 120  # in a message: names, and characters of one
Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Slot:
    """One array of the file and the variable that takes it."""

    name: str  # in the file
    shape: tuple[int, ...]  # in the file
    path: str  # here, e.g. params/blocks/1/conv1/kernel or stats/linear/u
    change: Callable[[np.ndarray], np.ndarray] = lambda array: array


def place(arrays: Arrays, slots: Sequence[Slot], *, file: Path, kind: str) -> dict[str, Any]:
    """Returns {"params": ..., "stats": ...}: nested dictionaries of float32 arrays.

    Args:
      arrays: by name, as the file has them.
      slots: where each goes.
      file: for the message.
      kind: what the file should hold, for the message.

    Raises:
      CommandError: listing by name the arrays (up to 20 of a kind) that are missing, unknown, of another shape or
        not finite.
    """
    wanted = {slot.name: slot.shape for slot in slots}
    found = {name: arrays[name] for name in wanted if name in arrays}
    shapes = [
        f"{name} is {list(array.shape)} and not {list(wanted[name])}"
        for name, array in found.items()
        if array.shape != wanted[name]
    ]
    problems = {
        "missing": sorted(wanted.keys() - arrays.keys()),
        "unknown": sorted(arrays.keys() - wanted.keys()),
        "of another shape": shapes,
        "not finite": [name for name, array in found.items() if not _is_finite(array)],
    }
    refuse_if(problems, file=file, kind=kind)
    tree: dict[str, Any] = {"params": {}, "stats": {}}
    for slot in slots:
        *folders, leaf = slot.path.split("/")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
        branch[leaf] = np.array(slot.change(arrays[slot.name]), dtype=np.float32, order="C")
    return tree


def _is_finite(array: np.ndarray) -> bool:
    """Whether all values are, as float32 too."""
    return bool((np.abs(array.astype(np.float64)) <= np.finfo(np.float32).max).all())


def require(arrays: Arrays, ranks: Mapping[str, int], *, file: Path, kind: str) -> None:
    """Checks the arrays that sizes are read off: each of `ranks` must be there with so many axes.

    Raises:
      CommandError: listing by name those that are not.
    """
    problems = {
        "missing": [name for name in ranks if name not in arrays],
        "of another number of axes": [n for n, rank in ranks.items() if n in arrays and arrays[n].ndim != rank],
        "without values": [name for name in ranks if name in arrays and not arrays[name].size],
    }
    refuse_if(problems, file=file, kind=kind)


def check_numbers(arrays: Arrays, *, file: Path) -> dict[str, np.ndarray]:
    """Returns the arrays; raises CommandError unless all hold real numbers."""
    others = [f"{name} of type {array.dtype}" for name, array in arrays.items() if array.dtype.kind not in "biuf"]
    if others:
        raise CommandError(
            f"{file} holds something else than numbers ({_listed(others)}); give the file as it was saved."
        )
    return dict(arrays)


def number_of_blocks(numbers: Iterable[str], *, file: Path, kind: str, first: str) -> int:
    """Returns the largest number of a network's blocks, from their numbers in the names of its arrays.

    Raises:
      CommandError: there is none, or a number is absurd.
    """
    found = {number.lstrip("0") or "0" for number in numbers}
    if not found:
        refuse_if({"missing": [first]}, file=file, kind=kind)
    absurd = [number for number in found if len(number) > 2]
    refuse_if({"unknown": [f"block {number[:20]}" for number in absurd]}, file=file, kind=kind)
    return max(map(int, found))


def refuse_if(problems: Mapping[str, Iterable[str]], *, file: Path, kind: str) -> None:
    """Raises CommandError with one sentence if there is any problem; `problems` are names by what is wrong."""
    listed = [f"{what}: {_listed(list(names))}" for what, names in problems.items() if names]
    if listed:
        raise CommandError(f"{file} does not hold exactly {kind} ({'; '.join(listed)}); give the file as it was saved.")


def _listed(names: Sequence[str]) -> str:
    shown = [name[:_LONGEST_NAME] for name in names[:_MOST_LISTED]]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def to_hwio(kernel: np.ndarray) -> np.ndarray:
    """OIHW -> HWIO."""
    return kernel.transpose(2, 3, 1, 0)


def channels_last(channels: int, side: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the change of the last axis from C x H x W (order of NCHW programs) to H x W x C, side = H = W."""

    def change(array: np.ndarray) -> np.ndarray:
        maps = array.reshape(*array.shape[:-1], channels, side, side)
        return np.moveaxis(maps, -3, -1).reshape(array.shape)

    return change


def first_map_side(features: int, channels: int, *, file: Path) -> int:
    """Returns the side of G's first map in pixels, from the linear layer's outputs and the map's channels."""
    side = round((features / max(1, channels)) ** 0.5)
    if side < 1 or side * side * channels != features:
        raise CommandError(
            f"{file}: the first linear layer (={features} outputs) must make a square map of block 1's {channels} "
            "channels; the file mixes two networks."
        )
    return side


def describe_file(path: Path) -> dict[str, str]:
    """Returns name and SHA-256 of a file, for `run.json`."""
    with path.open("rb") as stream:
        return {"name": path.name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
