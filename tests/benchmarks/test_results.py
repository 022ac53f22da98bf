"""The table of results: what stands in it is what the runs' folders say."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import results, results_page
from benchmarks.rows import ROWS
from jaxgan import config_tree
from jaxgan.config import Config, ConfigError
from jaxgan.data.spec import DataSpec
from jaxgan.evaluation.protocol import Protocol
from jaxgan.generation.images import grid
from jaxgan.training.workdir import describe_data

RUN = {
    "git_revision": "0123456789abcdef",
    "devices": {"kind": "cpu", "count": 1},
    "versions": {"python": "3.11.7", "jax": "0.10.2"},
    "platform": "Linux-6.1-x86_64",
    "cpu_cores": 2,
    "data": {"num_images": 1797},
}
PROTOCOL = str(Protocol(extractor="inception-x", dims=768, num_samples=10, num_reference=20))
JUDGED = {"judge": "small", "num_samples": 10}


def write_workdir(folder, seed, fids, as_asked=0.5, **changes):
    """The files that a finished run leaves, without its checkpoints."""
    config = dataclasses.replace(Config(seed=seed, total_steps=4), **changes)
    (folder / "samples").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config_tree.to_dict(config)))
    (folder / "run.json").write_text(json.dumps(RUN))
    metrics = [{"step": 2, "images_seen": 128, "images_per_second": 64}, {"step": 3, "train/g_loss": 1.0}]
    metrics.append({"step": 4, "images_seen": 256, "images_per_second": 32})
    fid_lines = [{"step": step, "fid": fid, "protocol": PROTOCOL} for step, fid in fids.items()]
    judged = [{"step": 4, "recognised": 0.96, "shares": [0.4, 0.6], "as_asked": as_asked, "protocol": JUDGED}]
    for name, lines in (("metrics", metrics), ("evaluations", fid_lines), ("judgements", judged)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step in (2, 4):
        Image.fromarray(np.full((900, 1440), 20 * step, np.uint8)).save(folder / "samples" / f"step_{step:08d}.png")
    return folder


def test_a_row_holds_means_ranges_and_the_last_picture(tmp_path):
    runs = [write_workdir(tmp_path / str(seed), seed, {2: 3.0, 4: 1.0 + seed}, 0.98 + 0.01 * seed) for seed in (0, 1)]
    docs = tmp_path / "docs"
    docs.mkdir()
    assert results.main([f"--docs={docs}", "add", "digits", *map(str, runs)]) == 0
    row = json.loads((docs / "results.json").read_text())["digits"]
    assert row["train_seconds"] == [6.0, 6.0] and row["seeds"] == [0, 1] and row["images_seen"] == 256
    assert row["scores"]["fid-768"] == {"values": [1.0, 2.0], "protocol": PROTOCOL}
    assert row["scores"]["largest share"]["values"] == [0.6, 0.6]
    text = (docs / "results.md").read_text()
    assert "| fid-768 | 1.500 (1.000 ... 2.000) |  |" in text
    assert "| as_asked | 98.50% (98.00% ... 99.00%) | at least 98%: met |" in text
    assert f"- `{PROTOCOL}`" in text
    assert "- fid-768 along the training of seed 0: 3 (2), 1 (4)\n" in text
    assert "- fid-768 along the training of seed 1: 3 (2), 2 (4)\n" in text
    with Image.open(docs / "results" / "digits.webp") as image:
        assert image.size == (560, 350) and np.asarray(image).mean() == pytest.approx(80, abs=2)


def test_columns_of_a_grid_become_rows():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 16, 16, 3), np.uint8)  # rows, columns
    whole = grid(images.reshape(-1, 16, 16, 3), columns=8)
    chosen = grid(images[:, [1, 5]].swapaxes(0, 1).reshape(-1, 16, 16, 3), columns=3)
    np.testing.assert_array_equal(results.columns_as_rows(whole, (1, 5), of=8), chosen)


def test_pictures_of_translations_hold_no_image_of_the_data_set(tmp_path):
    """Only what a generator drew may go into the repository."""
    row = ROWS["cyclegan_maps_narrow"]
    config = results.expected_config(row)
    run = write_workdir(tmp_path / "a", 0, {4: 1.0}, method=config.method, model=config.model, data=config.data)
    side = config.data.resolution
    spec = DataSpec(side, side, 3, 0, (), 120, "0123456789abcdef", 120)
    (run / "run.json").write_text(json.dumps({"data": describe_data(spec)}))
    a, b, drawn = (np.full((side, side, 3), value, np.uint8) for value in (0, 80, 200))
    cells = [a, drawn, a, a, b, drawn, b, b] * 2  # input, translation, reconstruction, identity; of a, then of b
    Image.fromarray(grid(np.stack(cells), columns=8)).save(run / "samples" / "step_00000004.png")
    results.picture(run, tmp_path / "picture.webp", shown=row.shown)
    with Image.open(tmp_path / "picture.webp") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (2 * (side + 2) + 2, 2 * (side + 2) + 2, 3)
    assert not np.any((pixels > 60) & (pixels < 100)) and np.mean(pixels > 180) > 0.9


def test_a_score_that_was_taken_once_has_no_curve(tmp_path):
    one, twice = write_workdir(tmp_path / "one", 0, {4: 1.0}), write_workdir(tmp_path / "two", 0, {2: 3.0, 4: 1.0})
    page = {run.name: results_page.page({"digits": results.collect([run])}) for run in (one, twice)}
    assert "along the training" not in page["one"] and "- fid-768 along the training: 3 (2), 1 (4)\n" in page["two"]


def test_a_target_that_is_missed_says_so(tmp_path):
    row = results.collect([write_workdir(tmp_path / "a", 0, {4: 1.0}, 0.97)])
    row["scores"] |= {"taught": {"values": [0.97], "protocol": ""}}
    text = results_page.page({"sagan_mnist": row})
    assert "| as_asked | 97.00% | at least 98%: **missed** |" in text
    assert "| taught | 97.00% | at least 96%: met |" in text
    assert "| [sagan_mnist](#sagan_mnist) | `sagan_mnist` | 2 of 3 met | 0.1, 2 CPU cores |" in text
    assert "| [digits](#digits) | `digits` | not yet measured | meant for 2 CPU cores |" in text


def test_a_run_that_was_resumed_elsewhere_names_all_its_machines_and_revisions(tmp_path):
    """Its minutes, and perhaps its scores, are not those of the last start alone."""
    folder = write_workdir(tmp_path / "a", 0, {4: 1.0})
    here = {name: value for name, value in RUN.items() if name != "data"}
    earlier = [here | {"git_revision": "fedcba9876543210"}, here | {"cpu_cores": 1}]
    (folder / "run.json").write_text(json.dumps(RUN | {"earlier": earlier}))
    row = results.collect([folder])
    assert row["revisions"] == ["0123456789abcdef", "fedcba9876543210"]
    assert [machine["cpu_cores"] for machine in row["machines"]] == [2, 1]
    text = results_page.page({"sagan_mnist": row})
    assert "0.1 minutes at 42.7 images/s on 2 CPU cores and 1 CPU core (Linux, Python 3.11.7, jax 0.10.2)" in text
    assert "; commit 0123456, fedcba9." in text


def test_runs_that_do_not_belong_together_are_refused(tmp_path, capsys):
    one = write_workdir(tmp_path / "one", 0, {4: 1.0})
    with pytest.raises(ConfigError, match="batch_size"):
        results.collect([one, write_workdir(tmp_path / "other", 1, {4: 1.0}, batch_size=32)])
    with pytest.raises(ConfigError, match="not evaluated alike"):
        results.collect([one, write_workdir(tmp_path / "third", 1, {2: 1.0})])
    with pytest.raises(ConfigError, match="trained 4 of 9 steps"):
        results.collect([write_workdir(tmp_path / "young", 0, {}, total_steps=9)])
    assert results.main([f"--docs={tmp_path}", "add", "digits", str(tmp_path / "nothing")]) == 2
    assert "cannot be read; give the folders of finished runs" in capsys.readouterr().err


def test_the_page_is_what_the_figures_say():
    path = results.DOCS / "results.json"
    if not path.exists():
        pytest.skip("no result has been added yet")
    rows = json.loads(path.read_text())
    assert (results.DOCS / "results.md").read_text() == results_page.page(rows)
    assert results.split_readme((results.DOCS.parent / "README.md").read_text())[1] == results_page.readme_table(rows)
    for name, row in rows.items():
        results.check_row(name, row)
        assert Path(results.DOCS / "results" / f"{name}.webp").stat().st_size < 200_000


def test_a_row_of_other_settings_is_refused(tmp_path):
    row = results.collect([write_workdir(tmp_path / "a", 0, {4: 1.0})])
    with pytest.raises(ConfigError, match=r"config.total_steps \(4 instead of 1400\).*the seeds \(\[0\] instead of"):
        results.check_row("digits", row)
    with pytest.raises(ConfigError, match="digit is no row"):
        results.check_row("digit", row)
    row |= {"config": results._anywhere(results.expected_config(ROWS["digits"])), "seeds": [0, 1, 2]}
    results.check_row("digits", row)


def test_the_readme_has_the_headlines(tmp_path):
    runs = [write_workdir(tmp_path / str(seed), seed, {4: 1.0 + seed}, 0.98) for seed in (0, 1)]
    path = tmp_path / "README.md"
    path.write_text(f"before\n{results._BEGIN}old\n{results._END}\nafter\n")
    results.write_readme(path, {"sagan_mnist": results.collect(runs)})
    before, table, after = results.split_readme(path.read_text())
    assert (before, after) == (f"before\n{results._BEGIN}", f"{results._END}\nafter\n")
    row = table.splitlines()[-1]
    assert row.startswith(
        "| [sagan_mnist](docs/results.md#sagan_mnist) | fid-768 1.500 (1.000 ... 2.000); recognised 96.00%"
    )
    assert "; as_asked 98.00% (98.00% ... 98.00%), at least 98%: met | 2 | 0.1 (0.1 ... 0.1), 2 CPU cores |" in row
    assert "as_asked_lowest" not in row and "share" not in row


def test_the_projects_docs_are_guarded_however_they_are_spelt(tmp_path, monkeypatch, capsys):
    run = write_workdir(tmp_path / "a", 0, {4: 1.0})
    monkeypatch.chdir(results.DOCS.parent)
    monkeypatch.setattr(results, "picture", lambda *arguments: pytest.fail("refused before anything is written"))
    assert results.main(["--docs=docs", "add", "digits", str(run)]) == 2
    assert "are not those of the row digits" in capsys.readouterr().err


def test_a_bound_that_was_not_taken_is_not_met():
    scores = {"fid-768 a2b": {"values": [1.0]}}
    (target, _) = ROWS["cyclegan_maps_narrow"].targets
    assert not results_page.met(target, scores)
    assert results_page._said(target, scores) == "at most untranslated fid-768 a2b: **missed**"
    scores |= {"untranslated fid-768 a2b": {"values": [2.0]}}
    assert results_page.met(target, scores)
    assert results_page._said(target, scores) == "at most untranslated fid-768 a2b (2.000): met"
