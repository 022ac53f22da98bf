"""Opening runs: what was saved is what is opened; whatever is wrong with a folder is one sentence."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from jaxgan.config import Config
from jaxgan.core.checkpoint import Checkpointer, CheckpointError
from jaxgan.generation import run as run_lib
from jaxgan.generation.run import RunError, list_steps, open_run
from jaxgan.methods.adversarial import Adversarial
from tests.tiny_run import CONFIG, DATA, PERCEPTRON, UNCONDITIONAL, write_run

# Reads that fail leave some of the storage layer's coroutines without an awaiter; they may be collected later.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def cheap(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("cheap"), PERCEPTRON, steps=(4, 20, 100))


@pytest.fixture
def copy(cheap, tmp_path):
    return Path(shutil.copytree(cheap, tmp_path / "copy"))


def kernel(run, weights="raw"):
    return np.asarray(run.variables(weights)["g"].params["layers"]["0"]["kernel"])


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_opened_run_knows_what_it_is(tiny_run):
    assert (tiny_run.config, tiny_run.data, tiny_run.step) == (CONFIG, DATA, 3)
    assert (tiny_run.num_classes, tiny_run.latent_dim, set(tiny_run.networks)) == (5, 4, {"g", "d"})
    assert tiny_run.mesh.size == 8 and set(tiny_run.nets) == {"g", "d"} and set(tiny_run.ema) == {"g"}
    leaf = tiny_run.nets["g"].params["linear"]["kernel"]
    assert len(leaf.sharding.device_set) == 8


def test_weights_are_chosen_by_name(tiny_run, cheap):
    raw, ema, auto = (tiny_run.variables(name) for name in ("raw", "ema", "auto"))
    assert raw["g"] is tiny_run.nets["g"] and ema["g"] is auto["g"] is tiny_run.ema["g"]
    assert all(variables["d"] is tiny_run.nets["d"] for variables in (raw, ema, auto))
    with pytest.raises(RunError, match=r"weights \(='best'\) must be auto, ema or raw"):
        tiny_run.variables("best")
    without = open_run(cheap)
    assert without.ema == {} and without.variables("auto")["g"] is without.nets["g"]
    with pytest.raises(RunError, match="keeps no averaged weights"):
        without.variables("ema")


def test_the_newest_step_is_opened_unless_one_is_named(cheap):
    assert list_steps(cheap) == [4, 20, 100]
    (cheap / "checkpoints" / "120.orbax-checkpoint-tmp").mkdir(exist_ok=True)  # a save that is under way
    newest, old = open_run(cheap), open_run(str(cheap), step=20)
    assert (newest.step, old.step) == (100, 20)
    # The run of `write_run` draws the weights of a step from its number.
    assert np.abs(kernel(newest) - kernel(old)).max() > 0.05
    with pytest.raises(RunError, match="no checkpoint of step 5; there are 4, 20, 100"):
        open_run(cheap, step=5)


def test_classes_by_id_and_by_name(tiny_run, tmp_path):
    assert [tiny_run.class_id(name) for name in ("cat", "a b", 2, "0", "4")] == [0, 3, 2, 0, 4]
    assert tiny_run.class_id("2") == 4, "the class that is called so"
    for unknown in (5, -1, "5", "-1", "1.0", "²"):
        with pytest.raises(RunError, match=r"must be an id 0 ... 4 or one of 5 names such as 'cat'"):
            tiny_run.class_id(unknown)
    with pytest.raises(RunError, match="class 'dgo' must be .*did you mean 'dog'"):
        tiny_run.class_id("dgo")
    unlabelled = open_run(write_run(tmp_path, UNCONDITIONAL))
    with pytest.raises(RunError, match="class 0 was asked for, but .* was trained without classes"):
        unlabelled.class_id(0)
    assert unlabelled.sample(3).shape == (3, 8, 8, 1)


def test_samples(tiny_run):
    images = tiny_run.sample(5, seed=3)
    assert images.dtype == np.float32 and images.shape == (5, 8, 8, 1) and np.abs(images).max() <= 1
    np.testing.assert_allclose(tiny_run.sample(3, seed=3, batch_size=2), images[:3], atol=2e-6)
    from jaxgan.generation.latents import draw

    inputs = draw(4, 5, 3, 0, 5)
    np.testing.assert_allclose(tiny_run.sample(**inputs), images, atol=2e-6)
    dogs = tiny_run.sample(5, seed=3, class_id="dog")
    np.testing.assert_allclose(tiny_run.sample(z=inputs["z"], class_id=1), dogs, atol=2e-6)
    np.testing.assert_allclose(tiny_run.sample(labels=[1] * 5, seed=3), dogs, atol=2e-6)
    assert np.abs(dogs - tiny_run.sample(5, seed=3, class_id="cat")).max() > 1e-3
    assert np.abs(images - tiny_run.sample(5, seed=3, weights="raw")).max() > 1e-3
    assert np.abs(images - tiny_run.sample(5, seed=3, truncation=0.2)).max() > 1e-3
    with pytest.raises(RunError, match="labels are missing"):
        tiny_run.sample(z=inputs["z"])


def test_a_checkpoint_that_vanishes_while_it_is_read(copy, monkeypatch):
    """What a training does that keeps few checkpoints: it deletes the one being read, and a newer one is there."""
    shutil.move(copy / "checkpoints" / "100", copy / "later")
    restore = Checkpointer.restore

    def restore_late(self, step, like):
        if step == 20:
            shutil.move(copy / "later", copy / "checkpoints" / "100")
            shutil.rmtree(copy / "checkpoints" / "20" / "train")
        return restore(self, step, like)

    monkeypatch.setattr(Checkpointer, "restore", restore_late)
    assert open_run(copy).step == 100


def test_a_damaged_checkpoint_is_reported_and_not_read_for_ever(copy):
    shutil.rmtree(copy / "checkpoints" / "100" / "train")
    with pytest.raises(CheckpointError, match="100 cannot be read"):
        open_run(copy)


def test_folders_that_hold_no_run(tmp_path, copy):
    with pytest.raises(RunError, match="absent is not a workdir of jaxgan .*No such file"):
        open_run(tmp_path / "absent")
    with pytest.raises(RunError, match="is not a workdir of jaxgan"):
        list_steps(tmp_path)
    (copy / "run.json").unlink()
    with pytest.raises(RunError, match="its run.json cannot be read"):
        open_run(copy)
    (copy / "run.json").write_text('{"data": {"height": 8}}')
    with pytest.raises(RunError, match="run.json does not describe the data"):
        open_run(copy)
    for text in ("{", "[]"):
        (copy / "config.json").write_text(text)
        with pytest.raises(RunError, match="config.json is not"):
            open_run(copy)


def test_a_run_without_a_checkpoint(copy):
    shutil.rmtree(copy / "checkpoints")
    assert list_steps(copy) == []
    with pytest.raises(RunError, match="has no checkpoint yet; the first one comes at step 1,000, or at once when"):
        open_run(copy)
    assert not (copy / "checkpoints").exists(), "reading writes nothing"


def test_settings_of_a_newer_version(copy):
    edit(copy / "config.json", warp_drive=7)
    with pytest.raises(RunError, match="config.warp_drive is not a field.*; update jaxgan"):
        open_run(copy)


def test_a_checkpoint_of_a_newer_format(copy, monkeypatch):
    monkeypatch.setattr("jaxgan.core.checkpoint.FORMAT", 0)
    with pytest.raises(CheckpointError, match="newer than this version's"):
        open_run(copy)


def test_settings_that_describe_no_network(copy):
    edit(copy / "config.json", model={"name": "resnet", "base_size": 5})
    with pytest.raises(RunError, match="describes no network that can be built"):
        open_run(copy)


class Generator(nnx.Module):
    def __init__(self, rngs):
        self.out = nnx.Linear(4, 64, rngs=rngs)
        # A module may look at the values of its weights; no shape alone can tell them.
        self.scale = float(np.asarray(self.out.kernel[...]).std())

    def __call__(self, z, labels):
        return jax.numpy.tanh(self.out(z)).reshape(-1, 8, 8, 1)


class Discriminator(nnx.Module):
    def __init__(self, rngs):
        self.out = nnx.Linear(64, 1, rngs=rngs)

    def __call__(self, images, labels):
        return self.out(images.reshape(-1, 64))[:, 0]


def test_networks_of_a_users_own(tmp_path):
    method = Adversarial(generator=Generator, discriminator=Discriminator, latent_dim=4)
    workdir = write_run(tmp_path, Config(data=CONFIG.data), method=method)
    with pytest.raises(RunError, match=r"holds other networks than .* by open_run\(workdir, method=...\)"):
        open_run(workdir)
    run = open_run(workdir, method=method)
    params = jax.device_get(run.nets["g"].params["out"])
    z = np.ones((1, 4), np.float32)
    expected = np.tanh(z @ params["kernel"] + params["bias"][None]).reshape(1, 8, 8, 1)
    np.testing.assert_allclose(run.sample(z=z), expected, rtol=1e-5)


def test_a_method_without_latents(cheap):
    run = open_run(cheap)
    object.__setattr__(run, "method", object())
    assert run.num_classes == 0
    with pytest.raises(RunError, match="a method that draws no images from latents"):
        run.sample(1)
    assert run_lib.RunError is RunError
