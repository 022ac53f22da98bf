"""What is wrong with networks, losses or terms that come from Python."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MethodError(ValueError):
    """A network, loss or term breaks a rule of its method; the message is one sentence with names and shapes."""


def check_choice(what: str, value: object, choices: Iterable[str]) -> None:
    """Raises MethodError, with the nearest names first, unless `value` is one of `choices`."""
    known = list(choices)
    if value in known:
        return
    near = difflib.get_close_matches(str(value), known, n=2, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    raise MethodError(f"{what} (={value!r}) must be one of {', '.join(map(repr, known))}{hint}")
