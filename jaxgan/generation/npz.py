"""Arrays larger than memory, written to an `.npz` file row by row."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Mapping

import numpy as np


def write_npz(
    path: str | os.PathLike[str],
    name: str,
    shape: tuple[int, ...],
    batches: Iterable[np.ndarray],
    others: Callable[[], Mapping[str, np.ndarray]],
) -> None:
    """Writes what `np.savez(path, name=np.concatenate(batches), **others())` would, holding one batch at a time.

    Args:
      path: the file; its folder exists.
      name: of the large array.
      shape: of the large array, float32.
      batches: its rows, in order.
      others: smaller arrays; called when the batches are exhausted, so they may be gathered meanwhile.

    Raises:
      ValueError: the batches do not fill the shape.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        count = 0
        with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            header = {"descr": np.dtype("<f4").str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for batch in batches:
                count += len(batch)
                if batch.shape[1:] != shape[1:] or count > shape[0]:
                    raise ValueError(f"a batch of shape {batch.shape} does not fit into the rest of {shape}.")
                file.write(np.ascontiguousarray(batch, "<f4").tobytes())
        if count != shape[0]:
            raise ValueError(f"{count} rows were given of {shape[0]}.")
        for key, value in others().items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
