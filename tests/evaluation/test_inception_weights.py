"""Where the weights come from, and what is said when they cannot be used."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from absl import logging

from jaxgan.evaluation import inception_weights
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.inception import parameter_shapes


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(64, logits=False)
    return {name: rng.standard_normal(shape, np.float32).astype(np.float16) for name, shape in shapes.items()}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty cache, no variable, and a release that cannot be reached."""
    monkeypatch.delenv(inception_weights.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(inception_weights, "URL", (tmp_path / "release.npz").as_uri())
    monkeypatch.setattr(inception_weights, "NAME", "weights.npz")
    return tmp_path


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda message, *args: said.append(message % args))
    return said


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def load(path=None):
    return inception_weights.load(path, dims=64, logits=False)


def publish(home, arrays, monkeypatch):
    """Makes `arrays` the published file."""
    release = save(home / "release.npz", arrays)
    monkeypatch.setattr(inception_weights, "SHA256", sha256(release))
    return release


def assert_same(found, arrays):
    assert set(found.arrays) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_given_npz_is_used_with_its_hash_and_a_warning(home, arrays, warnings):
    path = save(home / "mine.npz", arrays)
    found = load(path)
    assert_same(found, arrays)
    assert found.digest == sha256(path)[:8]
    assert len(warnings) == 1 and str(path) in warnings[0] and found.digest in warnings[0]


def test_pth_gives_the_same_arrays(home, arrays, warnings):
    torch = pytest.importorskip("torch")
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, home / "mine.pth")
    assert_same(load(home / "mine.pth"), arrays)


def test_argument_goes_before_the_variable_and_the_variable_before_the_cache(home, arrays, warnings, monkeypatch):
    cached = save(home / "other.npz", arrays)
    monkeypatch.setattr(inception_weights, "SHA256", sha256(cached))
    inception_weights.cache_file().parent.mkdir(parents=True)
    cached.rename(inception_weights.cache_file())
    by_variable = save(home / "variable.npz", arrays | {"x": np.ones(1)})
    by_argument = save(home / "argument.npz", arrays | {"x": np.ones(2)})
    assert load().digest == inception_weights.SHA256[:8]
    assert warnings == []  # the published file
    monkeypatch.setenv(inception_weights.VARIABLE, str(by_variable))
    assert load().digest == sha256(by_variable)[:8]
    assert load(by_argument).digest == sha256(by_argument)[:8]


def test_given_path_without_a_file_names_where_it_was_given(home, monkeypatch):
    with pytest.raises(EvaluationError, match="--inception_weights names .*gone.pth"):
        load(home / "gone.pth")
    monkeypatch.setenv(inception_weights.VARIABLE, str(home / "lost.pth"))
    with pytest.raises(EvaluationError, match="variable JAXGAN_INCEPTION_WEIGHTS names .*lost.pth"):
        load()


def test_release_is_downloaded_once(home, arrays, warnings, monkeypatch):
    release = publish(home, arrays, monkeypatch)
    found = load()
    assert_same(found, arrays)
    assert found.digest == sha256(release)[:8] and warnings == []
    release.unlink()
    assert_same(load(), arrays)
    assert [path.name for path in inception_weights.cache_file().parent.iterdir()] == ["weights.npz"]


def test_damaged_cache_is_downloaded_again(home, arrays, monkeypatch):
    publish(home, arrays, monkeypatch)
    inception_weights.cache_file().parent.mkdir(parents=True)
    inception_weights.cache_file().write_bytes(b"half of it")
    assert_same(load(), arrays)


def test_download_of_another_hash_is_refused_and_not_kept(home, arrays):
    release = save(home / "release.npz", arrays)
    with pytest.raises(EvaluationError, match=f"SHA-256 {sha256(release)} instead of 6726825d"):
        load()
    assert list(inception_weights.cache_file().parent.iterdir()) == []


def test_offline_says_what_to_fetch_and_where_it_goes(home):
    with pytest.raises(EvaluationError) as refusal:
        load()
    message = str(refusal.value)
    assert inception_weights.URL in message and "--inception_weights FILE" in message
    assert str(inception_weights.cache_file()) in message and message.count(". ") == 0  # one sentence
    assert list(inception_weights.cache_file().parent.iterdir()) == []


def test_cache_that_cannot_be_made_is_no_traceback(home, monkeypatch):
    (home / "cache").write_text("a file in the way")
    with pytest.raises(EvaluationError, match="could not be downloaded"):
        load()


def test_cache_lies_under_the_home_folder_by_default(monkeypatch, home):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(home))
    assert inception_weights.cache_file() == Path(home) / ".cache" / "jaxgan" / "weights.npz"


def test_published_constants():
    assert inception_weights.SHA256.startswith("6726825d") and len(inception_weights.SHA256) == 64


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((32, 3, 3, 2)), r"float64 of shape \(32, 3, 3, 2\).* \(32, 3, 3, 3\)"),
        (np.zeros((32, 3, 3, 3), int), "int64 of shape"),
    ],
)
def test_other_shapes_or_types_name_the_array(home, arrays, bad, says):
    path = save(home / "mine.npz", arrays | {"Conv2d_1a_3x3.conv.weight": bad})
    with pytest.raises(EvaluationError, match=f"Conv2d_1a_3x3.conv.weight in .*mine.npz is {says}"):
        load(path)


def test_shapes_of_deeper_layers_are_checked_too(home, arrays):
    path = save(home / "mine.npz", arrays | {"fc.weight": np.zeros((1000, 2048), np.float32)})  # ImageNet's own classes
    with pytest.raises(EvaluationError, match=r"fc.weight .*\(1008, 2048\)"):
        load(path)


def test_truncated_npz_is_refused(home, arrays):
    path = save(home / "mine.npz", arrays)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(EvaluationError, match="mine.npz cannot be used"):
        load(path)


def test_damaged_member_of_an_npz_is_named(home, arrays):
    path = save(home / "mine.npz", arrays)
    data = path.read_bytes()
    where = data.index(arrays["Conv2d_2b_3x3.bn.bias"].tobytes())
    path.write_bytes(data[:where] + bytes([data[where] ^ 1]) + data[where + 1 :])
    with pytest.raises(EvaluationError, match="Conv2d_2b_3x3.bn.bias in it is damaged"):
        load(path)


def test_file_that_is_no_weights_is_refused(home):
    (home / "page.pth").write_text("<html>404</html>")
    with pytest.raises(EvaluationError, match="page.pth cannot be used as Inception weights"):
        load(home / "page.pth")


def test_partial_file_says_what_it_is_good_for(home, arrays, warnings):
    path = save(home / "mine.npz", arrays)
    with pytest.raises(EvaluationError, match="lacks Conv2d_3b_1x1.conv.weight, which 192 features need; use.* 64 "):
        inception_weights.load(path, dims=192, logits=False)
    with pytest.raises(EvaluationError, match="lacks .*, which the logits need"):
        inception_weights.load(path, dims=64, logits=True)
    path = save(home / "less.npz", {name: array for name, array in arrays.items() if "Conv2d_2b" not in name})
    with pytest.raises(EvaluationError, match="lacks Conv2d_2b_3x3.conv.weight, which 64 features need; download"):
        load(path)
    assert warnings == []
