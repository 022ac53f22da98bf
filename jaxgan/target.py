"""The kind of device that programs are made for: this process's, unless they are compiled for absent ones."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_absent: contextvars.ContextVar[str | None] = contextvars.ContextVar("absent", default=None)


def platform() -> str:
    """Returns "cpu", "gpu" or "tpu"; what a layer asks while it is traced."""
    return _absent.get() or jax.default_backend()


@contextlib.contextmanager
def compiling_for(platform: str | None) -> Iterator[None]:
    """Within it, `platform()` is this one; None changes nothing. What was traced outside must not be used inside."""
    token = _absent.set(platform)
    try:
        yield
    finally:
        _absent.reset(token)
