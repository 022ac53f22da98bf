"""Where the images of two domains lie in a folder: the layouts of the data sets of CycleGAN and of pix2pix."""

from __future__ import annotations

import os
from pathlib import Path

from jaxgan.data.decode import EXTENSIONS, is_image
from jaxgan.data.errors import DataError
from jaxgan.data.folder import images_below

KNOWN = ("unpaired:PATH[:train|:test]", "aligned:PATH[:train|:test|:val]")
_SHOWN = 6  # entries of a folder that a message lists


def has_domains(source: str) -> bool:
    """Whether a source string names images of two domains."""
    return source.startswith(("unpaired:", "aligned:"))


def unpaired_folders(name: str, root: Path, split: str) -> tuple[Path, Path]:
    """Returns PATH/trainA and PATH/trainB, or PATH/testA and PATH/testB.

    Args:
      name: the source string.
      root: PATH.
      split: "train" or "test".

    Raises:
      DataError: if one of the two is absent or holds no image.
    """
    _check_folder(name, root, f"folders {split}A and {split}B of images")
    folders = root / f"{split}A", root / f"{split}B"
    states = [_state(folder) for folder in folders]
    if any(states):
        found = ", ".join(f"{folder.name} {state or 'is there'}" for folder, state in zip(folders, states, strict=True))
        raise DataError(
            f"data.source={name!r}: {found} in {root} ({_listing(root)}); the images of the two domains must lie in "
            f"PATH/{folders[0].name} and PATH/{folders[1].name}, as files ending in {', '.join(EXTENSIONS)}."
        )
    return folders


def aligned_folder(name: str, root: Path, split: str) -> Path:
    """Returns PATH/SPLIT; where no split is asked for, PATH/train, or PATH itself if that holds images directly.

    Args:
      name: the source string.
      root: PATH.
      split: "train", "test", "val" or "".

    Raises:
      DataError: if there is no such folder with images.
    """
    _check_folder(name, root, "images, each A|B side by side")
    folder = root / (split or "train")
    state = _state(folder)
    if not state:
        return folder
    if not split and any(_is_visible_image(name) and (root / name).is_file() for name in os.listdir(root)):
        return root
    raise DataError(
        f"data.source={name!r}: {folder.name} {state} in {root} ({_listing(root)}); images of pairs, A|B side by side, "
        "must lie in PATH/train (PATH/test and PATH/val for :test and :val), or directly in PATH."
    )


def _check_folder(name: str, root: Path, content: str) -> None:
    if not root.is_dir():
        raise DataError(f"data.source={name!r}: the folder {root} does not exist; give the path of one with {content}.")


def _state(folder: Path) -> str:
    """Returns what is wrong with a folder of images, or nothing."""
    if not folder.is_dir():
        return "is missing"
    return "" if images_below(folder, ".") else "holds no image"


def _is_visible_image(name: str) -> bool:
    return is_image(name) and not name.startswith(".")


def _listing(root: Path) -> str:
    names = sorted(name for name in os.listdir(root) if not name.startswith("."))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"which holds {', '.join(names[:_SHOWN])}{more}" if names else "which is empty"
