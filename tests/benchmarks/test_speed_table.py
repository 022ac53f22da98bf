"""Several presets in one table: rows in closed form, failures named, and the command line."""

import json

import pytest

from benchmarks import speed_table
from benchmarks.cases import PRESETS


def side(name, ratio=None, **changes):
    figures = {
        "images_per_second": 123.4, "share_of_peak": 0.354, "memory_bytes": 3 * 2**29, "start_seconds": 12.6,
    }  # fmt: skip
    return {"side": name, "ratio": ratio} | figures | changes


def report(case, *results):
    return {
        "case": case, "results": list(results), "devices": {"kind": "a device"}, "cpu_cores": 3, "git_revision": "abc",
        "versions": {"jax": "1", "torch": "2"}, "plan": {"rounds": 5, "steps": 3}, "float32_precision": "TF32",
        "peak_source": "data sheet",
    }  # fmt: skip


RATIO = {"median": 1.5, "min": 1.25, "max": 2.0}
EAGER = {"dtype": "float32", "notes": [], "sides": [side("jaxgan"), side("PyTorch eager", RATIO)]}
ALONE = {
    "dtype": "bfloat16",
    "notes": ["no peer"],
    "sides": [side("jaxgan", share_of_peak=None, memory_bytes=None)],
}


def test_rows():
    table = speed_table.format_table([report("one", EAGER), report("two", ALONE)]).splitlines()
    assert table[2] == "| `one` float32 | 123 | 35% | 1.50 GiB | 13 s | 1.50 (1.25 ... 2.00) | not measured |"
    assert table[3] == "| `two` bfloat16 | 123 | - | - | 13 s | not measured | not measured |"
    assert table[0].count("|") == table[1].count("|") == table[2].count("|")
    described = [line for line in table if "a device, 3 CPU cores; jax 1, torch 2, revision abc; 5 rounds of 3" in line]
    assert len(described) == 1  # the same for both
    assert table[-1] == "two, bfloat16: no peer"


def test_a_failing_preset_does_not_lose_the_others():
    def time(preset, arguments):
        if preset == "bad":
            raise RuntimeError("out of luck")
        return report(preset, *arguments)

    reports, problems = speed_table.time_presets(["bad", "good"], [EAGER], time)
    assert [each["case"] for each in reports] == ["good"] and reports[0]["results"] == [EAGER]
    assert problems == ["bad is left out: out of luck"]


def test_command_line(monkeypatch, tmp_path, capsys):
    asked = []

    def time(presets, arguments):
        asked.append((presets, arguments))
        return [report(name, EAGER) for name in presets], ["x is left out: y"][: len(asked) - 1]

    monkeypatch.setattr(speed_table, "time_presets", time)
    path = tmp_path / "speed.json"
    assert speed_table.main(["--presets", "all", "--rounds=2", f"--json={path}"]) == 0
    assert asked == [(list(PRESETS), ["--rounds=2"])]
    timed = capsys.readouterr().out
    assert speed_table.main(["--read", str(path)]) == 0
    assert capsys.readouterr().out == timed and timed.count("| `") == len(PRESETS)
    assert json.loads(path.read_text())[0]["results"] == [EAGER]
    assert speed_table.main(["--presets", "dcgan64"]) == 1
    assert "x is left out: y" in capsys.readouterr().err


def test_mistakes_are_one_sentence(capsys):
    for argv in (["--read", "no/such.json"], ["--presets", "dcgan64", "--json=no/such/folder/x.json"]):
        assert speed_table.main(argv) == 2
        found = capsys.readouterr()
        assert found.out == "" and found.err.startswith("speed_table: ") and found.err.count("\n") == 1


def test_a_process_that_fails_is_reported_with_its_last_line():
    with pytest.raises(RuntimeError, match="config.batch_size"):
        speed_table.time_preset("dcgan64", ["--set", "batch_size=0"])
