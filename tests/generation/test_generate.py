"""Images in batches: equal to one plain call of the network, whatever the batches and devices."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxgan.config import MeshConfig
from jaxgan.core import sharding
from jaxgan.generation import latents
from jaxgan.generation.errors import RunError
from jaxgan.generation.generate import generate, render


def plain(run, variables, inputs):
    """The network called once, on one device, without batches or padding."""
    v, inputs = jax.device_get((variables["g"], inputs))
    call = jax.jit(lambda v, inputs: run.networks["g"](v.params, v.stats, inputs["z"], inputs["labels"], train=False))
    return np.asarray(call(v, dict(inputs))[0])


@pytest.fixture(scope="module")
def reference(tiny_run):
    inputs = latents.draw(4, 5, 7, 0, 20)
    return inputs, plain(tiny_run, tiny_run.variables(), inputs)


class Count:
    def __init__(self):
        self.calls = []

    def advance(self, n):
        self.calls.append(n)


def whole(batches):
    images, inputs = zip(*batches, strict=True)
    return np.concatenate(images), {name: np.concatenate([part[name] for part in inputs]) for name in inputs[0]}


@pytest.mark.parametrize(("batch_size", "sizes"), [(20, [20]), (8, [8, 8, 4]), (3, [3] * 6 + [2]), (64, [20])])
def test_batches_change_nothing(tiny_run, reference, batch_size, sizes):
    inputs, expected = reference
    count = Count()
    batches = list(generate(tiny_run, 20, seed=7, batch_size=batch_size, progress=count))
    assert [len(images) for images, _ in batches] == sizes == count.calls
    images, drawn = whole(batches)
    assert all(np.array_equal(drawn[name], inputs[name]) for name in inputs)
    assert images.dtype == np.float32 and images.shape == (20, 8, 8, 1)
    np.testing.assert_allclose(images, expected, atol=2e-6)
    assert np.ptp(expected, axis=0).min() > 1e-3, "the samples differ, so a wrong order would be seen"


def test_devices_change_nothing(tiny_run, reference):
    mesh = sharding.make_mesh(MeshConfig(data=1))
    single = dataclasses.replace(
        tiny_run, mesh=mesh, nets=jax.device_put(tiny_run.nets, sharding.replicated(mesh)),
        ema=jax.device_put(tiny_run.ema, sharding.replicated(mesh)),
    )  # fmt: skip
    assert tiny_run.mesh.size == 8
    images, inputs = whole(generate(single, 20, seed=7, batch_size=6))
    assert all(np.array_equal(inputs[name], reference[0][name]) for name in inputs)
    np.testing.assert_allclose(images, reference[1], atol=2e-6)


def test_the_last_batch_needs_no_program_of_its_own(tiny_run):
    run = dataclasses.replace(tiny_run)  # with a program of its own
    list(generate(run, 20, seed=7, batch_size=8))
    list(generate(run, 9, seed=1, batch_size=8, class_id=2))
    assert run.sampler._cache_size() == 1


def test_nothing_is_transferred_behind_the_back_of_a_training(tiny_run):
    """The loop forbids implicit transfers, also to what it calls to evaluate."""
    with jax.transfer_guard("disallow"):
        images, _ = next(generate(tiny_run, 4, seed=1, batch_size=8, truncation=0.7))
    assert images.shape == (4, 8, 8, 1)


def test_weights_are_those_asked_for(tiny_run, reference):
    inputs, averaged = reference
    ask = {"num": 20, "seed": 7, "batch_size": 20}
    raw, _ = whole(generate(tiny_run, **ask, weights="raw"))
    np.testing.assert_allclose(raw, plain(tiny_run, tiny_run.nets, inputs), atol=2e-6)
    assert np.abs(raw - averaged).max() > 0.01
    np.testing.assert_allclose(whole(generate(tiny_run, **ask, weights="ema"))[0], averaged, atol=2e-6)
    given, _ = whole(generate(tiny_run, **ask, weights="ema", variables=tiny_run.nets))
    assert np.array_equal(given, raw)


def test_class_and_truncation_reach_the_inputs(tiny_run):
    images, inputs = whole(generate(tiny_run, 5, seed=3, batch_size=8, class_id=4, truncation=0.3))
    assert set(inputs["labels"]) == {4} and np.abs(inputs["z"]).max() < 0.3
    np.testing.assert_allclose(images, plain(tiny_run, tiny_run.variables(), inputs), atol=2e-6)


def test_given_inputs_are_rendered_in_order(tiny_run, reference):
    inputs, expected = reference
    backwards = {name: rows[::-1] for name, rows in inputs.items()}
    batches = list(render(tiny_run, backwards, batch_size=8, variables=tiny_run.variables()))
    assert [len(images) for images in batches] == [8, 8, 4]
    np.testing.assert_allclose(np.concatenate(batches), expected[::-1], atol=2e-6)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num": 0}, r"number of images \(=0\) must be at least 1"),
        ({"batch_size": 0}, r"batch size \(=0\) must be at least 1"),
        ({"class_id": 5}, "class 5 must be one of 0 ... 4"),
        ({"truncation": 0.0}, "truncation"),
        ({"weights": "best"}, "weights"),
    ],
)
def test_wrong_arguments_are_named(tiny_run, changes, text):
    with pytest.raises(RunError, match=text):
        next(generate(tiny_run, **{"num": 4, "seed": 0, "batch_size": 4} | changes))
