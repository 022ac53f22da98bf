"""How the tests of this folder damage files, and what they ask of a message."""

import contextlib
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# A few examples in the default suite, many in the slow tests; the same ones on every machine.
COUNTS = pytest.mark.parametrize("count", [12, pytest.param(400, marks=pytest.mark.slow)])


def examine(count: int, *strategies: st.SearchStrategy) -> Callable[[Callable[..., None]], None]:
    """Runs the decorated function at once, on `count` examples."""
    chosen = settings(
        max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    return lambda function: chosen(given(*strategies)(function))()


@st.composite
def damaged(draw, good: bytes) -> bytes:
    """Any bytes, or `good` cut off, with flipped bits, or with other bytes at some place, such as huge sizes."""
    kind = draw(st.sampled_from(["flip", "replace", "cut", "insert", "any"]))
    place = draw(st.integers(0, max(0, len(good) - 1)))
    if kind == "cut":
        return good[:place]
    if kind == "any":
        return good[: draw(st.sampled_from([0, 4, 16]))] + draw(st.binary(max_size=200))
    if kind == "flip":
        data = bytearray(good)
        for _ in range(draw(st.integers(1, 8))):
            data[draw(st.integers(0, len(good) - 1))] ^= 1 << draw(st.integers(0, 7))
        return bytes(data)
    new = draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 8, b"\x7f" * 4, b"\0" * 16])))
    return good[:place] + new + good[place + (len(new) if kind == "replace" else 0) :]


def is_sentence(message: str) -> bool:
    """Whether a message can be shown to a user: one line of a bounded length that ends as a sentence does."""
    return 0 < len(message) < 2_000 and "\n" not in message and message.rstrip().endswith((".", "?", ")", "="))


@contextlib.contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Fails if Python and NumPy held more than `limit` bytes more than before at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()
