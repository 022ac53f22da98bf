"""Precision, recall, density and coverage: how two sets of features lie within each other's neighbourhoods.

Precision and recall: Kynkäänniemi et al. 2019 (arXiv:1904.06991), equations 1 and 2. Density and coverage: Naeem et al.
2020 (arXiv:2002.09797), equations 4 and 6.

Distances are computed in blocks, in float32 on all devices (of all processes). Where float32 cannot tell on which side
of a ball a point lies, the pair is computed again in float64 on the host from the differences, so ties and duplicates
are decided as if everything had been exact.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.config import MeshConfig
from jaxgan.core.sharding import make_mesh, replicated
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.statistics import feature_pair

_BLOCK_ENTRIES = 2**26  # of a block of distances: 256 MiB in float32
_EXACT_ENTRIES = 2**23  # of a chunk of float64 differences: 64 MiB
_FLOAT64_ROWS = 128  # of a block of float64 distances on the host: 50 MiB for 50,000 columns
_SPARE = 8  # neighbours beyond k whose distances are computed exactly before the k-th is chosen
# Bound on the error of |x|^2 + |y|^2 - 2 x.y in float32, relative to |x|^2 + |y|^2: about 80 roundings, where a sum of
# 2048 terms comes to 30.
_TOLERANCE = 1e-5


def prdc(
    reference: Any, generated: Any, *, k: int = 5, progress: Callable[[int], None] = lambda n: None
) -> dict[str, float]:
    """Returns {"precision", "recall", "density", "coverage"}.

    A ball around a point reaches to its k-th neighbour, the point itself not counted. Points lie within it if they are
    strictly nearer (`<`), for all four numbers, as in the `prdc` package; torch-fidelity's precision and recall use
    `<=`, which differs only for points exactly on a ball, e.g. copies of real images.

    Args:
      reference: real features (N, D).
      generated: generated features (M, D).
      k: which neighbour; 5 in the paper of density and coverage, 3 in that of precision and recall.
      progress: called with the number of rows just finished; they add up to 2 N + M.

    Raises:
      EvaluationError: for k that no set of these sizes has, or unlike numbers of features.
    """
    real, fake = feature_pair(reference, generated)
    smallest = min(len(real), len(fake))
    if not 1 <= k < smallest:
        raise EvaluationError(
            f"k (={k}) must lie in 1 ... {smallest - 1}, as the smaller set has {smallest} images; lower k."
        )
    centre = real.mean(axis=0, dtype=np.float64)  # near the middle less is cancelled
    scale = max(_largest_norm(real, centre), _largest_norm(fake, centre)) or 1.0
    real_set, fake_set = _Points(real, centre, scale), _Points(fake, centre, scale)
    real_radii, fake_radii = _radii(real_set, k, progress), _radii(fake_set, k, progress)
    return _scores(real_set, fake_set, real_radii, fake_radii, k, progress)


class _Points:
    """A set of points: as given for exact distances, and as float32 of at most unit length for the devices."""

    def __init__(self, exact: np.ndarray, centre: np.ndarray, scale: float):
        self.exact, self.centre, self.scale = exact, centre, scale
        self.unit = np.empty(exact.shape, np.float32)
        self.squares = np.empty(len(exact), np.float32)
        for rows in _chunks(len(exact), exact.shape[1]):
            unit = self.float64(rows)
            self.unit[rows], self.squares[rows] = unit, np.sum(unit**2, axis=1)

    def __len__(self) -> int:
        return len(self.exact)

    def float64(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns rows of `unit` before they were rounded to float32."""
        return (self.exact[rows].astype(np.float64) - self.centre[None, :]) / self.scale

    def squared_distances(self, i: np.ndarray, other: _Points, j: np.ndarray) -> np.ndarray:
        """Returns float64 |self_i - other_j|^2; exchanging the sets gives the same bits."""
        result = np.empty(len(i))
        for rows in _chunks(len(i), self.exact.shape[1]):
            difference = self.exact[i[rows]].astype(np.float64) - other.exact[j[rows]].astype(np.float64)
            result[rows] = np.sum(difference * difference, axis=1)
        return result


def _radii(points: _Points, k: int, progress: Callable[[int], None]) -> np.ndarray:
    """Returns float64 (N,): squared distances to the k-th other point."""
    count = min(k + _SPARE, len(points) - 1)
    mesh = make_mesh(MeshConfig())
    columns = [_put(mesh, array, ()) for array in (points.unit, points.squares)]
    nearest = _nearest_program(mesh, count)
    radii = np.empty(len(points))
    for start, stop, rows in _row_blocks(mesh, len(points), len(points), points.unit, points.squares):
        index = _put(mesh, start + np.arange(rows[0].shape[0], dtype=np.int32), ("data",))
        candidates, farthest = (np.asarray(found)[: stop - start] for found in nearest(index, *rows, *columns))
        own = np.arange(start, stop)
        radii[own] = _kth_distance(points, own, candidates, k)
        if count < len(points) - 1:
            error = _TOLERANCE * (points.squares[own] + points.squares.max())
            # Where a point beyond the candidates may be nearer; nothing is nearer than a copy.
            unsure = own[(radii[own] > 0) & (radii[own] / points.scale**2 > farthest - error)]
            for some in np.array_split(unsure, -(-len(unsure) // _FLOAT64_ROWS) or 1):
                radii[some] = _kth_distance(points, some, _float64_candidates(points, some, count), k)
        progress(stop - start)
    return radii


def _kth_distance(points: _Points, i: np.ndarray, candidates: np.ndarray, k: int) -> np.ndarray:
    """Returns float64 (len(i),): the k-th smallest squared distance of each point to its candidates (len(i), C)."""
    count = candidates.shape[1]
    exact = points.squared_distances(np.repeat(i, count), points, candidates.ravel()).reshape(len(i), count)
    return np.partition(exact, k - 1, axis=1)[:, k - 1]


def _float64_candidates(points: _Points, i: np.ndarray, count: int) -> np.ndarray:
    """Returns (len(i), count): the nearest other points, for clusters so tight that float32 does not resolve them."""
    x = points.float64(i)
    distances = np.empty((len(i), len(points)))
    for columns in _chunks(len(points), x.shape[1]):
        y = points.float64(columns)
        distances[:, columns] = np.sum(y**2, axis=1)[None, :] - 2.0 * x @ y.T  # |x|^2 orders nothing
    distances[np.arange(len(i)), i] = np.inf
    return np.argpartition(distances, count - 1, axis=1)[:, :count]


def _scores(
    real: _Points,
    fake: _Points,
    real_radii: np.ndarray,
    fake_radii: np.ndarray,
    k: int,
    progress: Callable[[int], None],
) -> dict[str, float]:
    covered, recalled = np.zeros(len(real), bool), np.zeros(len(real), bool)
    num_balls = np.zeros(len(fake), np.int64)  # real balls that hold each generated point
    mesh = make_mesh(MeshConfig())
    columns = [_put(mesh, array, ()) for array in (fake.unit, fake.squares, _device_radii(fake, fake_radii))]
    compare, device_radii = _compare_program(mesh), _device_radii(real, real_radii)
    for start, stop, rows in _row_blocks(mesh, len(real), len(fake), real.unit, real.squares, device_radii):
        sure = compare(*rows, *columns)
        size = stop - start
        covered[start:stop] = np.asarray(sure["row_in_real"])[:size]
        recalled[start:stop] = np.asarray(sure["row_in_fake"])[:size]
        num_balls += np.asarray(sure["num_balls"])
        i, j = np.nonzero(np.asarray(sure["unsure_real"])[:size])
        inside = real.squared_distances(i + start, fake, j) < real_radii[i + start]
        covered[i[inside] + start] = True
        np.add.at(num_balls, j[inside], 1)
        i, j = np.nonzero(np.asarray(sure["unsure_fake"])[:size])
        inside = real.squared_distances(i + start, fake, j) < fake_radii[j]
        recalled[i[inside] + start] = True
        progress(size)
    return {
        "precision": float(np.mean(num_balls > 0)),
        "recall": float(np.mean(recalled)),
        "density": float(np.mean(num_balls) / k),
        "coverage": float(np.mean(covered)),
    }


@functools.lru_cache(maxsize=8)
def _nearest_program(mesh: Mesh, count: int) -> Any:
    """Returns (row index, rows, squares, columns, squares) -> the nearest other columns, the distance of the last.

    These are int32 (rows, count) and float32 (rows,).
    """

    def nearest(index, x, x2, y, y2):
        distances = _float32_distances(x, x2, y, y2)
        own = index[:, None] == jnp.arange(y.shape[0], dtype=jnp.int32)[None, :]
        negative, columns = jax.lax.top_k(-jnp.where(own, jnp.inf, distances), count)
        return columns, -negative[:, -1]

    return jax.jit(nearest, out_shardings=replicated(mesh))


@functools.lru_cache(maxsize=8)
def _compare_program(mesh: Mesh) -> Any:
    """Returns (rows, squares, radii, columns, squares, radii) -> which points surely lie in which balls."""

    def compare(x, x2, x_radii, y, y2, y_radii):
        distances, error = _float32_distances(x, x2, y, y2), _TOLERANCE * (x2[:, None] + y2[None, :])
        beyond_x, beyond_y = distances - x_radii[:, None], distances - y_radii[None, :]
        return {
            "row_in_real": jnp.any(beyond_x < -error, axis=1),
            "row_in_fake": jnp.any(beyond_y < -error, axis=1),
            "num_balls": jnp.sum(beyond_x < -error, axis=0, dtype=jnp.int32),
            "unsure_real": jnp.abs(beyond_x) <= error,
            "unsure_fake": jnp.abs(beyond_y) <= error,
        }

    return jax.jit(compare, out_shardings=replicated(mesh))


def _float32_distances(x: jax.Array, x2: jax.Array, y: jax.Array, y2: jax.Array) -> jax.Array:
    products = jnp.dot(x, y.T, precision=jax.lax.Precision.HIGHEST)  # the default of accelerators has 10 bits or less
    return jnp.maximum(x2[:, None] + y2[None, :] - 2.0 * products, 0.0)


def _device_radii(points: _Points, radii: np.ndarray) -> np.ndarray:
    # Nothing is strictly nearer than 0, so a ball without a radius needs no exact distances: with thousands of copies
    # of one image there would be millions.
    return np.where(radii > 0, radii / points.scale**2, -np.inf).astype(np.float32)


def _row_blocks(
    mesh: Mesh, num_rows: int, num_columns: int, *arrays: np.ndarray
) -> Iterator[tuple[int, int, list[jax.Array]]]:
    """Yields (start, stop, rows on the devices), the last block filled up with zeros.

    The distances of the filling are never used, and a radius of 0 surely holds nothing.
    """
    most = max(1, min(_BLOCK_ENTRIES // num_columns, num_rows) // mesh.size)
    size = mesh.size * min(most, -(-num_rows // mesh.size))
    for start in range(0, num_rows, size):
        stop = min(start + size, num_rows)
        fill = start + size - stop
        rows = [
            np.concatenate([array[start:stop], np.zeros((fill, *array.shape[1:]), array.dtype)]) for array in arrays
        ]
        yield start, stop, [_put(mesh, array, ("data",)) for array in rows]


def _put(mesh: Mesh, array: np.ndarray, spec: tuple[str, ...]) -> jax.Array:
    """Every process holds the whole array on its host; each device gets its part."""
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, PartitionSpec(*spec)), lambda at: array[at])


def _largest_norm(points: np.ndarray, centre: np.ndarray) -> float:
    chunks = (points[rows].astype(np.float64) - centre[None, :] for rows in _chunks(*points.shape))
    return max(float(np.sqrt(np.max(np.sum(chunk**2, axis=1)))) for chunk in chunks)


def _chunks(count: int, dim: int) -> Iterator[slice]:
    size = max(1, _EXACT_ENTRIES // dim)
    return (slice(start, start + size) for start in range(0, count, size))
