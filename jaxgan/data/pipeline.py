"""From the settings of `config.data` to a data set of one or of two domains."""

from __future__ import annotations

from absl import logging

from jaxgan.config import DataConfig
from jaxgan.data.dataset import Dataset
from jaxgan.data.domains import DomainsDataset, open_domains
from jaxgan.data.layouts import has_domains
from jaxgan.data.sources import open_source


def open_dataset(data: DataConfig) -> Dataset | DomainsDataset:
    """Opens `data.source` and reports what was left out.

    Raises:
      DataError: see `open_source` and `Dataset`, or `open_domains` and `DomainsDataset`.
    """
    if has_domains(data.source):
        a, b = open_domains(data.source, skip_corrupt=data.skip_corrupt)
        dataset = DomainsDataset(Dataset(a, data), Dataset(b, data), data)
    else:
        dataset = Dataset(open_source(data.source, skip_corrupt=data.skip_corrupt), data)
    if dataset.skipped:
        path, reason = dataset.skipped[0]
        readable = dataset.spec.num_images + dataset.spec.num_images_b
        logging.warning(
            "Left out %d unreadable of %d images of %s; first: %s (%s).",
            len(dataset.skipped), len(dataset.skipped) + readable, data.source, path, reason,
        )  # fmt: skip
    return dataset
