"""The section on spectral normalisation: what the power iteration believes, and what is true."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxgan.commands.report_modules import look_up, structure
from jaxgan.commands.report_page import Markup, Section, note, table
from jaxgan.generation.run import Run
from jaxgan.layers.spectral_norm import SpectralVector, spectral_normalize


@dataclasses.dataclass(frozen=True)
class SpectralLayer:
    """A normalised layer of the raw weights.

    `singular_values` are those of the kernel as the matrix that is normalised, descending, in float64; `estimate` is
    the number that the layer divides by in evaluation mode.
    """

    network: str
    path: str
    shape: tuple[int, int]
    singular_values: np.ndarray
    estimate: float

    @property
    def normalized(self) -> float:
        """Largest singular value of the kernel that the layer applies; 1 is the aim."""
        return float(self.singular_values[0]) / self.estimate


def spectral_layers(run: Run) -> list[SpectralLayer]:
    """Returns every layer with spectral norm, network by network, in the order of their paths."""
    arguments: dict[tuple[str, str], dict[str, Any]] = {}
    for name in run.networks:
        for path, part in sorted(nnx.iter_modules(structure(run, name)), key=lambda item: list(map(str, item[0]))):
            u, settings = getattr(part, "u", None), getattr(part, "sn", None)
            if not isinstance(u, SpectralVector) or settings is None:
                continue
            weights = look_up(run.nets[name].params, path)
            is_table = "table" in weights
            arguments[name, ".".join(map(str, path))] = {
                "kernel": weights["table" if is_table else "kernel"],
                "u": look_up(run.nets[name].stats, path)["u"],
                "options": {
                    "num_iters": settings.num_iters,
                    "eps": settings.eps,
                    "axis": getattr(part, "axis", 0 if is_table else -1),
                },
            }
    estimates = _estimates(arguments)
    return [_layer(name, path, given, estimates[name, path]) for (name, path), given in arguments.items()]


def singular_values(matrix: np.ndarray) -> np.ndarray:
    """Returns the singular values of (M, N), descending, float64.

    They are the roots of the eigenvalues of the smaller Gram matrix: seconds where the decomposition itself takes
    minutes, at the price that values below 1e-8 of the largest are noise.
    """
    matrix = np.asarray(matrix, np.float64)
    gram = matrix.T @ matrix if matrix.shape[0] > matrix.shape[1] else matrix @ matrix.T
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))[::-1]


def spectra(run: Run) -> Section:
    """A table of all normalised layers."""
    layers = spectral_layers(run)
    if not layers:
        return Section("spectra", "Spectral norm", note("No layer of this run is spectrally normalised."))
    text = (
        "Raw weights. A normalised layer divides its kernel by the estimate of a few power iterations; where that has "
        "kept up with the training, the largest singular value of what the layer applies is 1."
    )
    widest = max(layer.normalized for layer in layers)
    rows = [
        [
            f"{layer.network}: {layer.path}", f"{layer.shape[0]} × {layer.shape[1]}", f"{layer.singular_values[0]:.4f}",
            f"{layer.estimate:.4f}", Markup(_bar(layer.normalized, widest)), Markup(_spark(layer.singular_values)),
        ]
        for layer in layers
    ]  # fmt: skip
    columns = ["layer", "matrix", "largest, kernel", "estimate", "largest, normalised", "all, over the largest"]
    return Section("spectra", "Spectral norm", note(text) + table(columns, rows, caption="Singular values"))


def _estimates(arguments: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], float]:
    """Runs what the layers run, all of them in one program."""
    names = list(arguments)
    options = [arguments[name]["options"] for name in names]

    @jax.jit
    def run_all(pairs: list[tuple[jax.Array, jax.Array]]) -> list[jax.Array]:
        return [spectral_normalize(kernel, u, **given)[2] for (kernel, u), given in zip(pairs, options, strict=True)]

    found = run_all([(arguments[name]["kernel"], arguments[name]["u"]) for name in names]) if names else []
    return {name: float(sigma) for name, sigma in zip(names, found, strict=True)}


def _layer(network: str, path: str, given: dict[str, Any], estimate: float) -> SpectralLayer:
    axis = given["options"]["axis"]
    kernel = np.asarray(jax.device_get(given["kernel"]))
    matrix = np.moveaxis(kernel, axis, -1).reshape(-1, kernel.shape[axis])
    return SpectralLayer(network, path, matrix.shape, singular_values(matrix), estimate)


def _bar(value: float, widest: float) -> str:
    share = 100 * value / widest if np.isfinite(value) and widest > 0 else 0
    return f'<span class="bar"><span style="width:{share:.1f}%"></span></span>{value:.4f}'


def _spark(values: np.ndarray) -> str:
    """A little curve of the singular values in descending order; flat is well conditioned."""
    if len(values) < 2 or not values[0] > 0:
        return ""
    shown = values[np.unique(np.round(np.linspace(0, len(values) - 1, 60)).astype(int))] / values[0]
    points = " ".join(f"{90 * i / (len(shown) - 1):.1f},{21 - 20 * value:.1f}" for i, value in enumerate(shown))
    return (
        f'<svg class="spark" viewBox="0 0 90 22" aria-hidden="true"><polyline class="line c0" points="{points}"/></svg>'
    )
