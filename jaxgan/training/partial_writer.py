"""The base of metric writers that record some kinds of data and ignore the others."""

from collections.abc import Mapping
from typing import Any

from jaxgan.training.tensorflow_free import metric_writers


class PartialWriter(metric_writers.MetricWriter):
    """Ignores everything; subclasses override what they record.

    CLU's writers likewise skip kinds of data they cannot show, so that one call serves all of a MultiWriter's members.
    The argument names are CLU's, because its AsyncWriter passes them by keyword.
    """

    def write_summaries(
        self, step: int, values: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> None: ...

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None: ...

    def write_images(self, step: int, images: Mapping[str, Any]) -> None: ...

    def write_videos(self, step: int, videos: Mapping[str, Any]) -> None: ...

    def write_audios(self, step: int, audios: Mapping[str, Any], *, sample_rate: int) -> None: ...

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None: ...

    def write_histograms(
        self, step: int, arrays: Mapping[str, Any], num_buckets: Mapping[str, int] | None = None
    ) -> None: ...

    def write_hparams(self, hparams: Mapping[str, Any]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...
