"""CLU's metric writers and TensorBoard's file writer, imported so that TensorFlow is never loaded.

`clu.metric_writers` imports TensorFlow for its SummaryWriter: it fails where TensorFlow is absent, and costs seconds,
700 MB and a grip on the accelerator's memory where it is present. TensorBoard's own file writer picks TensorFlow's file
system whenever it finds one. Both are decided before their first import: a failed import of CLU leaves half-loaded
modules behind. Import CLU's writers and hooks from here, not from `clu`.
"""

import sys
import types


class _AbsentSummaryWriter:
    """Stands in for CLU's TensorFlow writer, which nothing in jaxgan uses."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise ImportError(
            "clu.metric_writers.SummaryWriter was left out because it needs TensorFlow; use "
            "jaxgan.training.tensorboard_writer.TensorBoardWriter, or import clu.metric_writers before jaxgan."
        )


def _install_stubs() -> None:
    stub = types.ModuleType("clu.metric_writers.summary_writer")
    stub.SummaryWriter = _AbsentSummaryWriter  # type: ignore[attr-defined]
    sys.modules.setdefault("clu.metric_writers.summary_writer", stub)
    # The presence of this module is how TensorBoard is told to use its own file system.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))


_install_stubs()

from clu import metric_writers, periodic_actions  # noqa: E402 (after the stubs)
from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: E402

__all__ = ["EventFileWriter", "metric_writers", "periodic_actions"]
