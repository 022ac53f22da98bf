"""The sections of a report one by one: how charts are grouped, what is thinned, and what stands for missing parts."""

import datetime
import html.parser
import json
import re

import numpy as np
import pytest
from PIL import Image

from jaxgan import config_tree
from jaxgan.commands import report_curves, report_facts, report_samples
from jaxgan.commands.report_page import Markup, Section, facts, note, page, table
from jaxgan.config import Config

NOW = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)


def words(markup):
    """The text of each element that has any."""
    found = []
    parser = html.parser.HTMLParser()
    parser.handle_data = lambda data: found.append(data)
    parser.feed(markup)
    parser.close()
    return [text.strip() for text in found if text.strip()]


def write_metrics(workdir, **values):
    (workdir / "metrics.jsonl").write_text(json.dumps({"step": 1} | values) + "\n")


def titles(section):
    return re.findall("<strong>(.*?)</strong>", section.body)


def test_tables_escape_all_but_markup():
    found = table(["a<", "b"], [["<i>", Markup("<b>bold</b>")], [1, 2.5]], caption="c&")
    assert words(found) == ["c&", "a<", "b", "<i>", "bold", "1", "2.5"]
    assert "<i>" not in found and "<b>bold</b>" in found
    assert found.count('<th scope="row">') == 2 and found.count('<th scope="col">') == 2 and found.count("<td>") == 2
    assert "<caption>" not in table(["a"], [])


def test_facts_leave_out_what_is_unknown():
    found = facts([("a", "<1>"), ("b", None), ("c", ""), ("d", 0)])
    assert words(found) == ["a", "<1>", "d", "0"]
    assert words(note("1 < 2")) == ["1 < 2"]


def test_the_document_links_to_every_section_and_titles_are_text():
    found = page("a & <b>", "<p>head</p>", [Section("one", "First <s>", "<p>body</p>"), Section("two", "2", "")])
    assert "<title>a &amp; &lt;b&gt;</title>" in found and "First <s>" not in found
    assert re.findall('href="(.*?)"', found) == ["#one", "#two"]
    assert [found.index(text) for text in ("<p>head</p>", "<nav", "<p>body</p>", '<section id="two"')] == sorted(
        found.index(text) for text in ("<p>head</p>", "<nav", "<p>body</p>", '<section id="two"')
    )
    assert found.startswith('<!DOCTYPE html>\n<html lang="en">') and '<meta charset="utf-8">' in found


def test_metrics_of_one_kind_share_a_chart(tmp_path):
    write_metrics(
        tmp_path,
        **{
            "train/penalty": 1.0, "train/g_ab_grad_norm": 1, "train/g_loss": 1.0, "images_seen": 5,
            "train/d_a_loss": 2.0, "eval/fid": 3.0, "images_per_second": 4.0, "train/d_accuracy": 0.5,
            "train/d_attention_layers_0_gate": 0.1, "train/g_attention_layers_2_gate": 0.1,
        },
    )  # fmt: skip
    section = report_curves.training_curves(tmp_path)
    known = ["Losses", "Gradient norms", "Accuracy of D", "Gates of attention"]
    assert titles(section) == [*known, "penalty", "Speed (images/s)"]
    losses = section.body.split("</figure>")[0]
    assert [entry["name"] for entry in json.loads(re.search(r"json\">(.*?)</script>", losses)[1])["series"]] == [
        "g_loss",
        "d_a_loss",
    ]


def test_metrics_that_are_never_finite(tmp_path):
    write_metrics(tmp_path, **{"train/d_loss": "NaN", "train/g_loss": "Infinity"})
    assert "no line yet" in report_curves.training_curves(tmp_path).body


def test_one_protocol_needs_no_numbers_and_no_warning(tmp_path):
    row = {"fid": 3.0, "is": 2.0, "is_std": 0.25, "num_samples": 10, "protocol": "p"}
    lines = [json.dumps({"step": step} | row) + "\n" for step in (1, 2)] + [
        json.dumps({"step": 3, "protocol": "p"}) + "\n"
    ]
    (tmp_path / "evaluations.jsonl").write_text("".join(lines))
    section = report_curves.score_curves(tmp_path)
    assert titles(section) == ["FID (lower is better)", "Inception score"] and "cannot be compared" not in section.body
    assert '"name":"fid"' in section.body and "2 ± 0.25" in section.body
    assert section.body.count("<tr>") == 3, "an evaluation without a number is not shown"


def test_protocols_in_words_that_nobody_can_parse(tmp_path):
    rows = [{"step": 1, "fid": 1.0, "protocol": text} for text in ("mine", "yours")]
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "These scores cannot be compared, their protocols differ" in report_curves.score_curves(tmp_path).body


def save(folder, name, value, size=(8, 8)):
    folder.mkdir(exist_ok=True)
    Image.new("L", size, value).save(folder / name)


def test_a_long_history_is_thinned(tmp_path):
    for step in range(1, 61):
        save(tmp_path / "samples", f"step_{step:08d}.png", step)
    save(tmp_path / "samples", "step_other.png", 0)
    body = report_samples.history(tmp_path).body
    steps = [int(step) for step in re.findall(r'data-step="(\d+)"', body)]
    assert len(steps) == 24 and (steps[0], steps[-1]) == (1, 60) and steps == sorted(set(steps))
    assert "24 of 60 steps are shown" in body and 'data-kind="the"' in body
    assert body.count(" hidden>") == 23, "without the script the last one is seen"


def test_a_history_stays_within_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(report_samples, "_HISTORY_BYTES", 120_000)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    (tmp_path / "samples").mkdir()
    for step in range(6):
        for suffix in ("", "_raw"):
            Image.fromarray(noise).save(tmp_path / "samples" / f"step_{step:08d}{suffix}.png", compress_level=0)
    assert len(report_samples.history(tmp_path).body) < 1.4 * report_samples._HISTORY_BYTES


def test_the_first_column_is_spread_over_the_rows():
    drawn = report_samples.Drawn(np.zeros((30, 2, 2, 1), np.uint8), np.zeros((30, 4)), np.zeros(30), columns=3)
    assert drawn.num_rows == 10
    assert list(drawn.first_column(4)) == [0, 9, 18, 27] and list(drawn.first_column(1)) == [0]
    assert list(drawn.first_column(99)) == list(range(0, 30, 3))


def test_the_header_without_a_checkpoint_and_without_records(tmp_path):
    text = words(report_facts.header(tmp_path, None, {}, NOW))
    assert text[text.index("step of the weights") + 1] == "no checkpoint"
    assert text[text.index("training") + 1] == "0 steps" and "2026-01-02 03:04 UTC" in text
    assert report_facts.environment(tmp_path).body == note("The run has no run.json.")


def test_settings_of_a_run_by_defaults():
    body = report_facts.settings(config_tree.to_dict(Config())).body
    assert body.startswith(note("All settings are the defaults."))
    assert f"All {len(config_tree.flatten(Config()))} settings" in body and "class=changed" not in body


@pytest.mark.parametrize("text", ["{", "[]", '{"data": 3, "devices": [], "git_revision": 5}'])
def test_a_damaged_description_of_the_run(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    assert "? × ?" in report_facts.header(tmp_path, None, {"data": "?"}, NOW)
    report_facts.environment(tmp_path)


def test_class_names_are_folded_away(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"data": {"class_names": ["a<b", "c"], "height": 8}}))
    body = report_facts.environment(tmp_path).body
    assert "2 class names" in body and "a&lt;b, c" in body and "data.height" in body and "data.class_names" not in body
