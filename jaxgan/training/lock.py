"""One process per workdir: a second one that trains there would overwrite what the first one saves."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from jaxgan.training.workdir import WorkdirError, writing

FILE = ".lock"

# Of file systems without locks: a run there goes on unguarded rather than not at all.
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


@contextlib.contextmanager
def hold(workdir: Path) -> Iterator[bool]:
    """Holds the lock of a workdir; only training takes it, commands that read a run need none.

    It is an advisory lock of the operating system (flock), which frees it when the process ends, however that happens:
    there is no stale lock to be removed. The file stays, and names the last holder. Between hosts it works where the
    shared file system supports such locks.

    Args:
      workdir: created if absent.

    Yields:
      False where the file system has no locks.

    Raises:
      WorkdirError: another process trains there, or the folder is not writable.
    """
    with writing(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(workdir / FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        locked = _lock(descriptor, workdir)
        if locked:
            with writing(workdir):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)
        yield locked
    finally:
        os.close(descriptor)


def _lock(descriptor: int, workdir: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WorkdirError(
            f"{workdir} is being trained in by {_holder(descriptor)}; stop that one first, or choose another --workdir."
        ) from error
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise WorkdirError(f"{workdir / FILE} cannot be locked ({error.strerror or error}).") from error
        return False
    return True


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 1_000, 0))
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun
        return "another process"
