"""A CLU metric writer for TensorBoard event files that does without TensorFlow."""
# pyright: reportAttributeAccessIssue=false
# (protobuf makes its message classes at run time)

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import summary_v2 as hparams_summary
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.util import tensor_util

from jaxgan.generation.images import encode_png
from jaxgan.training.partial_writer import PartialWriter
from jaxgan.training.tensorflow_free import EventFileWriter

_DEFAULT_BUCKETS = 30  # what TensorBoard's own histogram summaries use


class TensorBoardWriter(PartialWriter):
    """Writes scalars, images, texts, histograms and hyper-parameters to one event file; ignores audio and video.

    Reference: the protocol buffers of TensorBoard 2.x (`tensorboard/compat/proto`), and the conventions of
    `clu.metric_writers` for shapes and ranges.
    """

    def __init__(self, logdir: str | os.PathLike[str], *, purge_step: int | None = None) -> None:
        """Opens a new event file in `logdir`.

        Args:
          logdir: the folder; created if absent.
          purge_step: TensorBoard forgets what earlier event files of this folder say of this step and later ones.
        """
        self._file = EventFileWriter(os.fspath(logdir))
        if purge_step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._file.add_event(event_pb2.Event(wall_time=time.time(), step=purge_step, session_log=start))

    def _add(self, step: int, values: list[summary_pb2.Summary.Value]) -> None:
        if values:
            summary = summary_pb2.Summary(value=values)
            self._file.add_event(event_pb2.Event(wall_time=time.time(), step=int(step), summary=summary))

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes single numbers (any one-element array); stored as float32, non-finite values as they are."""
        self._add(
            step,
            [
                summary_pb2.Summary.Value(tag=name, simple_value=float(np.asarray(value).item()))
                for name, value in scalars.items()
            ],
        )

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Writes (H, W, C) images under their name, (N, H, W, C) ones under `name/0` ... `name/N-1`.

        uint8, or floats in [0, 1] (CLU's convention; not the [-1, 1] of the networks), C = 1, 3 or 4.
        """
        for name, value in images.items():
            array = np.asarray(value)
            if array.ndim == 3:
                self._add(step, [_image_value(name, array)])
            else:
                for index, image in enumerate(array):
                    self._add(step, [_image_value(f"{name}/{index}", image)])

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes texts, which TensorBoard renders as Markdown."""
        for name, text in texts.items():
            metadata = text_metadata.create_summary_metadata(display_name=name, description="")
            tensor = tensor_util.make_tensor_proto(np.array(text.encode(), dtype=object))
            self._add(step, [summary_pb2.Summary.Value(tag=name, metadata=metadata, tensor=tensor)])

    def write_histograms(
        self, step: int, arrays: Mapping[str, Any], num_buckets: Mapping[str, int] | None = None
    ) -> None:
        """Writes histograms over equal buckets (30 by default) of the finite values; nothing if there are none."""
        for name, array in arrays.items():
            values = np.asarray(array).astype(np.float64).ravel()
            values = values[np.isfinite(values)]
            if values.size:
                histogram = _histogram(values, (num_buckets or {}).get(name, _DEFAULT_BUCKETS))
                self._add(step, [summary_pb2.Summary.Value(tag=name, histo=histogram)])

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes nested settings as flat `group.name` entries for the HPARAMS tab; once per run."""
        self._add(0, list(hparams_summary.hparams_pb(_flatten(hparams)).value))

    def flush(self) -> None:
        """Blocks until everything written so far is in the file."""
        self._file.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        self._file.close()


def _image_value(tag: str, image: np.ndarray) -> summary_pb2.Summary.Value:
    if image.dtype != np.uint8:
        image = np.round(np.clip(np.nan_to_num(image.astype(np.float32)), 0.0, 1.0) * 255.0).astype(np.uint8)
    height, width, channels = image.shape
    return summary_pb2.Summary.Value(
        tag=tag,
        image=summary_pb2.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=encode_png(image)
        ),
    )


def _histogram(values: np.ndarray, num_buckets: int) -> summary_pb2.HistogramProto:
    counts, edges = np.histogram(values, bins=num_buckets)
    return summary_pb2.HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=np.square(values).sum(),
        bucket_limit=edges[1:].tolist(),
        bucket=counts.tolist(),
    )


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    flat: dict[str, bool | int | float | str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return flat
