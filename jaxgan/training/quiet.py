"""Keeps libraries from talking over the run's own status line and its one-sentence errors."""

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

from absl import logging as absl_logging


class _Chatter(logging.Filter):
    """Drops what Orbax logs below WARNING (about forty lines for each checkpoint) and says twice.

    A write that fails in the background is logged with its traceback and raised as well; `core/checkpoint.py` reports
    it in a sentence. JAX's search for accelerators that are not there is no news either.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        path = record.pathname.replace("\\", "/")
        if path.endswith("/xla_bridge.py"):
            return record.levelno >= logging.WARNING
        if path.endswith("/orbax/checkpoint/_src/futures/future.py"):
            return False
        if record.msg == "Given directory is read only=%s":  # as asked
            return False
        return record.levelno >= logging.WARNING or "/orbax/" not in path


class _LateReads:
    """Drops what TensorStore's threads report after a failed read, to an event loop that Orbax has closed by then."""

    def __init__(self, report: Callable[[Any], object]):
        self._report = report

    def __call__(self, unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            self._report(unraisable)


def quiet_logs() -> None:
    """Silences routine log records, echoes of failures that are reported otherwise, and one warning per restored array.

    Real warnings still show. Calling it again changes nothing.
    """
    # The handler sees what comes from other loggers too; but in a notebook absl's records go to another one.
    for place in (absl_logging.get_absl_handler(), absl_logging.get_absl_logger()):
        if not any(isinstance(known, _Chatter) for known in place.filters):
            place.addFilter(_Chatter())
    if not isinstance(sys.unraisablehook, _LateReads):
        sys.unraisablehook = _LateReads(sys.unraisablehook)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)  # "Future exception was never retrieved"
    warnings.filterwarnings("ignore", message="Sharding info not provided when restoring")
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
