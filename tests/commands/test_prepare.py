"""`prepare`: from a source string to a folder that trains, a report on stdout, and one sentence for every mistake."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.commands import prepare
from jaxgan.commands.errors import CommandError
from jaxgan.config import DataConfig
from jaxgan.data.pipeline import open_dataset
from jaxgan.data.sources import open_source


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command on `source`, into tmp_path/out; returns what it printed."""

    def run(source, *flags, resolution=8):
        parser = argparse.ArgumentParser()
        prepare.add_arguments(parser)
        named = [f"--source={source}", f"--out={tmp_path / 'out'}", f"--resolution={resolution}"]
        prepare.run(parser.parse_args([*named, *flags]))
        return capsys.readouterr().out

    return run


@pytest.fixture
def folder(tmp_path):
    """Two classes of three photographs, 20 x 14 pixels and larger."""
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (20 + i, 14 + i, 3), np.uint8)
        path = tmp_path / "in" / ("n02", "n01")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "in"


def metadata(tmp_path) -> dict:
    return json.loads((tmp_path / "out" / "metadata.json").read_text())


def test_prepared_digits_train_like_the_digits(run, tmp_path):
    text = run("digits:test", "--channels=1")
    assert "450 images of 8 x 8 x 1" in text and "10 classes of 43 to 46 images" in text
    assert f"train on it with --config.data.source=packed:{tmp_path / 'out'}" in text
    sources = (f"packed:{tmp_path / 'out'}", "digits:test")
    streams = [
        open_dataset(DataConfig(source=source, resolution=8, channels=1, flip=True)).batches(
            seed=3, batch_size=16, num_d_steps=1, stop_step=3
        )
        for source in sources
    ]
    for packed, plain in zip(*streams, strict=True):
        np.testing.assert_array_equal(packed["images"], plain["images"])
        np.testing.assert_array_equal(packed["labels"], plain["labels"])


@pytest.mark.parametrize(
    "flags, box, size, resample",
    [
        ((), (0, 3, 14, 17), (8, 8), "LANCZOS"),
        (("--crop=center:10", "--filter=bilinear"), (2, 5, 12, 15), (8, 8), "BILINEAR"),
        (("--crop=none", "--width=4", "--filter=area"), (0, 0, 14, 20), (4, 8), "BOX"),
    ],
)
def test_crop_filter_and_size(run, folder, tmp_path, flags, box, size, resample):
    run(f"folder:{folder}", *flags)
    source = open_source(f"packed:{tmp_path / 'out'}")
    first = Image.open(folder / "n02" / "0.png")  # the first of class n02, behind the three of n01
    expected = np.asarray(first.crop(box).resize(size, Image.Resampling[resample]))
    np.testing.assert_array_equal(source.read(3), expected)


def test_celeba_is_center_160(run, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (218, 178, 3), np.uint8)).save(tmp_path / "in" / "1.png")
    run(f"folder:{tmp_path / 'in'}", "--crop=celeba", resolution=160)
    assert metadata(tmp_path)["recipe"]["crop"] == "center:160"
    whole = np.asarray(Image.open(tmp_path / "in" / "1.png"))
    np.testing.assert_array_equal(open_source(f"packed:{tmp_path / 'out'}").read(0), whole[29:189, 9:169])


def test_small_and_broken_images_are_reported(run, folder, tmp_path):
    (folder / "n01" / "9.png").write_bytes(b"broken")
    with pytest.raises(CommandError, match=r"9\.png is not a readable image.*or pass --skip_corrupt to leave"):
        run(f"folder:{folder}")
    text = run(f"folder:{folder}", "--min_side=16", "--skip_corrupt")
    assert "4 images" in text and "left out: 2 a side below --min_side, 1 unreadable" in text
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {Path(entry["image"]).name for entry in report["skipped"]} == {"9.png", "0.png", "1.png"}
    assert metadata(tmp_path)["num_skipped"] == 3


def test_broken_images_that_show_late_are_reported_too(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxgan.data.folder.CHECKED_AT_OPENING", 0)
    (folder / "n01" / "9.png").write_bytes(b"broken")
    with pytest.raises(CommandError, match=r"9\.png is not a readable image"):
        run(f"folder:{folder}")
    assert "6 images" in run(f"folder:{folder}", "--skip_corrupt")  # goes on: leaving out changes no finished shard
    assert metadata(tmp_path)["num_skipped"] == 1


def test_class_files_lie_in_the_source_or_are_given(run, folder, tmp_path):
    (folder / "dirname_to_label.txt").write_text("n02 0\nn03 1\nn01 2")
    (tmp_path / "names.txt").write_text("0: 'two'\n1: 'three'\n2: 'one'")
    text = run(f"folder:{folder}", f"--label_to_classname={tmp_path / 'names.txt'}")
    assert "3 classes of 0 to 3 images; 1 of them have none" in text
    assert metadata(tmp_path)["class_names"] == ["two", "three", "one"]
    np.testing.assert_array_equal(open_source(f"packed:{tmp_path / 'out'}").labels, [2, 2, 2, 0, 0, 0])
    with pytest.raises(CommandError, match="need a source with classes, but folder:.*n01 has none"):
        run(f"folder:{folder / 'n01'}", f"--label_to_classname={tmp_path / 'names.txt'}", "--overwrite")


def test_typed_again_it_prints_the_same_report(run, folder, capsys):
    first = run(f"folder:{folder}")
    assert run(f"folder:{folder}") == first
    with pytest.raises(
        CommandError, match=r"filter \(\"lanczos\" -> \"box\"\); choose another folder, or pass --overwrite"
    ):
        run(f"folder:{folder}", "--filter=box")
    assert run(f"folder:{folder}", "--filter=box", "--overwrite") != first


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--resolution=0",), r"--resolution \(=0\) must be at least 1\."),
        (("--width=-1",), r"--width \(=-1\) must be at least 0\."),
        (("--num_workers=0",), r"--num_workers \(=0\) must be at least 1\."),
        (("--min_side=-3",), r"--min_side \(=-3\)"),
        (("--crop=middle",), r"--crop \(='middle'\) must be center, center:N .*shorter_side, celeba"),
        (("--crop=center:0",), r"--crop \(='center:0'\)"),
        (("--crop=160",), r"--crop \(='160'\)"),
        (("--crop=center:15",), r"An image of 20 x 14 pixels is smaller than --crop='center:15'; choose at most"),
        (
            ("--min_side=99",),
            r"none of the 6 images of folder:.* is left \(the first: 21 x 15 pixels, a side below 99\)",
        ),
        (("--source=folder:/no/such/place",), r"^--source='folder:/no/such/place': the folder /no/such/place does not"),
        (("--source=mnist",), r"^--source \(='mnist'\) is an unknown source; known: "),
    ],
)
def test_mistakes(run, folder, flags, message):
    with pytest.raises(CommandError, match=message):
        run(f"folder:{folder}", *flags)


def test_unknown_filter(run, folder, capsys):
    with pytest.raises(SystemExit):
        run(f"folder:{folder}", "--filter=nearest")
    assert "invalid choice: 'nearest'" in capsys.readouterr().err


KILLED_WHILE_WRITING = """
import sys, time
from jaxgan.data import packing, records
packing._SHARD_BYTES = 100 * 64
write = records.RecordWriter.write
def slowly(self, record):
    time.sleep(0.002)
    write(self, record)
records.RecordWriter.write = slowly
from jaxgan.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_killed_and_typed_again(tmp_path):
    arguments = ["prepare", "--source=digits", f"--out={tmp_path / 'out'}", "--resolution=8", "--channels=1"]
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, env=environment)
    third = tmp_path / "out" / "images-00002-of-00018.array_record.part"
    while not third.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "going on after 200 of 1,797 images" in done.stderr
    assert "1,797 images of 8 x 8 x 1" in done.stdout
    packed, digits = open_source(f"packed:{tmp_path / 'out'}"), open_source("digits")
    np.testing.assert_array_equal(packed.read_many(np.arange(1797)), digits.read_many(np.arange(1797)))
    np.testing.assert_array_equal(packed.labels, digits.labels)
    assert not list((tmp_path / "out").glob("*.part"))
