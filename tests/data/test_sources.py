"""Source strings, the digits, and TFDS sets prepared and read without TensorFlow."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import sources
from jaxgan.data.errors import DataError
from jaxgan.data.sources import open_source


def test_digits():
    source = open_source("digits")
    assert len(source) == 1797 and source.class_names == tuple("0123456789")
    image = source.read(0)
    assert image.shape == (8, 8, 1) and image.dtype == np.uint8
    # The set's first image, a zero, begins 0 0 5 13 9 1 0 0 of 16.
    np.testing.assert_array_equal(image[0, :, 0], [0, 0, 80, 207, 143, 16, 0, 0])
    assert max(source.read(i).max() for i in range(20)) == 255
    np.testing.assert_array_equal(source.labels[:12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])


@pytest.mark.parametrize("found", [True, False])
def test_digits_are_scikit_learns(monkeypatch, found):
    from sklearn import datasets

    if not found:  # packaged in another way
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    values, labels = sources._load_digits()
    expected = datasets.load_digits()
    np.testing.assert_array_equal(values, expected.data)
    np.testing.assert_array_equal(labels, expected.target)


def test_digits_parts_are_disjoint_stratified_and_complete():
    parts = [open_source(f"digits:{split}") for split in ("train", "test")]
    assert [len(part) for part in parts] == [1347, 450]
    together = sorted(part.read(i).tobytes() for part in parts for i in range(len(part)))
    whole = open_source("digits")
    assert together == sorted(whole.read(i).tobytes() for i in range(1797))
    counts = np.bincount(whole.labels, minlength=10)
    assert np.abs(np.bincount(parts[1].labels, minlength=10) - counts / 4).max() < 1
    for part in parts:  # images kept their labels
        lookup = {whole.read(i).tobytes(): whole.label(i) for i in range(1797)}
        assert all(lookup[part.read(i).tobytes()] == part.label(i) for i in range(0, len(part), 7))


@pytest.mark.parametrize(
    "source", ["", "digit", "digits:", "digits:val", "mnist", "folder", "folder:", "archive:", "packed", "unpaired"]
)
def test_unknown_sources(source):
    if source == "digits:":
        assert len(open_source(source)) == 1797
        return
    with pytest.raises(
        DataError, match=rf"data\.source \(='{source}'\) is an unknown source; known: digits.*cifar10.*packed:PATH"
    ):
        open_source(source)


def test_data_from_python_cannot_be_opened_by_name():
    with pytest.raises(DataError, match=r"\(='own'\) stands for data that were given to the training from Python"):
        open_source("own")


@pytest.mark.parametrize("source", ["idx:~/nowhere", "packed:~/nowhere", "archive:~/nowhere", "archive:~/nowhere:a"])
def test_home_folder(tmp_path, monkeypatch, source):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataError, match=f"{tmp_path}/nowhere does not exist"):
        open_source(source)


def test_sources_that_decode_nothing_read_many_images_at_once():
    source = open_source("digits:test")
    assert source.image_shape == (8, 8, 1)
    rows = np.array([3, 3, 0])
    np.testing.assert_array_equal(source.read_many(rows), np.stack([source.read(i) for i in rows]))
    image, label = source.exact_example(3)
    np.testing.assert_array_equal(image, source.read(3))
    assert label == source.label(3)


@pytest.fixture(scope="module")
def tfds_set(tmp_path_factory):
    """Registers and prepares a set of encoded images, which works without TensorFlow."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class JaxganStripes(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            label = tfds.features.ClassLabel(names=["low", "high"])
            features = {"image": tfds.features.Image(shape=(None, None, 3)), "label": label}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(6), "test": self._generate_examples(2)}

        def _generate_examples(self, count):
            for i in range(count):
                file = io.BytesIO()
                Image.fromarray(np.full((5, 7, 3), 10 * i, np.uint8)).save(file, "PNG")
                file.seek(0)
                yield i, {"image": file, "label": i >= 3}

    folder = tmp_path_factory.mktemp("tfds")
    previous, tfds.core.constants.DATA_DIR = tfds.core.constants.DATA_DIR, str(folder)
    tfds.builder("jaxgan_stripes", file_format="array_record").download_and_prepare()
    yield folder
    tfds.core.constants.DATA_DIR = previous


def test_tfds_reads_images_labels_and_slices(tfds_set):
    source = open_source("tfds:jaxgan_stripes")
    assert len(source) == 6 and source.class_names == ("low", "high")
    levels = [int(source.read(i)[0, 0, 0]) for i in range(6)]
    assert sorted(levels) == [0, 10, 20, 30, 40, 50]
    assert source.read(0).shape == (5, 7, 3)
    np.testing.assert_array_equal(source.labels, [level >= 30 for level in levels])
    assert source.example(4)[1] == source.label(4) == (levels[4] >= 30)
    assert len(open_source("tfds:jaxgan_stripes:test")) == 2
    half = open_source("tfds:jaxgan_stripes:1.0.0:train[:50%]")
    assert [int(half.read(i)[0, 0, 0]) for i in range(3)] == levels[:3]
    assert half.fingerprint != open_source("tfds:jaxgan_stripes:train[50%:]").fingerprint
    assert half.fingerprint != source.fingerprint == open_source("tfds:jaxgan_stripes:train").fingerprint


def test_tfds_stays_without_tensorflow(tfds_set):
    assert len(open_source("tfds:jaxgan_stripes")) and "tensorflow" not in sys.modules


@pytest.mark.parametrize(
    "source, message",
    [
        ("tfds:jaxgan_stripes:validation", "split 'validation' is unknown; it has: train, test"),
        ("tfds:jaxgan_stripe", "has no data set 'jaxgan_stripe'; did you mean jaxgan_stripes"),
        ("tfds:mnist", r"mnist is not prepared in .*download_and_prepare\(\)"),
        ("tfds:jaxgan_stripes:9.9.9", "cannot be opened by TFDS.*9.9.9"),
        ("tfds: mnist", "must read tfds:NAME"),
    ],
)
def test_tfds_mistakes(tfds_set, source, message):
    with pytest.raises(DataError, match=message):
        open_source(source)


def test_tfds_other_file_format_and_damaged_record(tfds_set, monkeypatch):
    import tensorflow_datasets as tfds

    source = open_source("tfds:jaxgan_stripes")
    monkeypatch.setattr(source, "_records", Broken())
    with pytest.raises(
        DataError, match=r"image 2 of tfds:jaxgan_stripes cannot be read \(bad record\); remove .*prepare"
    ):
        source.read(2)

    def refuse(self, split):
        raise NotImplementedError("random access needs array_record")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "as_data_source", refuse)
    with pytest.raises(DataError, match="format without random access; remove it, then prepare"):
        open_source("tfds:jaxgan_stripes")


class Broken:
    def __getitem__(self, index):
        raise ValueError("bad record.\nAt offset 3")


def test_tfds_unlabelled_mock(tfds_set, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=3):
        faces = open_source("tfds:celeb_a")
        digits = open_source("tfds:mnist")
        assert len(faces) == 3 and faces.class_names == () and faces.labels is None
        assert faces.example(0)[0].shape == (218, 178, 3) and faces.example(0)[1] == 0
        assert digits.class_names == tuple("0123456789") and digits.read(0).shape == (28, 28, 1)


REAL = os.environ.get("JAXGAN_TEST_DATA", "")


@pytest.mark.skipif(not REAL, reason="JAXGAN_TEST_DATA does not name a folder with mnist/*.gz")
def test_real_mnist():
    source = open_source(f"idx:{Path(REAL) / 'mnist'}:test")
    assert len(source) == 10_000 and source.read(0).shape == (28, 28, 1)
    # Published facts: the first test labels, and the mean pixel of the training set, 0.1307 of 255.
    np.testing.assert_array_equal(source.labels[:10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9])
    train = open_source(f"idx:{Path(REAL) / 'mnist'}")
    assert len(train) == 60_000
    assert np.mean([train.read(i).mean() for i in range(60_000)]) / 255 == pytest.approx(0.1307, abs=5e-5)
