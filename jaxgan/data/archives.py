"""`idx:PATH` and `cifar10:PATH`: the files of MNIST-like sets and of CIFAR-10, found and read into memory."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.errors import DataError
from jaxgan.data.formats import CIFAR10_CLASSES, parse_cifar10_binary, parse_cifar10_pickle, parse_idx, safe_unpickle
from jaxgan.data.source import ArraySource
from jaxgan.data.tar_stream import open_tar

_GET_MNIST = (
    "MNIST's train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
    "t10k-labels-idx1-ubyte.gz can be downloaded from https://ossci-datasets.s3.amazonaws.com/mnist/"
)
_GET_CIFAR10 = "CIFAR-10 can be downloaded as https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_LARGEST_BATCH = 2**26  # bytes; the genuine ones have 31 million
_IDX_PREFIX = {"train": "train", "test": "t10k"}


def open_idx(name: str, path: Path, split: str = "") -> ArraySource:
    """Opens a folder with MNIST's file names, or one images file.

    The labels file is the images file's name with "labels" and "idx1" in place of "images" and "idx3"; where there is
    none, the source has no labels. Every file may be gzipped or not.

    Args:
      name: the source string.
      path: a folder, or a file named *images*idx3*.
      split: of a folder: "train" (also for "") or "test".

    Raises:
      DataError: if files are absent or damaged, or images and labels differ in number.
    """
    file = path
    if path.is_dir():
        prefix = _IDX_PREFIX[split or "train"]
        file = _find(path, f"{prefix}-images-idx3-ubyte")
        if file is None:
            raise DataError(
                f"data.source={name!r}: {path} holds no {prefix}-images-idx3-ubyte[.gz]; {_GET_MNIST} into that folder."
            )
    elif not path.exists():
        raise DataError(f"data.source={name!r}: {path} does not exist; {_GET_MNIST} into that folder.")
    images = parse_idx(file.read_bytes(), num_axes=3, name=str(file))
    if not images.size:
        raise DataError(f"{file} holds no image ({' x '.join(map(str, images.shape))}); give a file with images.")
    stem = file.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    label_file = _find(file.parent, stem) if "images" in file.name else None
    if label_file is None:
        return ArraySource(name, images[..., None], None)
    labels = parse_idx(label_file.read_bytes(), num_axes=1, name=str(label_file))
    if len(labels) != len(images):
        raise DataError(
            f"{label_file} has {len(labels)} labels, but {file.name} has {len(images)} images; the two must belong "
            "together: download both again."
        )
    return ArraySource(name, images[..., None], labels, [str(label) for label in range(int(labels.max()) + 1)])


def _find(folder: Path, stem: str) -> Path | None:
    """Returns the file of that name, also gzipped, also with the dot that some archives have before "idx"."""
    for name in (stem, stem.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (folder / (name + suffix)).is_file():
                return folder / (name + suffix)
    return None


def open_cifar10(name: str, path: Path, split: str) -> ArraySource:
    """Opens CIFAR-10's binary or Python version, unpacked or as the downloaded archive.

    Args:
      name: the source string.
      path: a .tar.gz file, or a folder that holds the batch files, their folder cifar-10-batches-bin or -py, or an
        archive under its original name.
      split: "train" (five batches) or "test".

    Raises:
      DataError: if a batch is absent or damaged.
    """
    stems = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
    wanted = {*stems, *(f"{stem}.bin" for stem in stems), "batches.meta", "batches.meta.txt"}
    place, contents = _read_cifar_files(name, path, wanted)
    is_binary = any(f"{stem}.bin" in contents for stem in stems)
    files = [f"{stem}.bin" for stem in stems] if is_binary else stems
    missing = [file for file in files if file not in contents]
    if missing:
        raise DataError(
            f"data.source={name!r}: {place} lacks {', '.join(missing)} of CIFAR-10's {split} split; {_GET_CIFAR10}."
        )
    parse = parse_cifar10_binary if is_binary else parse_cifar10_pickle
    batches = [parse(contents[file], name=f"{place}/{file}") for file in files]
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return ArraySource(name, images, labels, _cifar_class_names(place, contents, is_binary))


def _read_cifar_files(name: str, path: Path, wanted: set[str]) -> tuple[str, dict[str, bytes]]:
    if path.is_file():
        return str(path), _read_tar(path, wanted)
    folders = [path, path / "cifar-10-batches-bin", path / "cifar-10-batches-py"]
    for folder in folders:
        if any(folder.glob("*_batch*")):
            return str(folder), {file: (folder / file).read_bytes() for file in wanted if (folder / file).is_file()}
    for archive in (path / "cifar-10-binary.tar.gz", path / "cifar-10-python.tar.gz"):
        if archive.is_file():
            return str(archive), _read_tar(archive, wanted)
    what = f"{path} holds no CIFAR-10 batch" if path.is_dir() else f"{path} does not exist"
    raise DataError(f"data.source={name!r}: {what}; {_GET_CIFAR10} and given as it is (cifar10:FILE) or unpacked.")


def _read_tar(path: Path, wanted: set[str]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    try:
        with open(path, "rb") as raw, open_tar(raw)[0] as archive:
            for member in archive:
                name = Path(member.name).name
                if name not in wanted or not member.isreg():
                    continue
                if member.size > _LARGEST_BATCH:
                    raise tarfile.ReadError(f"{name} in it has {member.size:,} bytes, more than a batch can have")
                file = archive.extractfile(member)
                contents[name] = b"" if file is None else file.read()
    except Exception as error:  # a parser fed with arbitrary bytes raises almost anything
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(f"{path} is not a complete .tar.gz archive ({reason}); download it again.") from error
    return contents


def _cifar_class_names(place: str, contents: dict[str, bytes], is_binary: bool) -> tuple[str, ...]:
    names: list[Any]
    if is_binary and "batches.meta.txt" in contents:
        names = contents["batches.meta.txt"].decode(errors="replace").split()
    elif not is_binary and "batches.meta" in contents:
        meta = safe_unpickle(contents["batches.meta"], name=f"{place}/batches.meta")
        listed = meta.get(b"label_names", ()) if isinstance(meta, dict) else ()
        names = [_text(name) for name in listed] if isinstance(listed, list) else []
    else:
        names = list(CIFAR10_CLASSES)
    if len(names) != len(CIFAR10_CLASSES) or not all(names):
        raise DataError(f"{place} names {len(names)} classes, but CIFAR-10 has 10; download it again.")
    return tuple(names)


def _text(name: Any) -> str:
    """Returns a name as text, "" where it is none."""
    if isinstance(name, bytes):
        return name.decode(errors="replace")
    return name if isinstance(name, str) else ""
