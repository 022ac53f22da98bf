"""The section on self-attention: where chosen pixels look, and how much of it the gates let through."""

from __future__ import annotations

import dataclasses
import html
from typing import Any

import jax
import numpy as np
from flax import nnx
from PIL import Image

from jaxgan.commands.report_modules import look_up, structure, with_values
from jaxgan.commands.report_page import Section, note, table
from jaxgan.commands.report_pictures import enlarge, picture
from jaxgan.commands.report_samples import Drawn
from jaxgan.core.state import Average
from jaxgan.generation import images as images_lib
from jaxgan.generation.run import Run
from jaxgan.layers.attention import SelfAttention

_NUM_IMAGES = 4
_QUERIES = ((0.3, 0.3), (0.3, 0.7), (0.5, 0.5), (0.7, 0.3), (0.7, 0.7))  # (down, across), as parts of the sides
_SIDE = 96  # pixels of a tile, at least
_PICTURE_BYTES = 2**20
_HEAT = np.array([[10, 8, 40], [95, 20, 110], [200, 55, 70], [250, 150, 40], [255, 250, 190]], np.float64)
_MARK = (0, 255, 255)


@dataclasses.dataclass(frozen=True)
class AttentionMap:
    """Weights of chosen query pixels of one layer: float32 (B, Q, h, w) over the keys' map, each summing to 1.

    `size` is (H, W) of the map that the queries are pixels of, `queries` their (row, column).
    """

    network: str
    size: tuple[int, int]
    queries: tuple[tuple[int, int], ...]
    weights: np.ndarray


def attention_maps(run: Run, drawn: Drawn, rows: np.ndarray) -> list[AttentionMap]:
    """Returns the maps of G (drawing these samples) and of D (looking at them), of networks that have any.

    Args:
      run: an opened run.
      drawn: samples.
      rows: numbers of the samples.
    """
    variables = run.variables()
    z, labels = drawn.z[rows], drawn.labels[rows]
    images = drawn.images[rows].astype(np.float32) / 127.5 - 1.0
    found = []
    for name, inputs in (("g", (z, labels)), ("d", (images,))):
        if name in run.networks:
            module = structure(run, name)
            if hasattr(module, "attention_maps") and _layers(module):
                found += [_select(name, size, weights) for size, weights in _run(module, variables[name], inputs)]
    return found


def attention(run: Run, drawn: Drawn) -> Section:
    """Pictures of the maps, and a table of the gates."""
    gates = [(name, path, raw, ema) for name in run.networks for path, raw, ema in _gates(run, name)]
    if not gates:
        return Section("attention", "Attention", note("The networks of this run have no self-attention."))
    rows = drawn.first_column(_NUM_IMAGES)
    parts = [_figure(one, drawn.images[rows]) for one in attention_maps(run, drawn, rows)]
    body = [[f"{name}: {path}", f"{raw:+.4f}", "" if ema is None else f"{ema:+.4f}"] for name, path, raw, ema in gates]
    text = "A layer adds its attention times the gate to its input: at 0 it changes nothing."
    gate_table = table(["layer", "raw", "averaged"], body)
    return Section("attention", "Attention", f"{''.join(parts)}<h3>Gates</h3>{note(text)}{gate_table}")


def _gates(run: Run, name: str) -> list[tuple[str, float, float | None]]:
    """Returns (path, gate, gate of the averaged weights) of every attention layer."""
    found = []
    for path in _layers(structure(run, name)):
        raw = float(look_up(run.nets[name].params, path)["gate"])
        ema = float(look_up(run.ema[name].params, path)["gate"]) if name in run.ema else None
        found.append((".".join(map(str, path)), raw, ema))
    return sorted(found)


def _layers(module: nnx.Module) -> list[tuple[Any, ...]]:
    """Returns the paths of the attention layers."""
    return [path for path, part in nnx.iter_modules(module) if isinstance(part, SelfAttention)]


def _run(module: Any, variables: Average, inputs: tuple[Any, ...]) -> list[tuple[str, np.ndarray]]:
    """Returns ("8x8", weights of the chosen queries (B, Q, keys)) of every layer; only those leave the device."""

    @jax.jit
    def maps(variables: Average, *inputs: Any) -> dict[str, jax.Array]:
        found = with_values(module, variables).attention_maps(*inputs)  # pyright: ignore[reportAttributeAccessIssue]
        return {
            size: weights[:, np.array([row * _sides(size)[1] + column for row, column in _pixels(size)])]
            for size, weights in found.items()
        }

    found = jax.device_get(maps(variables, *jax.device_put(inputs)))
    return sorted(found.items(), key=lambda item: _sides(item[0]))


def _select(network: str, size: str, weights: np.ndarray) -> AttentionMap:
    height, width = _sides(size)
    pooling = 1 if weights.shape[2] == height * width else 2
    keys = weights.reshape(*weights.shape[:2], height // pooling, width // pooling)
    return AttentionMap(network, (height, width), _pixels(size), keys)


def _sides(size: str) -> tuple[int, int]:
    height, width = size.split("x")
    return int(height), int(width)


def _pixels(size: str) -> tuple[tuple[int, int], ...]:
    height, width = _sides(size)
    return tuple((int(down * height), int(across * width)) for down, across in _QUERIES)


def _figure(found: AttentionMap, images: np.ndarray) -> str:
    role = {"g": "The generator", "d": "The discriminator"}[found.network]
    height, width = found.weights.shape[2:]
    caption = (
        f"{role} at {found.size[0]} × {found.size[1]}: one image per row, then where its marked pixel takes from; "
        f"brightest = the largest weight of the map, {_largest(found)}; equal ones would be {1 / (height * width):.4f}."
    )
    image = picture(_tiles(found, images), f"attention maps: {caption}", budget=_PICTURE_BYTES)
    return f'<figure class="wide"><figcaption>{html.escape(caption)}</figcaption>{image}</figure>'


def _largest(found: AttentionMap) -> str:
    largest = found.weights.max(axis=(2, 3))
    return f"{largest.min():.3f} to {largest.max():.3f}"


def _tiles(found: AttentionMap, images: np.ndarray) -> np.ndarray:
    """Returns uint8 (H', W', 3): a row per image."""
    colored = images.repeat(3, axis=3) if images.shape[3] == 1 else images[..., :3]
    large = enlarge(colored, _SIDE)
    tiles = []
    for image, maps in zip(large, found.weights, strict=True):
        tiles.append(image)
        tiles += [_overlay(image, one, pixel, found.size) for one, pixel in zip(maps, found.queries, strict=True)]
    return images_lib.grid(np.stack(tiles), columns=1 + len(found.queries), padding=4)


def _overlay(image: np.ndarray, weights: np.ndarray, pixel: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Lays a map over uint8 (H, W, 3) and marks its query pixel."""
    height, width = image.shape[:2]
    scaled = Image.fromarray((weights / max(float(weights.max()), 1e-30)).astype(np.float32))
    heat = np.asarray(scaled.resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)
    at = heat * (len(_HEAT) - 1)
    low = np.minimum(at.astype(int), len(_HEAT) - 2)
    color = _HEAT[low] + (at - low)[..., None] * (_HEAT[low + 1] - _HEAT[low])
    shown = np.round(0.3 * image.mean(axis=2, keepdims=True) + 0.7 * color).astype(np.uint8)
    top, left = (pixel[axis] * image.shape[axis] // size[axis] for axis in (0, 1))
    bottom, right = ((pixel[axis] + 1) * image.shape[axis] // size[axis] for axis in (0, 1))
    bottom, right = max(bottom, top + 4), max(right, left + 4)
    inside = shown[top + 2 : bottom - 2, left + 2 : right - 2].copy()
    shown[top:bottom, left:right] = _MARK
    shown[top + 2 : bottom - 2, left + 2 : right - 2] = inside
    return shown
