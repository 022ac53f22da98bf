"""Feature extractors: batching, sharding, names, and what is refused."""

import jax
import numpy as np
import pytest
from absl import logging

from jaxgan.evaluation import features, resize
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.inception import InceptionV3, parameter_shapes


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(logging, "warning", lambda *_: None)  # that a file is not the published one


@pytest.fixture(scope="module", autouse=True)
def small():
    """Inception on 75 x 75 pixels, the smallest that it takes: what happens around it is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resize, "SIZE", 75)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.standard_normal(shape, np.float32) for name, shape in parameter_shapes(64, logits=False).items()
    }
    arrays |= {name: np.abs(array) + 1 for name, array in arrays.items() if name.endswith("running_var")}
    path = tmp_path_factory.mktemp("weights") / "mine.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def extractor(small, weights):
    return features.inception_extractor(dims=64, weights=weights, batch_size=5, resizer="tf1")


def random_images(count, height=20, width=24, channels=3):
    return np.random.default_rng(count).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def direct(weights, resized):
    """The network on one device, all images at once."""
    with np.load(weights) as arrays:
        module = InceptionV3(dict(arrays), dims=64)
    return np.asarray(jax.jit(lambda x: module(x)[0])(jax.device_put(resized, jax.devices()[0])))


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_batches_over_eight_devices_equal_one_device(weights, extractor):
    images = random_images(11)  # a full batch of eight, and three
    found = extractor(images)
    assert found.logits is None and found.features.shape == (11, 64) and found.features.dtype == np.float32
    assert_close(found.features, direct(weights, resize.resize(images, "tf1")))
    assert np.ptp(found.features, axis=0).max() > 0.1  # images differ


def test_rows_do_not_depend_on_their_neighbours(extractor):
    images = random_images(11)
    np.testing.assert_array_equal(extractor(images).features[8:], extractor(images[8:]).features)


def test_one_program_serves_all_counts_sizes_and_channels(weights, extractor):
    for images in (random_images(3), random_images(9), random_images(2, 31, 17), random_images(2, channels=1)):
        assert extractor(images).features.shape == (len(images), 64)
    assert extractor._network._cache_size() == 1
    grey = random_images(2, channels=1)
    np.testing.assert_array_equal(extractor(grey).features, extractor(grey.repeat(3, axis=3)).features)


def test_no_image_gives_no_row(extractor):
    assert extractor(random_images(0)).features.shape == (0, 64)


def test_work_is_spread_over_all_devices(extractor):
    (_, (batch, _)), *rest = extractor._run(random_images(8))
    assert rest == [] and batch.shape == (8, 64)
    assert {shard.device for shard in batch.addressable_shards} == set(jax.local_devices())
    assert {shard.data.shape for shard in batch.addressable_shards} == {(1, 64)}


@pytest.mark.parametrize(("asked", "run"), [(1, 8), (8, 8), (9, 16), (64, 64)])
def test_batch_is_rounded_up_to_the_devices(weights, asked, run):
    other = features.inception_extractor(dims=64, weights=weights, batch_size=asked)
    ((_, (batch, _)),) = other._run(random_images(1))
    assert len(batch) == run


@pytest.mark.parametrize("name", ["bilinear", "clean"])
def test_other_resizers_are_applied_and_named(weights, extractor, name):
    images = random_images(2)
    other = features.inception_extractor(dims=64, weights=weights, batch_size=8, resizer=name)
    resized = resize.resize_clean(images) if name == "clean" else resize.resize(images, name)
    assert_close(other(images).features, direct(weights, resized))
    assert other.name.endswith(f"/64/{name}") and other.name != extractor.name


def test_name_holds_all_that_decides_the_features(extractor):
    network, dims, resizer = extractor.name.split("/")
    assert network.startswith("inception-2015-12-05-") and len(network.split("-")[-1]) == 8
    assert (dims, resizer) == ("64", "tf1")


@pytest.mark.parametrize(
    ("choice", "says"), [({"dims": 100}, r"feature_dims \(=100\) must be"), ({"resizer": "fast"}, "'fast'")]
)
def test_unknown_choices_are_refused(weights, choice, says):
    with pytest.raises(EvaluationError, match=says):
        features.inception_extractor(**{"dims": 64, "weights": weights} | choice)


def test_one_ahead_draws_the_next_before_it_yields():
    events = []

    def source():
        for i in range(3):
            events.append(f"start {i}")
            yield i

    for i in features._one_ahead(source()):
        events.append(f"fetch {i}")
    assert events == ["start 0", "start 1", "fetch 0", "start 2", "fetch 1", "fetch 2"]


def test_callable_returns_features_or_features_and_logits():
    images = random_images(3)
    plain = features.CallableExtractor("mean", lambda x: x.mean((1, 2)))
    assert plain.name == "mean" and plain(images).logits is None
    np.testing.assert_allclose(plain(images).features, images.mean((1, 2)), rtol=1e-6)
    both = features.CallableExtractor("both", lambda x: (x.mean((1, 2)), jax.numpy.ones((len(x), 10))))
    found = both(images)
    assert found.features.dtype == np.float32 and isinstance(found.logits, np.ndarray) and found.logits.shape == (3, 10)


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (lambda x: x.mean((1, 2))[:-1], r"features of shape \(2, 3\) for 3 images"),
        (lambda x: x.mean((1, 2, 3)), r"features of shape \(3,\)"),
        (lambda x: (x.mean((1, 2)), np.zeros((2, 10))), r"logits of shape \(2, 10\)"),
        (lambda x: np.full((3, 4), np.nan), "not finite"),
    ],
)
def test_callable_of_wrong_results_is_refused(fn, says):
    with pytest.raises(EvaluationError, match=f"The extractor mine returned .*{says}|mine returned {says}"):
        features.CallableExtractor("mine", fn)(random_images(3))
