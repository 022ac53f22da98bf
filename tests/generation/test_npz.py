"""Files written row by row are those that NumPy writes at once."""

import numpy as np
import pytest

from jaxgan.generation.npz import write_npz


def test_rows_and_other_arrays_come_back(tmp_path):
    rows = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    seen = []

    def batches():
        for batch in (rows[:2], rows[2:4].astype(np.float64), rows[4:]):
            seen.append(len(batch))
            yield batch

    write_npz(tmp_path / "a.npz", "images", rows.shape, batches(), lambda: {"sizes": np.array(seen)})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert set(file) == {"images", "sizes"}
        assert np.array_equal(file["images"], rows) and file["images"].dtype == np.float32
        assert list(file["sizes"]) == [2, 2, 1], "asked for when the rows are written"


@pytest.mark.parametrize(
    ("batches", "text"),
    [
        ([np.zeros((2, 3))], "2 rows were given of 4"),
        ([np.zeros((2, 4))], r"shape \(2, 4\) does not fit"),
        ([np.zeros((3, 3)), np.zeros((2, 3))], r"shape \(2, 3\) does not fit"),
    ],
)
def test_rows_that_do_not_fill_the_array(tmp_path, batches, text):
    with pytest.raises(ValueError, match=text):
        write_npz(tmp_path / "a.npz", "images", (4, 3), batches, dict)
