"""`python -m jaxgan report`: what stands on the page is true, nothing on it leads outside, and a browser shows it."""

import base64
import dataclasses
import html.parser
import io
import json
import re
import shutil
import subprocess

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan.__main__ import main
from jaxgan.generation.run import open_run
from jaxgan.training import workdir as workdir_lib
from jaxgan.training.writers import JsonlWriter
from tests.tiny_run import CONFIG, DATA, PERCEPTRON, write_run

DIGITS = dataclasses.replace(DATA, num_classes=10, class_names=tuple("0123456789"), num_images=1797)
MODEL = dataclasses.replace(
    CONFIG.model, g_attention_resolutions=(8,), d_attention_resolutions=(4,), d_spectral_norm="all"
)
SETTINGS = dataclasses.replace(
    CONFIG, model=MODEL, sample=dataclasses.replace(CONFIG.sample, rows=5, columns=3), total_steps=1234
)
PROTOCOL = "jaxgan-eval; extractor=pixels<b>; dims=64; num_samples={}; version=1"
SECTIONS = [
    "training", "scores", "history", "classes", "neighbours", "spectra", "attention", "settings", "environment",
]  # fmt: skip


class Page(html.parser.HTMLParser):
    """Elements with their attributes, and that every element is closed in its turn."""

    VOID = {"meta", "img", "br", "input", "link"}

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def write_records(workdir):
    writer = JsonlWriter(workdir / "metrics.jsonl")
    for step in (50, 100, 150):
        losses = {"train/d_loss": 2.0 - step / 100, "train/g_loss": float("nan") if step == 100 else 0.25}
        writer.write_scalars(step, losses | {"train/real_logits": 0.5, "images_per_second": 7.0, "images_seen": step})
    writer.close()
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 200, "train/d_lo')  # the training is writing
    rows = [
        {"step": 100, "fid": 40.5, "kid": 0.5, "kid_std": 0.125, "num_samples": 64, "protocol": PROTOCOL.format(64)},
        {"step": 50, "fid": 80.0, "num_samples": 64, "protocol": PROTOCOL.format(64)},
        {"step": 100, "fid": 60.25, "num_samples": 32, "protocol": PROTOCOL.format(32)},
    ]
    (workdir / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (workdir / "samples").mkdir()
    for name, value in (("step_00000050", 10), ("step_00000050_raw", 20), ("step_00000100", 30), ("real", 40)):
        Image.new("L", (20, 12), value).save(workdir / "samples" / f"{name}.png")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    workdir = write_run(tmp_path_factory.mktemp("runs") / "a<i>run", SETTINGS, DIGITS)
    write_records(workdir)
    return open_run(workdir)


@pytest.fixture(scope="module")
def page(opened):
    """The text of the page of a run that has everything."""
    assert main(["report", f"--workdir={opened.workdir}"]) == 0
    return (opened.workdir / "report.html").read_text()


def section(page, anchor):
    return re.search(rf'<section id="{anchor}".*?</section>', page, re.DOTALL)[0]


def pictures(part):
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(int)
        for text in re.findall(r'src="data:image/\w+;base64,([^"]*)"', part)
    ]


def test_the_page_is_whole_and_fetches_nothing(page, opened):
    parsed = Page(page)
    assert [attributes["id"] for attributes in parsed.all("section")] == SECTIONS
    assert {attributes["href"] for attributes in parsed.all("a")} == {f"#{name}" for name in SECTIONS}
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "iframe", "object", "base", "form")
        assert attributes.get("src", "data:").startswith("data:") and not {"srcset", "action"} & set(attributes)
    assert not re.search(r"https?:|@import|url\(", page)
    policy = next(meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'; img-src data:")
    assert len({attributes["id"] for _, attributes in parsed.elements if "id" in attributes}) == 2 * len(SECTIONS)
    assert all(attributes["alt"] for attributes in parsed.all("img"))
    assert "missing" not in section(page, "neighbours") and len(page) < 2**20


def test_the_header_says_what_the_run_is(page, opened):
    text = Page(page).text
    assert "a<i>run: a run of jaxgan" in text and "<i>" not in page
    for fact in ("150 of 1,234 steps", "digits: 1797 images, 10 classes", "8 × 8 × 1", "8 × cpu"):
        assert fact in text, fact
    size = sum(leaf.size for leaf in jax.tree.leaves(opened.nets["g"].params))
    assert f"parameters of g{size:,}" in text


def test_curves_of_the_training(page):
    part = section(page, "training")
    assert re.findall(r"<figcaption><strong>(.*?)</strong>", part) == ["Losses", "Mean logits", "Speed (images/s)"]
    losses = json.loads(re.search(r'<script type="application/json">(.*?)</script>', part)[1])
    assert losses["series"] == [
        {"name": "d_loss", "x": [50, 100, 150], "y": [1.5, 1, 0.5]},
        {"name": "g_loss", "x": [50, 150], "y": [0.25, 0.25]},
    ]
    assert "1 values are not finite" in part and "d_loss: 0.5" in part


def test_scores_stand_beside_their_protocols(page):
    part = section(page, "scores")
    text = Page(part).text
    assert "num_samples (64 / 32)" in text and "pixels<b>" in text and "<b>" not in part
    assert re.findall(r"<strong>(.*?)</strong>", part) == ["FID (lower is better)", "KID (lower is better)"]
    fid, kid = (json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', part))
    assert fid["series"] == [
        {"name": "protocol 1", "x": [50, 100], "y": [80, 40.5]},
        {"name": "protocol 2", "x": [100], "y": [60.25]},
    ]
    assert "0.5 ± 0.12" in text and kid["series"][0]["y"] == [0.5] and 'class="error' in part
    assert len(re.findall(r"<li><code>jaxgan-eval", part)) == 2


def test_samples_of_every_step(page):
    images = [attributes for tag, attributes in Page(section(page, "history")).elements if tag == "img"]
    found = [(image["data-step"], image["data-kind"], "hidden" in image) for image in images]
    assert found == [("50", "averaged", True), ("50", "raw", True), ("100", "averaged", False)]
    assert [picture.mean() for picture in pictures(section(page, "history"))] == [10, 20, 30]


def test_fresh_samples_beside_real_images(page, opened):
    from jaxgan.generation import images as images_lib
    from jaxgan.generation import latents

    fresh, real = pictures(section(page, "classes"))
    z = np.tile(latents.draw(4, 0, 0, 0, 3)["z"], (5, 1))
    images = opened.sample(z=z, labels=np.repeat([0, 2, 4, 7, 9], 3))
    assert np.abs(fresh - images_lib.grid(images, columns=3, scale=8)[..., 0]).max() <= 1
    assert real.mean() == 40 and "one class per row: 0, 2, 4, 7, 9" in page


def test_neighbours_are_of_the_same_class_and_nearest(page, opened):
    from sklearn import datasets

    part = section(page, "neighbours")
    (picture,) = pictures(part)
    tiles = [picture[2 + 50 * row :, 2 + 50 * column :][:48:6, :48:6] for row in range(5) for column in range(8)]
    values, labels = datasets.load_digits(return_X_y=True)
    reals = np.rint(values.reshape(-1, 8, 8) * (255 / 16))
    for row, label in enumerate([0, 2, 4, 7, 9]):
        among = reals[labels == label]
        distances = ((among - tiles[8 * row][None]) ** 2).sum((1, 2))
        for rank in range(7):
            np.testing.assert_array_equal(tiles[8 * row + 1 + rank], among[np.argsort(distances, kind="stable")[rank]])
        assert f"{distances.min() / 255**2:.4g}" in part


def test_all_settings_are_there_and_the_changed_ones_come_first(page):
    first, full = section(page, "settings").split("<details>")
    assert "total_steps" in first and "1234" in first and "num_d_steps" not in first and "num_d_steps" in full
    assert full.count("class=changed") == first.count("<tr")


def test_text_of_the_user_is_text(tmp_path, capsys):
    hostile = "digits</script><script>alert(1)</script>"
    config = dataclasses.replace(PERCEPTRON, data=dataclasses.replace(PERCEPTRON.data, source=hostile))
    data = dataclasses.replace(DATA, class_names=("<img src=x>", "b&", '"c', "d", "e"))
    workdir = write_run(tmp_path / "run", config, data)
    row = {"step": 1, "train/<svg onload=x>_loss": 1.0}
    (workdir / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["report", f"--workdir={workdir}"]) == 0
    text = (workdir / "report.html").read_text()
    parsed = Page(text)
    assert "<script>alert" not in text and "<img src=x" not in text and "<svg onload" not in text
    assert hostile in parsed.text and "<img src=x>" in parsed.text
    assert "There are no real images to compare with" in text, "such a source cannot be opened"
    assert "has no samples/real.png" in text


def test_a_run_that_has_nothing_yet(tmp_path, capsys):
    workdir = tmp_path / "run"
    workdir_lib.claim(workdir, SETTINGS, DIGITS, accept_changes=False, is_primary=True)
    assert main(["report", f"--workdir={workdir}"]) == 0
    text = (workdir / "report.html").read_text()
    Page(text)
    for sentence in (
        "metrics.jsonl has no line yet",
        "There is no evaluation yet",
        "has written no samples yet",
        "has no checkpoint yet",
    ):
        assert sentence in text, sentence
    assert main(["report", f"--workdir={workdir}", "--step=7"]) == 2
    assert "has no checkpoint" in capsys.readouterr().err


def test_a_run_without_attention_spectral_norm_and_data(tmp_path, capsys):
    workdir = write_run(tmp_path / "run", PERCEPTRON)
    assert main(["report", f"--workdir={workdir}", "--data=none"]) == 0
    text = (workdir / "report.html").read_text()
    for sentence in ("--data none was given", "No layer of this run is spectrally", "have no self-attention"):
        assert sentence in text, sentence
    # Its classes are not those of the digits that it claims to be trained on.
    assert main(["report", f"--workdir={workdir}"]) == 0
    assert "This part is missing: digits has no class &#x27;cat&#x27;" in (workdir / "report.html").read_text()
    assert main(["report", f"--workdir={workdir}", "--data=folder:absent"]) == 2
    assert "absent" in capsys.readouterr().err


def test_where_it_is_written(tmp_path, capsys):
    workdir = tmp_path / "run"
    workdir_lib.claim(workdir, SETTINGS, DIGITS, accept_changes=False, is_primary=True)
    (workdir / "report.html").write_text("old")
    out = tmp_path / "there" / "page.html"
    assert main(["report", f"--workdir={workdir}", f"--out={out}"]) == 0
    assert f"is {out} (0.0 MB)" in capsys.readouterr().out
    assert not [path.name for path in workdir.iterdir() if path.name.startswith(".")]
    assert (workdir / "report.html").read_text() == "old" and out.read_text().startswith("<!DOCTYPE html>")
    assert main(["report", f"--workdir={workdir}", f"--out={out}"]) == 2
    assert "exists; choose another --out, or pass --overwrite" in capsys.readouterr().err
    assert main(["report", f"--workdir={workdir}", f"--out={out}", "--overwrite"]) == 0
    assert main(["report", f"--workdir={workdir}"]) == 0 and (workdir / "report.html").read_text() != "old"
    assert main(["report", f"--workdir={tmp_path / 'absent'}"]) == 2


# What a reader does: to the first step, to the raw weights, to the left end of the first chart.
READER = """<script>
const slider = document.querySelector("input[type=range]");
slider.value = 0;
slider.dispatchEvent(new Event("input"));
[...document.querySelectorAll("button")].find((button) => button.textContent.startsWith("raw")).click();
const svg = document.querySelector("figure.chart > svg");
svg.dispatchEvent(new PointerEvent("pointermove", {clientX: svg.getBoundingClientRect().left}));
</script></body>"""


@pytest.fixture
def browser(tmp_path):
    """Runs headless Chromium on a file with further flags; returns its standard output."""
    program = next((name for name in ("chromium", "google-chrome", "chromium-browser") if shutil.which(name)), None)
    if program is None:
        pytest.skip("no Chromium or Chrome is on PATH, so the page was not opened in a browser")

    def show(file, *flags):
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", *flags, file.as_uri(),
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return show


def test_in_a_real_browser(page, browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page)
    shown = browser(file, "--dump-dom")
    assert '<body data-ready="yes">' in shown and 'type="range"' in shown
    assert re.findall(r'aria-pressed="(\w+)">(\w+) weights', shown) == [("true", "averaged"), ("false", "raw")]
    file.write_text(page.replace("</body>", READER))
    used = browser(file, "--dump-dom")
    images = [tag for tag in re.findall(r"<img [^>]*>", section(used, "history")) if "hidden" not in tag]
    assert len(images) == 1 and 'data-step="50" data-kind="raw"' in images[0] and ">step 50</output>" in used
    assert re.search(r'<p class="readout"[^>]*>step 50  –  d_loss: 1.5; g_loss: 0.25</p>', used)
    browser(file, "--window-size=1000,1400", f"--screenshot={tmp_path / 'page.png'}")
    screenshot = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
    assert screenshot.shape == (1400, 1000) and screenshot.std() > 5
