"""Text files that number and name classes, in the formats of nnabla-examples' SAGAN.

`dirname_to_label.txt`: a line `n01440764 0` per class: folder name, space, label.
`label_to_classname.txt`: a line `0: 'tench, Tinca tinca'` per class: label, colon, the name as a Python string (in
double quotes if it holds an apostrophe). Braces and commas of the dictionary that it was cut from do no harm.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxgan.data.errors import DataError

_LONGEST_LINE = 10_000  # characters
DIRNAME_TO_LABEL, LABEL_TO_CLASSNAME = "dirname_to_label.txt", "label_to_classname.txt"


def read_dirname_to_label(path: Path) -> dict[str, int]:
    """Returns {folder name: label}.

    Raises:
      DataError: if it cannot be read, a line is of another form, or a folder or a label stands there twice.
    """
    labels: dict[str, int] = {}
    for number, line in _lines(path):
        name, _, label = line.rpartition(" ")
        if not name.strip() or not _is_label(label):
            raise _bad_line(path, number, line, "n01440764 0")
        if name.strip() in labels or int(label) in labels.values():
            raise DataError(
                f"{path}, line {number} ({line!r}): its folder or its label stands there twice; every folder must have "
                "one label of its own: correct the line."
            )
        labels[name.strip()] = int(label)
    return labels


def read_label_to_classname(path: Path) -> dict[int, str]:
    """Returns {label: class name}.

    Raises:
      DataError: if it cannot be read, a line is of another form, or a label stands there twice.
    """
    names: dict[int, str] = {}
    for number, line in _lines(path):
        label, _, literal = line.lstrip("{ ").partition(":")
        name = _text(literal.strip().rstrip(",} "))
        if not _is_label(label.strip()) or name is None:
            raise _bad_line(path, number, line, "0: 'tench, Tinca tinca'")
        if int(label) in names:
            raise DataError(f"{path}, line {number}: label {int(label)} stands there twice; remove one of the lines.")
        names[int(label)] = name
    return names


def renumber(
    folders: Sequence[str], dirname_to_label: Mapping[str, int] | None, label_to_classname: Mapping[int, str] | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Numbers and names classes as the files say.

    Args:
      folders: the source's class names, by its own numbers.
      dirname_to_label: None keeps the source's numbers. Labels without a folder become classes without images.
      label_to_classname: None keeps the names of the folders.

    Returns:
      The class names by label, and for each of the source's classes its label.

    Raises:
      DataError: if a folder has no label, or a label no name.
    """
    labels = tuple(range(len(folders)))
    names = dict(enumerate(folders))
    if dirname_to_label is not None:
        missing = [folder for folder in folders if folder not in dirname_to_label]
        if missing:
            raise DataError(
                f"{DIRNAME_TO_LABEL} has no line for {len(missing)} of the source's {len(folders)} classes, such as "
                f"{missing[0]!r}; add a line to it for each."
            )
        labels = tuple(dirname_to_label[folder] for folder in folders)
        names = {label: folder for folder, label in dirname_to_label.items()}
    count = max(names) + 1
    if label_to_classname is not None:
        names = dict(label_to_classname)
    missing_name = next((label for label in range(count) if label not in names), None)  # soon found, if there is one
    if missing_name is not None:
        file = DIRNAME_TO_LABEL if label_to_classname is None else LABEL_TO_CLASSNAME
        raise DataError(
            f"{file} has no line for label {missing_name}, but the labels are 0..{count - 1}; add a line for each."
        )
    if dirname_to_label is None and len(names) != count:
        raise DataError(
            f"{LABEL_TO_CLASSNAME} names {len(names)} classes, but the source has {count}; give {DIRNAME_TO_LABEL} as "
            "well, which says what label each folder has."
        )
    return tuple(names[label] for label in range(count)), labels


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file in UTF-8; check that it is the right one.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip(" {}\t\r\n")]
    if not lines:
        raise DataError(f"{path} is empty; it must have a line for every class.")
    return lines


def _is_label(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _text(literal: str) -> str | None:
    """Returns the text that a Python string literal stands for, None where it is none."""
    if literal[:1] not in ("'", '"') or len(literal) > _LONGEST_LINE:  # no other expression reaches the parser
        return None
    try:
        text = ast.literal_eval(literal)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return text if isinstance(text, str) else None


def _bad_line(path: Path, number: int, line: str, example: str) -> DataError:
    return DataError(f"{path}, line {number} is {line[:200]!r}, but every line must read like {example!r}; correct it.")
