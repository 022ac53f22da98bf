"""nnabla's spectral norm in jaxgan's terms: the projection's vector, and the snapshots in old parameter files."""

from __future__ import annotations

import numpy as np

from jaxgan.commands.convert_arrays import Arrays


def class_side_vector(table: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Returns the spectral vector (num_classes,) with which jaxgan finds nnabla's sigma of the projection's table.

    nnabla's one iteration from its u (features,) gives sigma = |W' v|, v = W u / |W u|. One iteration from s on the
    classes' side gives |W W' s| / |W' s|. For s = a e_1 + b e_k, of the singular vectors of the largest singular
    value and of the largest one not above sigma, that is a closed form in a^2 / b^2; where nnabla's u has converged,
    s is e_1, as it would be after training here.

    Args:
      table: W (num_classes, features).
      u: nnabla's singular-vector (features,).
    """
    w = table.astype(np.float64)
    left, sizes, _ = np.linalg.svd(w, full_matrices=False)
    v = w @ u.astype(np.float64)
    sigma = min(float(np.linalg.norm(v / np.sqrt(v @ v + 1e-12) @ w)), float(sizes[0]))
    k = int(np.argmax(sizes <= sigma)) if (sizes <= sigma).any() else len(sizes) - 1
    top, low = sizes[0], sizes[k]
    towards_low = top**2 * max(top**2 - sigma**2, 0.0)
    towards_top = low**2 * max(sigma**2 - low**2, 0.0)
    total = towards_low + towards_top
    share = towards_top / total if total else 1.0  # a^2
    return (np.sqrt(share) * left[:, 0] + np.sqrt(1 - share) * left[:, k]).astype(np.float32)


def unlike_snapshots(arrays: Arrays, snapshots: Arrays, *, tolerance: float = 0.1) -> list[str]:
    """Names the snapshots that differ from their W / sigma by more than a fraction of its norm.

    A snapshot is one update older than its weight, hence the loose tolerance; 0.1 is far above what one Adam step at
    4e-4 moves, and far below the distance of another training's weights (about 1.4).
    """
    unlike = []
    for name, snapshot in snapshots.items():
        scope = name.removesuffix("/W_sn")
        w, u = arrays[f"{scope}/W"], arrays.get(f"{scope}/singular-vector")
        if u is None or snapshot.shape != w.shape:
            unlike.append(name)
            continue
        is_conv = w.ndim == 4
        matrix = (w.reshape(len(w), -1).T if is_conv else w).astype(np.float64)  # (inputs, outputs), u on the outputs
        v = matrix @ u
        expected = w / np.linalg.norm(v / np.linalg.norm(v) @ matrix)
        if not np.linalg.norm(snapshot - expected) <= tolerance * np.linalg.norm(expected):
            unlike.append(name)
    return unlike
