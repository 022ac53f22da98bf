"""Fixed-size records: where the bytes of a file are computed to lie, its own library finds them too."""

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader

from jaxgan.data.records import RecordError, RecordFile, RecordWriter


def write(path, count, size, seed=0):
    records = np.random.default_rng(seed).integers(0, 256, (count, size), np.uint8)
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    return records


def read(path, count, size, indices, *, direct):
    rows = np.zeros((len(indices), size), np.uint8)
    RecordFile(path, count, size, direct=direct).read_into(rows, range(len(indices)), indices)
    return rows


# 64 KiB blocks with 24 bytes of header: sizes around them, and around the steps of the size's own length (127, 16383).
@pytest.mark.parametrize(
    "size, count",
    [(1, 40), (48, 3000), (127, 800), (128, 800), (3072, 120), (16_383, 30), (16_384, 30), (49_152, 20), (65_511, 9),
     (65_512, 9), (65_513, 9), (196_608, 5), (700_000, 3)],
)  # fmt: skip
def test_records_lie_where_they_are_computed_to(tmp_path, size, count):
    path = tmp_path / "x.array_record"
    records = write(path, count, size)
    order = np.random.default_rng(1).permutation(count).tolist()
    for direct in (True, False):
        np.testing.assert_array_equal(read(path, count, size, order, direct=direct), records[order])


def test_the_format_is_array_record(tmp_path):
    records = write(tmp_path / "x", 7, 100)
    reader = ArrayRecordReader(str(tmp_path / "x"))
    assert [bytes(record) for record in reader.read_all()] == [record.tobytes() for record in records]
    assert "group_size:1" in reader.writer_options_string() and "uncompressed" in reader.writer_options_string()
    reader.close()


def test_rows_and_records_are_paired(tmp_path):
    records = write(tmp_path / "x", 10, 70_000)
    for direct in (True, False):
        rows = np.zeros((4, 70_000), np.uint8)
        RecordFile(tmp_path / "x", 10, 70_000, direct=direct).read_into(rows, [3, 0], [1, 9])
        np.testing.assert_array_equal(rows[[3, 0]], records[[1, 9]])
        assert not rows[1:3].any()


def test_files_that_end_early(tmp_path):
    write(tmp_path / "x", 5, 50_000)
    content = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(content[:120_000])
    with pytest.raises(RecordError, match=r"record 2 ends after \d+ of 50024 bytes"):
        read(tmp_path / "x", 5, 50_000, [0, 2], direct=True)
    with pytest.raises(OSError):
        read(tmp_path / "x", 5, 50_000, [0, 2], direct=False)


def test_records_of_another_size_are_refused_by_the_library_path(tmp_path):
    write(tmp_path / "x", 5, 60)
    with pytest.raises(RecordError, match="record 0 has 60 bytes instead of 61"):
        read(tmp_path / "x", 5, 61, [0], direct=False)
