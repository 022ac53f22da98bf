"""Where the weights of FID's Inception come from: a file that the user gives, the cache, or pytorch-fid's release.

The file is never shipped or converted: it is read as it is published, so that its hash says which network it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO

import numpy as np
from absl import logging

from jaxgan.data.npz import ArrayFileError, read_npz
from jaxgan.evaluation import torch_file
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.inception import DIMS, parameter_shapes
from jaxgan.generation.progress import Progress

NAME = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "JAXGAN_INCEPTION_WEIGHTS"
_MEGABYTE = 10**6  # bytes


@dataclasses.dataclass(frozen=True)
class InceptionWeights:
    """Arrays by their names in pytorch-fid's file, and the first 8 hexadecimal digits of the file's SHA-256."""

    arrays: Mapping[str, np.ndarray]
    digest: str


def load(path: str | os.PathLike[str] | None = None, *, dims: int = 2048, logits: bool = True) -> InceptionWeights:
    """Reads the weights, downloading them once if need be.

    Args:
      path: a file with pytorch-fid's names and PyTorch's layouts, .pth or .npz, float32 or float16; None = the one
        that the environment variable JAXGAN_INCEPTION_WEIGHTS names, else the cached one, else pytorch-fid's release
        of 96 MB, whose SHA-256 is checked and which is then cached.
      dims: 64, 192, 768 or 2048: the features that will be asked for; a file may lack deeper layers.
      logits: whether the logits will be asked for too.

    Raises:
      EvaluationError: there is no such file or no way to download it, or it is damaged, of another network, or lacks
        layers that are needed.
    """
    given = path or os.environ.get(VARIABLE)
    if given:
        file, digest = Path(given).expanduser(), ""
        if not file.is_file():
            place = "--inception_weights" if path else f"the environment variable {VARIABLE}"
            raise EvaluationError(f"{place} names {given}, which is not a file; download {URL} and give its path.")
    else:
        file = cache_file()
    try:
        digest = _sha256(file) if given or file.is_file() else ""
        if not given and digest != SHA256:
            download(URL, file, SHA256)
            digest = SHA256
        arrays = _read(file)
    except OSError as error:
        raise EvaluationError(f"{file} cannot be read ({error.strerror or error}).") from error
    _check(file, arrays, dims, logits)
    if digest != SHA256:
        logging.warning(
            "%s is not the published %s (SHA-256 %s... instead of %s...): scores made with it compare only with each "
            "other; the protocol names it %s.", file, NAME, digest[:8], SHA256[:8], digest[:8],
        )  # fmt: skip
    return InceptionWeights(arrays, digest[:8])


def cache_file() -> Path:
    """Returns where the published weights are kept: under XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxgan" / NAME


def download(url: str, target: Path, sha256: str) -> None:
    """Downloads a file; it appears at `target` when it is complete and has the right SHA-256, and not before.

    Raises:
      EvaluationError: it cannot be reached or written, or has another hash.
    """
    by_hand = f"download {url} by other means and pass it with --inception_weights FILE, or put it at {target}"
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=60) as response:
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=target.name, delete=False) as file:
                temporary = Path(file.name)
                _copy(response, file)
        if (found := _sha256(temporary)) != sha256:
            raise EvaluationError(
                f"{url} was downloaded with SHA-256 {found} instead of {sha256}, so it was not kept; {by_hand}."
            )
        os.replace(temporary, target)
    except (OSError, HTTPException) as error:
        raise EvaluationError(f"FID's Inception weights could not be downloaded ({error}); {by_hand}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _copy(response: HTTPResponse, file: IO[bytes]) -> None:
    size = int(response.headers.get("Content-Length") or 0)
    with Progress("downloading the Inception network", size // _MEGABYTE, unit="MB") as progress:
        while chunk := response.read(_MEGABYTE):
            file.write(chunk)
            progress.advance(len(chunk) // _MEGABYTE)


def _sha256(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read(file: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(file) if file.suffix == ".npz" else torch_file.read(file)
    except (torch_file.TorchFileError, ArrayFileError) as error:
        raise EvaluationError(
            f"{file} cannot be used as Inception weights ({str(error).rstrip('.')}); download {URL} again."
        ) from error


def _check(file: Path, arrays: Mapping[str, np.ndarray], dims: int, logits: bool) -> None:
    known = parameter_shapes()
    for name in known:
        if name in arrays and (arrays[name].shape != known[name] or arrays[name].dtype.kind != "f"):
            raise EvaluationError(
                f"{name} in {file} is {arrays[name].dtype} of shape {arrays[name].shape}, but FID's Inception has "
                f"floats of shape {known[name]}; download {URL}."
            )
    missing = [name for name in parameter_shapes(dims, logits=logits) if name not in arrays]
    if not missing:
        return
    usable = [str(d) for d in DIMS if all(name in arrays for name in parameter_shapes(d, logits=False))]
    asked = "the logits" if all(name in arrays for name in parameter_shapes(dims, logits=False)) else f"{dims} features"
    fix = f"use --feature_dims {' or '.join(usable)} and metrics that need no logits, or " if usable else ""
    raise EvaluationError(f"{file} lacks {missing[0]}, which {asked} need; {fix}download {URL}.")
