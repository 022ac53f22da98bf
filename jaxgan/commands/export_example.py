"""The script that `python -m jaxgan export` puts beside a generator: how to draw with it, without jaxgan."""

from __future__ import annotations

FILE_NAME = "example.py"

_TEXT = '''\
"""Draws images with generator.stablehlo; needs `pip install "jax>={jax_version}" flatbuffers` and nothing else.

z: float32 (N, {latent_dim}), standard normal, any N >= 1.
labels: int32 (N,), {labels}; others are not refused.
images: float32 (N, {height}, {width}, {channels}) in [-1, 1]; pixels are round((images + 1) * 127.5).

An older JAX may be unable to read the file. Devices whose matrix products round to TF32 or bfloat16 differ more from
check.npz than the machine that wrote it.
"""

import pathlib

import jax
import jax.export
import numpy as np

folder = pathlib.Path(__file__).resolve().parent
generator = jax.export.deserialize(bytearray((folder / "generator.stablehlo").read_bytes()))
generate = jax.jit(generator.call)  # compiles once for every batch size

check = np.load(folder / "check.npz")  # z, labels, and the images that the run itself drew of them
images = np.asarray(generate(check["z"], check["labels"]))
print(images.shape, "differ from the run's own by at most", np.abs(images - check["images"]).max())
'''

_TRANSLATING = '''\
"""Translates images ({direction}) with generator.stablehlo; needs `pip install "jax>={jax_version}" flatbuffers` alone.

images: float32 {shape} in [-1, 1], i.e. pixels / 127.5 - 1; any b >= 1{sizes}.
translations: float32 of the same shape in [-1, 1]; pixels are round((translations + 1) * 127.5).

A generator with dropout draws that of an image from its place in the batch (and seed {seed} of the export): the same
images in the same places always have the same translations. An older JAX may be unable to read the file. Devices whose
matrix products round to TF32 or bfloat16 differ more from check.npz than the machine that wrote it.
"""

import pathlib

import jax
import jax.export
import numpy as np

folder = pathlib.Path(__file__).resolve().parent
generator = jax.export.deserialize(bytearray((folder / "generator.stablehlo").read_bytes()))
translate = jax.jit(generator.call)  # compiles once for every shape

check = np.load(folder / "check.npz")  # images, and the translations that the run itself made of them
translations = np.asarray(translate(check["images"]))
print(translations.shape, "differ from the run's own by at most", np.abs(translations - check["translations"]).max())
'''


def translating(*, jax_version: str, direction: str, shape: str, seed: int) -> str:
    """Returns the script for a generator that translates images of this shape, e.g. `(b, 4*h, 4*w, 3)`."""
    sizes = ", and any sides of this form from 8 pixels on" if "h" in shape else ""
    return _TRANSLATING.format(jax_version=jax_version, direction=direction, shape=shape, sizes=sizes, seed=seed)


def text(*, jax_version: str, latent_dim: int, num_classes: int, height: int, width: int, channels: int) -> str:
    """Returns the script for a generator of these inputs and images (pixels, channels)."""
    labels = f"classes 0 ... {num_classes - 1}" if num_classes else "zeros, for it was trained without classes"
    return _TEXT.format(
        jax_version=jax_version,
        latent_dim=latent_dim,
        labels=labels,
        height=height,
        width=width,
        channels=channels,
    )
