"""The door: every user's mistake gets one sentence and an exit code, and nothing is lost."""

import gzip
import json
import os
import stat
import struct

import numpy as np
import pytest
from PIL import Image

from jaxgan.training import loop
from jaxgan.training.metrics import HealthError

DIGITS = "--config=configs/digits.py"
# Small enough to compile in seconds: 8x8 pixels, one up-block, eight maps.
TINY = (
    "--config.data.resolution=8",
    "--config.model.attention_resolutions=4",
    "--config.model.g_widths=8,8",
    "--config.model.d_widths=8,8",
    "--config.batch_size=8",
    "--config.total_steps=2",
    "--config.mesh.data=2",
    "--config.sample.rows=2",
    "--config.sample.columns=2",
)


def one_sentence(err: str, code: int) -> str:
    """The error of a user: one line, no traceback, an exit code."""
    lines = [line for line in err.splitlines() if line.startswith("jaxgan: ")]
    assert code == 2 and len(lines) == 1 and err.splitlines()[-1] == lines[0], err
    assert "Traceback" not in err
    return lines[0]


def pictures(folder, count=4, size=(12, 10)):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def write_idx(path, array):
    path.write_bytes(
        gzip.compress(
            struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
        )
    )


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "--config is missing; try --config=configs/digits.py."),
        (("--config=configs/nope.py",), "the recipe configs/nope.py cannot be loaded"),
        ((DIGITS, "--config.batchsize=7"), "config.batchsize is not a field; did you mean `batch_size`?"),
        ((DIGITS, "--config.model.chanels=7"), "config.model.chanels is not a field"),
        ((DIGITS, "--config.batch_size=many"), "config.batch_size"),
        ((DIGITS, "--nonsense=1"), "there is no flag 'nonsense'."),
        ((DIGITS, "surplus"), "unexpected argument 'surplus'"),
        ((DIGITS, "--config.batch_size=60"), "(=60) must be a multiple of the number of devices (=8); try 56 or 64."),
        ((DIGITS, "--config.data.resolution=20"), "must be config.model.base_size (=4) times a power of two"),
        ((DIGITS, "--config.model.g_widths=8,12,8"), "config.model describes no network: `channels` (=12) of"),
        ((DIGITS, "--config.data.labels=false"), "config.model.conditional (=True) needs labels, but"),
        ((DIGITS, "--config.data.source=folder:/no/such/folder"), "/no/such/folder"),
        ((DIGITS, "--config.data.source=packed:/x"), "packed"),
        ((DIGITS, "--config.data.source=cifar10:/no/such/folder"), "/no/such/folder"),
        ((DIGITS, "--config.data.source=tfds:mnist:train"), "mnist"),
        ((DIGITS, "--config.method.fake_labels=without_replacement"), "batch_size (=64) <= number of classes (=10)"),
    ],
)  # fmt: skip
def test_mistakes_in_the_command(run_main, tmp_path, monkeypatch, args, text):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no-data"))
    code, err, _ = run_main(*args, f"--workdir={tmp_path / 'run'}")
    assert text in one_sentence(err, code)
    assert not (tmp_path / "run").exists(), "nothing is begun"


def test_a_recipe_with_a_mistake(run_main, tmp_path):
    recipe = tmp_path / "broken.py"
    recipe.write_text("def get_config(:\n")
    code, err, _ = run_main(f"--config={recipe}")
    assert f"the recipe {recipe} fails with SyntaxError" in one_sentence(err, code)


def test_empty_and_corrupt_folders(run_main, tmp_path):
    (tmp_path / "empty").mkdir()
    code, err, _ = run_main(
        DIGITS, f"--config.data.source=folder:{tmp_path / 'empty'}", f"--workdir={tmp_path / 'run'}"
    )
    assert "empty" in one_sentence(err, code)
    folder = pictures(tmp_path / "set" / "a")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a jpeg")
    code, err, _ = run_main(DIGITS, f"--config.data.source=folder:{tmp_path / 'set'}", f"--workdir={tmp_path / 'run'}")
    message = one_sentence(err, code)
    assert "broken.jpg" in message and "skip_corrupt" in message
    assert not (tmp_path / "run").exists()


def test_a_wrong_idx_file(run_main, tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((3, 8, 8), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(2, np.uint8))
    code, err, _ = run_main(DIGITS, f"--config.data.source=idx:{tmp_path}", f"--workdir={tmp_path / 'run'}")
    assert "3" in (message := one_sentence(err, code)) and "2" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the next test covers the same path")
def test_a_workdir_that_is_not_writable(run_main, tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    code, err, _ = run_main(DIGITS, *TINY, f"--workdir={tmp_path / 'run'}")
    assert "is not writable" in one_sentence(err, code)


def test_a_workdir_below_a_file(run_main, tmp_path):
    (tmp_path / "file").write_text("")
    code, err, _ = run_main(DIGITS, *TINY, f"--workdir={tmp_path / 'file' / 'run'}")
    assert "is not writable" in one_sentence(err, code)


def test_a_run_from_the_first_step_to_a_changed_mind(run_main, tmp_path):
    workdir = tmp_path / "run"
    args = (DIGITS, *TINY, f"--workdir={workdir}")
    code, err, _ = run_main(*args, "--config.log.every_steps=1", "--config.sample.every_steps=1")
    assert code == 0, err
    assert "compiling the train step" in err and "done: 2 steps" in err
    names = {path.name for path in workdir.iterdir()}
    assert {"config.json", "run.json", "metrics.jsonl", "samples", "checkpoints"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert {path.name for path in (workdir / "samples").iterdir()} == {
        "real.png", "step_00000001.png", "step_00000001_raw.png", "step_00000002.png", "step_00000002_raw.png"
    }  # fmt: skip
    logged = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in logged if "images_seen" in line]  # others have the gates, after each grid
    assert [(line["step"], line["images_seen"]) for line in lines] == [(1, 8), (2, 16)] and len(logged) == 4
    assert {"train/d_loss", "train/g_loss", "train/real_logits", "train/fake_logits", "train/d_grad_norm"} <= set(
        lines[0]
    )
    run = json.loads((workdir / "run.json").read_text())
    assert run["data"]["num_images"] == 1797 and run["devices"]["count"] == 8 and run["versions"]["jax"]
    assert run["cpu_cores"] >= 1

    code, err, _ = run_main(*args)
    assert code == 0 and "step 2 of 2 is done; raise --config.total_steps to go on" in err

    code, err, _ = run_main(*args, "--config.g_optim.lr=0.5", "--config.seed=3")
    message = one_sentence(err, code)
    assert (
        "config.seed (0 -> 3)" in message and "config.g_optim.lr (" in message and "--accept_config_change" in message
    )

    code, err, _ = run_main(*args, "--config.g_optim.lr=0.5", "--config.total_steps=3", "--accept_config_change")
    assert code == 0, err
    assert "restoring step 2" in err and "done: 3 steps" in err
    assert json.loads((workdir / "config.json").read_text())["g_optim"]["lr"] == 0.5
    assert json.loads((workdir / "run.json").read_text())["earlier"] == []  # the same machine and revision as before


def test_a_training_that_failed_for_good(run_main, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise HealthError("the samples' diversity is 0.01, after 3 rollbacks; start again.", 7)

    monkeypatch.setattr(loop, "train", fail)
    code, err, _ = run_main(DIGITS, *TINY, f"--workdir={tmp_path / 'run'}")
    assert one_sentence(err, code) == "jaxgan: the samples' diversity is 0.01, after 3 rollbacks; start again."


def test_dry_run_tells_and_writes_nothing(run_main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(
        os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "configs")
    )
    code, err, out = run_main(DIGITS, *TINY, "--dry_run")
    assert code == 0, err
    for text in (
        '"batch_size": 8',
        "data: 1,797 images, 10 classes",
        "head/embed/table",
        "FLOPs per step",
        "MiB temporary",
    ):
        assert text in out
    assert {path.name for path in tmp_path.iterdir()} == {"configs"}


def test_dry_run_without_the_data(run_main, tmp_path):
    code, err, out = run_main(DIGITS, *TINY, "--dry_run", f"--config.data.source=folder:{tmp_path / 'absent'}")
    assert code == 0, err
    assert "absent" in out and "Assumed here: 1000 classes" in out
