"""Two domains of images, A and B, for methods that translate one into the other."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np

from jaxgan.config import DataConfig
from jaxgan.data.aligned import HalfSource
from jaxgan.data.dataset import Batch, Dataset, read_ahead
from jaxgan.data.encoded import EncodedSource
from jaxgan.data.errors import DataError
from jaxgan.data.folder import FolderSource
from jaxgan.data.layouts import KNOWN, aligned_folder, unpaired_folders
from jaxgan.data.randomness import domain_seed
from jaxgan.data.source import Source, fingerprint
from jaxgan.data.sources import split_suffix
from jaxgan.data.spec import DataSpec


def open_domains(source: str, *, skip_corrupt: bool = False) -> tuple[Source, Source]:
    """Opens the images of A and of B, without labels.

    Args:
      source: one of
        "unpaired:PATH[:train|:test]": the images below PATH/trainA and PATH/trainB (default), or PATH/testA and
          PATH/testB, in the order of their names.
        "aligned:PATH[:train|:test|:val]": images A|B side by side below PATH/train (default), PATH/test or PATH/val,
          or, without a split, in PATH itself; A is the left half.
      skip_corrupt: leave out image files that do not decode instead of stopping.

    Raises:
      DataError: if the string is not understood, a folder is absent or empty, or files are broken.
    """
    kind, _, rest = source.partition(":")
    if kind == "unpaired" and rest:
        folders = unpaired_folders(source, *_split(rest, ("train", "test"), "train"))
        a, b = (FolderSource(source, folder, skip_corrupt=skip_corrupt, labels=False) for folder in folders)
        return a, b
    if kind == "aligned" and rest:
        folder = aligned_folder(source, *_split(rest, ("train", "test", "val"), ""))
        pairs = FolderSource(source, folder, skip_corrupt=skip_corrupt, labels=False)
        return HalfSource(pairs, "left"), HalfSource(pairs, "right")
    raise DataError(f"data.source (={source!r}) must name images of two domains: {' or '.join(KNOWN)}.")


def _split(rest: str, splits: tuple[str, ...], default: str) -> tuple[Path, str]:
    path, split = split_suffix(rest, splits)
    return path, split or default


class DomainsDataset:
    """Batches of two domains.

    With data.paired the i-th images of A and of B form a pair: both domains have the same order, flips and crops.
    Without, each domain has its own, from a seed of its own, and its own epochs: it visits each of its images once
    before it begins anew, whatever the other one's size. (The original CycleGAN draws B at random with replacement.)

    Args:
      a: the images of A.
      b: those of B; both of one size and number of channels. Labels play no part.
      data: as for `Dataset`; paired and the number of threads are read here.

    Attributes:
      a, b: each domain by itself, for evaluation and grids.
      spec: of both; `num_images` counts A, `num_images_b` counts B.

    Raises:
      DataError: if the sizes differ; or if pairs are asked for and the domains differ in length, or could lose images
        one by one.
    """

    def __init__(self, a: Dataset, b: Dataset, data: DataConfig):
        self.a, self.b = a, b
        self.data = data
        _check_sizes(a.spec, b.spec)
        if data.paired:
            _check_pairs(a, b, data)
        self.spec = DataSpec(
            a.spec.height, a.spec.width, a.spec.channels, 0, (), a.spec.num_images,
            fingerprint([a.spec.fingerprint.encode(), b.spec.fingerprint.encode()]), b.spec.num_images,
        )  # fmt: skip

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of the unreadable images of both domains that were left out so far."""
        return self.a.skipped + self.b.skipped

    def batches(
        self,
        *,
        seed: int,
        batch_size: int,
        num_d_steps: int,
        start_step: int = 0,
        stop_step: int | None = None,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Generator[Batch, None, None]:
        """As `Dataset.batches`; batch_size counts the images of each domain.

        Yields:
          {"a": uint8 (num_d_steps, batch_size // process_count, H, W, C), "b": the same}.
        """
        readers = {
            name: dataset.step_reader(
                seed=seed if self.data.paired else domain_seed(seed, domain), batch_size=batch_size,
                num_d_steps=num_d_steps, process_index=process_index, process_count=process_count,
            )
            for domain, (name, dataset) in enumerate({"a": self.a, "b": self.b}.items())
        }  # fmt: skip

        def read_step(step: int) -> Batch:
            return {name: read(step)["images"] for name, read in readers.items()}

        return read_ahead(read_step, self.data, start_step, stop_step)

    def first(self, n: int) -> dict[str, np.ndarray]:
        """Returns {"a": uint8 (n, H, W, C), "b": the same}, spread evenly over each domain; repeated if it has fewer.

        Where the data are paired, so are these.
        """
        return {"a": self.a.first(n)[0], "b": self.b.first(n)[0]}

    def examples(self, n: int) -> dict[str, np.ndarray]:
        """Returns what `first` does."""
        return self.first(n)


def _check_sizes(a: DataSpec, b: DataSpec) -> None:
    sizes = [(spec.height, spec.width, spec.channels) for spec in (a, b)]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"The images of A {sizes[0]} and of B {sizes[1]} must have one height, width and number of channels; build "
            "both data sets from the same settings."
        )


def _check_pairs(a: Dataset, b: Dataset, data: DataConfig) -> None:
    for source in (a.source, b.source):
        if isinstance(source, EncodedSource) and (data.skip_corrupt or source.skipped):
            raise DataError(
                "data.skip_corrupt (=True) must be False with data.paired=True on two sets of files: leaving an image "
                "out of one would give all later ones the wrong partner; repair or delete both images of such a pair."
            )
    num_a, num_b = a.spec.num_images, b.spec.num_images
    if num_a != num_b:
        raise DataError(
            f"data.paired=True needs as many images of A (={num_a}) as of B (={num_b}), since the i-th ones form a "
            "pair; complete the pairs, or set data.paired=False."
        )
