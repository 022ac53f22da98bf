"""Where commands write: nothing half-written, nothing overwritten unasked."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from jaxgan.commands.errors import CommandError


@contextlib.contextmanager
def output_folder(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Yields an empty folder beside `path` that becomes `path` when the block succeeds and vanishes when it fails.

    With `overwrite`, what the block wrote replaces what `path` has under the same names; other files there stay.

    Args:
      path: the folder; created with its parents.
      overwrite: whether it may hold something already.

    Raises:
      CommandError: `path` is a file, or a folder with content and no `overwrite`; before the block is entered.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise CommandError(f"{path} is a file and must be a folder; choose another --out.")
    if path.exists() and any(path.iterdir()) and not overwrite:
        raise CommandError(f"{path} exists and is not empty; choose another --out, or pass --overwrite.")
    temporary = _beside(path, "tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        path.mkdir(exist_ok=True)
        for entry in sorted(temporary.iterdir()):
            _replace(entry, path / entry.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def output_file(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Yields the name of a file beside `path` (same extension) that becomes `path` when the block succeeds.

    Args:
      path: the file; its folder is created.
      overwrite: whether it may exist already.

    Raises:
      CommandError: `path` is a folder, or exists and no `overwrite`; before the block is entered.
    """
    path = Path(path)
    if path.is_dir():
        raise CommandError(f"{path} is a folder and must be a file; choose another --out.")
    if path.exists() and not overwrite:
        raise CommandError(f"{path} exists; choose another --out, or pass --overwrite.")
    temporary = _beside(path, "tmp").with_suffix(path.suffix)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> None:
    """Renames onto whatever `target` is; a folder cannot be renamed onto one that has content."""
    if not target.is_dir() or target.is_symlink():
        if source.is_dir():
            target.unlink(missing_ok=True)
        os.replace(source, target)
        return
    old = _beside(target, "old")
    os.replace(target, old)
    try:
        os.replace(source, target)
    except OSError:
        os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, ending: str) -> Path:
    """A hidden name in the same folder, hence on the same disk; made absolute, for `.` has no name."""
    path = Path(os.path.abspath(path))
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")
