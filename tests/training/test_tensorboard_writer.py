"""The event files, read back by TensorBoard's own reader."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxgan.training.tensorboard_writer import TensorBoardWriter

# After jaxgan, which sets TensorBoard's file system before TensorBoard picks one.
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # isort: skip
from tensorboard.util import tensor_util  # isort: skip


@pytest.fixture
def writer(tmp_path):
    writer = TensorBoardWriter(tmp_path)
    yield writer
    writer.close()


def reload(path):
    return EventAccumulator(str(path), size_guidance={"images": 0, "scalars": 0, "histograms": 0}).Reload()


def pixels(event):
    return np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))


def test_scalars_read_back_with_their_steps(tmp_path, writer):
    writer.write_scalars(step=5, scalars={"train/d_loss": 1.5, "train/g_loss": np.array([-0.25])})
    writer.write_scalars(step=6, scalars={"train/d_loss": float("nan")})
    writer.flush()
    events = reload(tmp_path)
    assert [(e.step, e.value) for e in events.Scalars("train/g_loss")] == [(5, -0.25)]
    first, second = events.Scalars("train/d_loss")
    assert (first.step, first.value, second.step) == (5, 1.5, 6) and np.isnan(second.value)


def test_floats_in_zero_one_become_bytes(tmp_path, writer):
    writer.write_images(1, {"x": np.array([[[0.0], [0.5]], [[1.0], [2.0]]])})
    writer.flush()
    (event,) = reload(tmp_path).Images("x")
    assert (event.step, event.height, event.width) == (1, 2, 2)
    np.testing.assert_array_equal(pixels(event), [[0, 128], [255, 255]])


def test_a_batch_of_images_gets_numbered_names(tmp_path, writer):
    batch = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 3)).astype(np.uint8)
    writer.write_images(1, {"samples": batch})
    writer.flush()
    events = reload(tmp_path)
    assert events.Tags()["images"] == ["samples/0", "samples/1"]
    for index in range(2):
        (event,) = events.Images(f"samples/{index}")
        assert (event.height, event.width) == (3, 5)
        np.testing.assert_array_equal(pixels(event), batch[index])


def test_texts_and_hparams_read_back(tmp_path, writer):
    writer.write_texts(2, {"note": "*grün*"})
    writer.write_hparams({"seed": 3, "model": {"name": "resnet", "widths": (1, 2), "wide": True}, "none": None})
    writer.flush()
    events = reload(tmp_path)
    (text,) = events.Tensors("note")
    assert text.step == 2 and tensor_util.make_ndarray(text.tensor_proto).item().decode() == "*grün*"
    assert events.SummaryMetadata("note").plugin_data.plugin_name == "text"
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    for expected in (b"seed", b"model.name", b"resnet", b"model.widths", b"(1, 2)", b"model.wide", b"None"):
        assert expected in content


def test_histograms_count_the_finite_values(tmp_path, writer):
    values = np.array([0.0, 1.0, 1.0, 3.0, np.nan, np.inf])
    writer.write_histograms(step=1, arrays={"h": values, "empty": np.array([np.nan])}, num_buckets={"h": 3})
    writer.write_histograms(2, {"h": np.arange(4.0).reshape(2, 2)})
    writer.flush()
    events = reload(tmp_path)
    assert events.Tags()["histograms"] == ["h"]
    first, second = (event.histogram_value for event in events.Histograms("h"))
    assert (first.min, first.max, first.num, first.sum, first.sum_squares) == (0.0, 3.0, 4.0, 5.0, 11.0)
    assert first.bucket_limit == [1.0, 2.0, 3.0] and first.bucket == [1.0, 2.0, 1.0]
    assert len(second.bucket) == 30 and sum(second.bucket) == 4.0


def test_a_later_writer_hides_the_steps_that_are_run_again(tmp_path):
    killed = TensorBoardWriter(tmp_path)
    for step in (1, 2, 3, 4):
        killed.write_scalars(step, {"x": step})
    killed.close()
    (old,) = tmp_path.iterdir()
    old.rename(tmp_path / "events.out.tfevents.0000000001.host")  # files are read in the order of their names
    resumed = TensorBoardWriter(tmp_path, purge_step=3)
    resumed.write_scalars(3, {"x": 30.0})
    resumed.close()
    assert [(e.step, e.value) for e in reload(tmp_path).Scalars("x")] == [(1, 1.0), (2, 2.0), (3, 30.0)]
