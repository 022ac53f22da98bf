"""Keeps libraries from talking over the run's own status line."""

import logging
import warnings

from absl import logging as absl_logging


class _OrbaxChatter(logging.Filter):
    """Drops what Orbax logs below WARNING: about forty lines for each checkpoint."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or "/orbax/" not in record.pathname.replace("\\", "/")


def quiet_logs() -> None:
    """Silences Orbax's routine log records and its one warning per restored array; real warnings still show.

    Calling it again changes nothing.
    """
    handler = absl_logging.get_absl_handler()
    if not any(isinstance(known, _OrbaxChatter) for known in handler.filters):
        handler.addFilter(_OrbaxChatter())
    warnings.filterwarnings("ignore", message="Sharding info not provided when restoring")
