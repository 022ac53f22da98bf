"""`evaluations.jsonl`: every line whole, none of a future that a training left behind, none twice."""

import json

import pytest

from jaxgan.evaluation import records
from jaxgan.evaluation.protocol import Protocol

FID = Protocol(extractor="net", dims=8, seed=0, notes="few images")
KID = Protocol(extractor="net", dims=8, seed=0, kid_subsets=5)


def record(step, protocol=FID, **scores):
    return {"step": step, "protocol": str(protocol), **scores}


def steps(folder):
    return [(found["step"], found.get("fid", found.get("kid"))) for found in records.read(folder)]


def test_records_are_added(tmp_path):
    assert records.read(tmp_path) == []
    for step in (20, 10):
        records.write(tmp_path, record(step, fid=step / 3))
    records.write(tmp_path, record(20, KID, kid=0.5))
    assert steps(tmp_path) == [(20, 20 / 3), (10, 10 / 3), (20, 0.5)]
    assert len((tmp_path / "evaluations.jsonl").read_text().splitlines()) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["evaluations.jsonl"]


def test_the_same_evaluation_takes_the_place_of_the_old_one(tmp_path):
    for value, notes in ((1.0, None), (2.0, "few images")):
        for step in (1, 2):
            protocol = Protocol(extractor="net", dims=8, seed=0, notes=notes)
            records.write(tmp_path, record(step, protocol, fid=value + step))
    assert steps(tmp_path) == [(1, 3.0), (2, 4.0)]


def test_a_training_that_was_set_back_drops_its_former_future(tmp_path):
    for step in (1, 2, 3):
        records.write(tmp_path, record(step, fid=1.0))
        records.write(tmp_path, record(step, KID, kid=1.0))
    records.write(tmp_path, record(2, fid=5.0), drop_later=True)
    assert steps(tmp_path) == [(1, 1.0), (1, 1.0), (2, 5.0)]


@pytest.mark.parametrize("rest", ['{"step": 2, "fid": 1', '{"step": 2, "protocol": "x", "fid": 0.5}', "[1]\n", "\n"])
def test_lines_that_are_not_whole(tmp_path, rest):
    """As a kill in the middle of a write leaves them; the next line must not be glued to them."""
    records.write(tmp_path, record(1, fid=1.0))
    with open(tmp_path / "evaluations.jsonl", "a") as file:
        file.write(rest)
    assert steps(tmp_path) == [(1, 1.0)]
    records.write(tmp_path, record(3, fid=3.0))
    assert steps(tmp_path) == [(1, 1.0), (3, 3.0)]
    assert json.loads((tmp_path / "evaluations.jsonl").read_text().splitlines()[-1])["step"] == 3


def test_numbers_that_json_has_not(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        records.write(tmp_path, record(1, fid=float("nan")))
    assert records.read(tmp_path) == []


def test_finding_what_is_done():
    found = [record(1, fid=1.0), record(2, KID, kid=1.0, kid_std=0.1), {"step": 3, "protocol": "of old", "fid": 1.0}]
    assert records.find(found, 1, FID, ["fid"]) is found[0]
    assert records.find(found, 1, Protocol(extractor="net", dims=8, seed=0), ["fid"]) is found[0], "notes differ"
    assert records.find(found, 2, KID, ["kid", "kid_std"]) is found[1]
    for step, protocol, names in ((2, FID, ["fid"]), (1, KID, ["fid"]), (1, FID, ["fid", "cas"]), (3, FID, ["fid"])):
        assert records.find(found, step, protocol, names) is None
    assert records.find(found, 1, Protocol(extractor="net", dims=8, seed=1), ["fid"]) is None
