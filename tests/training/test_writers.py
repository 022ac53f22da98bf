"""metrics.jsonl and the writer of a run: what is kept, what a resumption drops, and that TensorFlow stays away."""

import json
import math
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.training.writers import METRICS_FILE, JsonlWriter, drop_later_steps, make_writer

# After jaxgan, which sets TensorBoard's file system before TensorBoard picks one.
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # isort: skip


def read(path):
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]


def test_lines_are_on_disk_before_the_writer_closes(tmp_path):
    writer = JsonlWriter(tmp_path / "m.jsonl")
    writer.write_scalars(step=3, scalars={"train/d_loss": 1.25, "images_seen": np.int64(192)})
    writer.write_scalars(step=4, scalars={"train/g_loss": jnp.float32(-0.5), "eval/fid": np.array([7.5])})
    assert read(tmp_path / "m.jsonl") == [
        {"step": 3, "train/d_loss": 1.25, "images_seen": 192},
        {"step": 4, "train/g_loss": -0.5, "eval/fid": 7.5},
    ]
    writer.close()


def test_writing_appends_to_what_is_there(tmp_path):
    for step in (1, 2):
        writer = JsonlWriter(tmp_path / "m.jsonl")
        writer.write_scalars(step, {"x": step})
        writer.close()
    assert [record["step"] for record in read(tmp_path / "m.jsonl")] == [1, 2]


def test_non_finite_values_stay_valid_json_and_read_back(tmp_path):
    writer = JsonlWriter(tmp_path / "m.jsonl")
    writer.write_scalars(1, {"a": float("nan"), "b": jnp.inf, "c": -np.float32(np.inf), "d": 2.0})
    (record,) = read(tmp_path / "m.jsonl")  # Python's reader would take a bare NaN; parse_constant refuses it
    assert [record[name] for name in "abcd"] == ["NaN", "Infinity", "-Infinity", 2.0]
    assert math.isnan(float(record["a"])) and float(record["b"]) == math.inf and float(record["c"]) == -math.inf
    writer.close()


def test_an_array_of_several_numbers_is_refused(tmp_path):
    writer = JsonlWriter(tmp_path / "m.jsonl")
    with pytest.raises(ValueError):
        writer.write_scalars(1, {"x": np.zeros(2)})
    writer.close()
    assert (tmp_path / "m.jsonl").read_text() == ""


def test_dropping_removes_later_steps_and_broken_lines_only(tmp_path):
    path = tmp_path / "m.jsonl"
    lines = [
        '{"step": 1, "x": 0.1}',
        '{"step": 2}',
        "{broken",
        '["step"]',
        '{"x": 1}',
        '{"step": 3}',
        '{"step": 2, "y": 1}',
    ]
    path.write_text("\n".join(lines) + '\n{"step": 2, "x": 1')
    drop_later_steps(path, 2)
    assert path.read_text() == '{"step": 1, "x": 0.1}\n{"step": 2}\n{"step": 2, "y": 1}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.jsonl"]  # no temporary file stays


def test_a_last_line_without_its_end_is_dropped_even_if_it_parses(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1}\n{"step": 1}')
    drop_later_steps(path, 10)
    assert path.read_text() == '{"step": 1}\n'


def test_a_kill_while_dropping_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n')

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        drop_later_steps(path, 1)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_dropping_from_an_absent_file_creates_none(tmp_path):
    drop_later_steps(tmp_path / "m.jsonl", 1)
    assert not list(tmp_path.iterdir())


def steps_after(workdir, resume_step):
    writer = make_writer(workdir, resume_step=resume_step, is_primary=True)
    writer.close()
    return [record["step"] for record in read(workdir / METRICS_FILE)]


@pytest.mark.parametrize(("resume_step", "kept"), [(20, [0, 10, 20]), (15, [0, 10]), (None, []), (0, [0])])
def test_a_resumed_run_keeps_what_it_will_not_run_again(tmp_path, resume_step, kept):
    writer = make_writer(tmp_path / "new" / "run", resume_step=None, is_primary=True)
    for step in (0, 10, 20, 30):
        writer.write_scalars(step, {"x": 1.0})
    writer.close()
    assert steps_after(tmp_path / "new" / "run", resume_step) == kept


@pytest.mark.parametrize(("resume_step", "kept"), [(20, [0, 10, 20]), (None, [])])
def test_tensorboard_hides_what_will_be_run_again(tmp_path, resume_step, kept):
    writer = make_writer(tmp_path, resume_step=None, is_primary=True)
    for step in (0, 10, 20, 21):
        writer.write_scalars(step, {"x": 1.0})
    writer.close()
    (events,) = tmp_path.glob("events.*")
    events.rename(tmp_path / "events.out.tfevents.0000000001.host")  # files are read in the order of their names
    writer = make_writer(tmp_path, resume_step=resume_step, is_primary=True)
    writer.write_scalars(22, {"y": 1.0})
    writer.close()
    seen = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in seen.Scalars("x")] == kept
    assert [event.step for event in seen.Scalars("y")] == [22]


def test_scalars_reach_the_jsonl_file_without_a_flush(tmp_path):
    writer = make_writer(tmp_path, resume_step=None, is_primary=True)
    writer.write_scalars(1, {"x": 1.0})
    assert read(tmp_path / METRICS_FILE) == [{"step": 1, "x": 1.0}]
    writer.close()


def test_other_processes_write_nothing(tmp_path):
    writer = make_writer(tmp_path / "run", resume_step=None, is_primary=False)
    writer.write_scalars(1, {"x": 1.0})
    writer.write_images(1, {"x": np.zeros((2, 2, 3), np.uint8)})
    writer.flush()
    writer.close()
    assert not list(tmp_path.iterdir())


def test_every_kind_of_data_passes_through_the_whole_writer(tmp_path):
    writer = make_writer(tmp_path, resume_step=None, is_primary=True)
    writer.write_hparams({"seed": 1})
    writer.write_images(1, {"x": np.zeros((2, 2, 3), np.uint8)})
    writer.write_texts(1, {"x": "y"})
    writer.write_histograms(1, {"x": np.arange(3.0)}, {"x": 2})
    writer.write_videos(1, {"x": np.zeros((2, 2, 2, 3), np.uint8)})
    writer.write_audios(1, {"x": np.zeros((2, 1))}, sample_rate=8)
    writer.write_summaries(1, {"x": np.zeros(2)}, None)
    writer.flush()  # raises what the background thread met
    writer.close()
    assert (tmp_path / METRICS_FILE).read_text() == ""


def test_tensorflow_is_never_imported_even_where_it_exists(tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('tensorflow was imported')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from jaxgan.training.writers import make_writer\n"
        "from jaxgan.training.tensorflow_free import metric_writers, periodic_actions\n"
        f"w = make_writer({str(tmp_path / 'run')!r}, resume_step=None, is_primary=True)\n"
        "w.write_scalars(1, {'x': 1.0}); w.write_texts(1, {'t': 'u'}); w.write_hparams({'a': 1}); w.close()\n"
        "assert 'tensorflow' not in sys.modules\n"
        "try: metric_writers.SummaryWriter('x')\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "needs TensorFlow" in done.stdout
