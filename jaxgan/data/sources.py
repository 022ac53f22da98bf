"""From a source string, such as `digits` or `folder:PATH`, to a source."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data import archives, layouts
from jaxgan.data.errors import DataError
from jaxgan.data.folder import FolderSource
from jaxgan.data.lsun import LsunSource
from jaxgan.data.packed import PackedSource
from jaxgan.data.source import ArraySource, Source
from jaxgan.data.tfds import TfdsSource
from jaxgan.data.zipped import ArchiveSource

KNOWN = (
    "digits[:train|:test]",
    "tfds:NAME[:SPLIT]",
    "folder:PATH",
    "archive:FILE[:FOLDER]",
    "lsun:PATH",
    "idx:PATH[:train|:test]",
    "cifar10:PATH[:train|:test]",
    "packed:PATH",
    *layouts.KNOWN,
)
OWN = "own"  # stands for data that were given from Python


def open_source(source: str, *, skip_corrupt: bool = False) -> Source:
    """Opens the images that a source string names; nothing is downloaded.

    Args:
      source: one of
        "digits[:train|:test]": the 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships; the parts are a
          fixed stratified 3:1 split.
        "tfds:NAME[:SPLIT]": see `jaxgan.data.tfds`.
        "folder:PATH": see `jaxgan.data.folder`.
        "archive:FILE[:FOLDER]": a .zip or .tar file of images; see `jaxgan.data.zipped`.
        "lsun:PATH": an lmdb file of encoded images; see `jaxgan.data.lsun`.
        "idx:PATH[:train|:test]": a folder with MNIST's four files, or one images file; see `jaxgan.data.archives`.
        "cifar10:PATH[:train|:test]": a folder or archive of CIFAR-10; see `jaxgan.data.archives`.
        "packed:PATH": what `python -m jaxgan prepare` wrote; see `jaxgan.data.packed`.
        Sources of two domains, "unpaired:" and "aligned:", are refused; see `jaxgan.data.domains`.
      skip_corrupt: leave out image files that do not decode instead of stopping.

    Raises:
      DataError: if the string is not understood, or its data are absent or damaged.
    """
    kind, colon, rest = source.partition(":")
    if layouts.has_domains(source):
        raise DataError(
            f"data.source (={source!r}) has two domains, which training with method.name=cyclegan or pix2pix and the "
            "evaluation of such a run take; where one set of images is due, give it as folder:PATH."
        )
    if source == OWN:
        raise DataError(
            f"data.source (={source!r}) stands for data that were given to the training from Python and cannot be "
            "opened by name; give the data again, or write them as files and name these."
        )
    if kind == "digits" and rest in ("", "train", "test"):
        return _open_digits(source, rest)
    if colon and rest:
        if kind == "tfds":
            return TfdsSource(source, rest)
        if kind == "folder":
            return FolderSource(source, Path(rest).expanduser(), skip_corrupt=skip_corrupt)
        if kind == "archive":
            return ArchiveSource(source, *_split_folder(rest), skip_corrupt=skip_corrupt)
        if kind == "lsun":
            return LsunSource(source, Path(rest).expanduser(), skip_corrupt=skip_corrupt)
        if kind == "packed":
            return PackedSource(source, Path(rest).expanduser())
        path, split = split_suffix(rest)
        if kind == "idx":
            return archives.open_idx(source, path, split)
        if kind == "cifar10":
            return archives.open_cifar10(source, path, split or "train")
    raise DataError(f"data.source (={source!r}) is an unknown source; known: {', '.join(KNOWN)}.")


def split_suffix(rest: str, splits: tuple[str, ...] = ("train", "test")) -> tuple[Path, str]:
    """Returns PATH and SPLIT of PATH:SPLIT, "" where it ends in none of the splits."""
    for split in splits:
        if rest.endswith(f":{split}"):
            return Path(rest.removesuffix(f":{split}")).expanduser(), split
    return Path(rest).expanduser(), ""


def _split_folder(rest: str) -> tuple[Path, str]:
    """Returns an archive and the folder in it; a colon may be part of the archive's own path."""
    file, colon, folder = rest.rpartition(":")
    if colon and not Path(rest).expanduser().is_file():
        return Path(file).expanduser(), folder.strip("/")
    return Path(rest).expanduser(), ""


def _open_digits(source: str, split: str) -> ArraySource:
    values, labels = _load_digits()
    images = np.rint(values.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)  # 0..16 in the set
    if split:
        from sklearn import model_selection  # seconds, paid only where it is used

        parts = model_selection.train_test_split(
            np.arange(len(labels)), test_size=0.25, random_state=0, stratify=labels
        )
        rows = parts[0 if split == "train" else 1]
        images, labels = images[rows], labels[rows]
    return ArraySource(source, images, labels, [str(digit) for digit in range(10)])


def _load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns scikit-learn's digits, float64 (1797, 64) of 0..16, and their labels; from its file, if it is there."""
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():  # importing scikit-learn takes longer than all else that reading them needs
            with gzip.open(file, "rt") as lines:
                table = np.loadtxt(lines, delimiter=",")
            return table[:, :-1], table[:, -1].astype(int)
    from sklearn import datasets

    found: Any = datasets.load_digits()
    return found.data, found.target
