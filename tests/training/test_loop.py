"""The loop: resumed runs are bitwise those that never stopped, bad states are never saved, hooks are called."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxgan.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    EmaConfig,
    EvalConfig,
    HealthConfig,
    LogConfig,
    MeshConfig,
    ModelConfig,
    SampleConfig,
)
from jaxgan.core.checkpoint import Checkpointer
from jaxgan.data.pipeline import Dataset, open_dataset
from jaxgan.data.source import ArraySource
from jaxgan.methods.adversarial import Adversarial
from jaxgan.objectives.losses import Loss
from jaxgan.training import setup as setup_lib
from jaxgan.training.loop import train
from jaxgan.training.metrics import MetricWindow, NonFiniteError, network_of
from jaxgan.training.workdir import WorkdirError

CONFIG = Config(
    total_steps=20,
    batch_size=8,
    num_d_steps=2,
    data=DataConfig(source="digits", resolution=8, channels=1, flip=True, scaling="nnabla"),
    model=ModelConfig(latent_dim=4, g_channels=8, d_channels=8, attention_resolutions=(4,)),
    ema=EmaConfig(halflife_images=50, start_step=3),
    checkpoint=CheckpointConfig(every_steps=5, keep=9),
    sample=SampleConfig(every_steps=10, rows=2, columns=2),
    log=LogConfig(every_steps=3),
    mesh=MeshConfig(data=2),
)


def change(config: Config = CONFIG, **fields) -> Config:
    return dataclasses.replace(config, **fields)


def same(a, b) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def metrics_of(workdir: Path) -> list[dict]:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    timings = ("images_per_second", "data_wait")
    of_steps = (line for line in lines if not any(name.endswith("_gate") for name in line))  # those come with grids
    return [{name: value for name, value in line.items() if name not in timings} for line in of_steps]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Twenty steps without a stop: (workdir, final state)."""
    workdir = tmp_path_factory.mktemp("straight")
    return workdir, train(CONFIG, workdir)


def test_stopping_and_going_on_changes_no_bit(straight, tmp_path):
    workdir, state = straight
    train(change(total_steps=10), tmp_path)
    resumed = train(CONFIG, tmp_path)
    assert same(resumed, state)
    assert metrics_of(tmp_path)[-4:] == metrics_of(workdir)[-4:]
    a, b = (folder / "samples" / "step_00000020.png" for folder in (tmp_path, workdir))
    assert a.read_bytes() == b.read_bytes()


def test_what_a_run_records(straight):
    workdir, _ = straight
    lines = metrics_of(workdir)
    assert [line["step"] for line in lines] == [3, 6, 9, 12, 15, 18, 20]
    assert all(line["images_seen"] == line["step"] * 16 for line in lines)
    assert set(lines[0]) == {"step", "images_seen"} | {
        f"train/{name}"
        for name in (
            "d_loss", "g_loss", "real_logits", "fake_logits", "d_accuracy", "d_grad_norm", "g_grad_norm"
        )
    }  # fmt: skip
    assert Checkpointer(workdir / "checkpoints").steps() == [5, 10, 15, 20]
    names = {path.name for path in (workdir / "samples").iterdir()}
    assert names == {"real.png"} | {f"step_{s:08d}{kind}.png" for s in (10, 20) for kind in ("", "_raw")}


@pytest.mark.slow
def test_going_on_with_fewer_devices(straight, tmp_path):
    _, state = straight
    train(change(total_steps=10), tmp_path)
    resumed = train(change(mesh=MeshConfig(data=1)), tmp_path)
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(resumed)} == {1}
    # The same data and randomness; the sums over devices round otherwise, which Adam amplifies where gradients vanish.
    for name in ("g", "d"):
        distance = optax.tree.norm(
            jax.tree.map(lambda a, b: np.asarray(a) - b, resumed.nets[name].params, state.nets[name].params)
        )
        assert float(distance) < 0.05 * float(optax.tree.norm(state.nets[name].params))


def test_half_a_checkpoint_is_ignored(straight, tmp_path):
    _, state = straight
    train(change(total_steps=10), tmp_path)
    (tmp_path / "checkpoints" / "15.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "checkpoints" / "15.orbax-checkpoint-tmp" / "train").mkdir()
    assert same(train(CONFIG, tmp_path), state)


def test_lines_that_were_written_after_the_last_checkpoint_are_replaced(straight, tmp_path):
    workdir, _ = straight
    train(change(total_steps=10), tmp_path)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 12, "train/d_loss": 99}\n{"step": 13, "tra')
    train(CONFIG, tmp_path)
    assert [line["step"] for line in metrics_of(tmp_path)] == [3, 6, 9, 10, 12, 15, 18, 20]
    assert metrics_of(tmp_path)[-4:] == metrics_of(workdir)[-4:]


def test_a_finished_run_is_returned_at_once(straight, capfd):
    workdir, state = straight
    before = (workdir / "metrics.jsonl").read_text()
    assert same(train(CONFIG, workdir), state)
    assert "step 20 of 20 is done" in capfd.readouterr().err
    assert (workdir / "metrics.jsonl").read_text() == before


def test_other_data_under_the_same_name_is_refused(tmp_path):
    train(change(total_steps=1), tmp_path)
    fewer = Dataset(
        ArraySource("digits", np.zeros((50, 8, 8, 1), np.uint8), np.arange(50) % 10, "0123456789"), CONFIG.data
    )
    with pytest.raises(WorkdirError, match=r"data\.num_images \(1797 -> 50\)"):
        train(CONFIG, tmp_path, dataset=fewer)


def test_a_workdir_with_checkpoints_of_somebody_else(tmp_path):
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    with pytest.raises(WorkdirError, match="holds checkpoints but no config.json"):
        train(CONFIG, tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(WorkdirError, match="is not a configuration of this version"):
        train(CONFIG, tmp_path)


class Mean(nnx.Module):
    """Logits: w * mean of the image; its G, `Pixels`, gives w in every pixel."""

    def __init__(self):
        self.w = nnx.Param(jnp.asarray(0.5))

    def __call__(self, images, labels):
        return self.w[...] * jnp.mean(images, axis=(1, 2, 3))


class Pixels(nnx.Module):
    def __init__(self):
        self.w = nnx.Param(jnp.asarray(0.1))

    def __call__(self, z, labels):
        return jnp.broadcast_to(self.w[...] * z[:, :1, None, None], (len(z), 8, 8, 1))


def exploding(network: str) -> Adversarial:
    """Losses whose gradients grow until they are infinite, in one of the networks."""
    big, none = (lambda *logits: -(sum(logits) ** 4)), (lambda *logits: 0.0 * sum(logits))
    losses = Loss(d=big, g=none) if network == "d" else Loss(d=none, g=lambda logits: -(logits**4))
    return Adversarial(
        generator=lambda rngs: Pixels(),
        discriminator=lambda rngs: Mean(),
        latent_dim=4,
        loss_fns=losses,
        num_d_steps=2,
        g_tx=optax.sgd(10.0),
        d_tx=optax.sgd(10.0),
    )


@pytest.mark.parametrize("network", ["g", "d"])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, network):
    config = change(
        total_steps=200,
        checkpoint=CheckpointConfig(every_steps=1, keep=500),
        log=LogConfig(every_steps=50),
        health=HealthConfig(max_rollbacks=0),
    )
    with pytest.raises(NonFiniteError) as error:
        train(config, tmp_path, method=exploding(network))
    steps = Checkpointer(tmp_path / "checkpoints").steps()
    assert error.value.network == network and error.value.step == steps[-1] + 1
    assert f"of network '{network}' is not finite at step {error.value.step}" in str(error.value)
    assert f"the last good checkpoint is step {steps[-1]}" in str(error.value)


def test_a_loss_that_is_not_finite_between_checkpoints_is_never_saved(tmp_path):
    config = change(
        total_steps=200,
        checkpoint=CheckpointConfig(every_steps=100),
        log=LogConfig(every_steps=40),
        health=HealthConfig(max_rollbacks=0),
    )
    with pytest.raises(NonFiniteError, match="there is no checkpoint yet") as error:
        train(config, tmp_path, method=exploding("g"))
    assert error.value.step < 40, "found at the next log step, named exactly"
    assert Checkpointer(tmp_path / "checkpoints").steps() == []


def test_the_window_names_the_first_value_that_is_not_finite():
    window = MetricWindow(["d_loss", "d_grad_norm", "g_loss"])
    for step, row in ((1, [1, 2, 3]), (2, [1, np.inf, np.nan]), (3, [np.nan] * 3)):
        window.add(step, jnp.asarray(row, jnp.float32))
    assert window.fetch(1) == {"d_loss": 1.0, "d_grad_norm": 2.0, "g_loss": 3.0}
    assert window.fetch(1) == {}
    assert window.fetched() == [(1, {"d_loss": 1.0, "d_grad_norm": 2.0, "g_loss": 3.0})] and window.fetched() == []
    with pytest.raises(NonFiniteError, match="d_grad_norm of network 'd' is not finite at step 2"):
        window.fetch(3)


def test_networks_of_metrics():
    assert [network_of(m, ("g", "d")) for m in ("g_loss", "d_grad_norm", "penalty")] == ["g", "d", "d"]
    translation = ("g_ab", "g_ba", "d_a", "d_b")
    assert [network_of(m, translation) for m in ("g_ab_grad_norm", "d_a_loss", "cycle_loss")] == ["g_ab", "d_a", None]


def test_evaluations_choose_the_best_checkpoint(tmp_path):
    scores = iter([7.0, 3.0, 5.0, 9.0])
    seen = []

    def evaluate(state, networks):
        seen.append((int(state.step), sorted(networks)))
        return {"fid": next(scores)}

    config = change(
        total_steps=8,
        eval=EvalConfig(every_steps=2),
        checkpoint=CheckpointConfig(every_steps=100, keep=1, keep_best=1, best_metric="fid"),
    )
    train(config, tmp_path, evaluate=evaluate)
    assert seen == [(2, ["d", "g"]), (4, ["d", "g"]), (6, ["d", "g"]), (8, ["d", "g"])]
    assert Checkpointer(tmp_path / "checkpoints").steps() == [4, 8]
    assert [line["eval/fid"] for line in metrics_of(tmp_path) if "eval/fid" in line] == [7.0, 3.0, 5.0, 9.0]


def test_a_profile_is_written(tmp_path):
    train(change(total_steps=6, log=LogConfig(every_steps=3, profile_step=2, profile_num_steps=2)), tmp_path)
    assert list(tmp_path.rglob("*.xplane.pb"))


@pytest.mark.slow
def test_a_profile_longer_than_the_run_is_closed(tmp_path):
    train(change(total_steps=3, log=LogConfig(every_steps=3, profile_step=2, profile_num_steps=50)), tmp_path)
    assert list(tmp_path.rglob("*.xplane.pb"))


def test_own_networks_and_losses_in_a_few_lines(tmp_path):
    method = Adversarial(
        generator=lambda rngs: Pixels(),
        discriminator=lambda rngs: Mean(),
        latent_dim=4,
        num_d_steps=2,
        loss_fns=Loss(d=lambda real, fake: fake - real, g=lambda fake: -fake),
    )
    state = train(change(total_steps=3), tmp_path, method=method)
    assert int(state.step) == 3 and not state.ema
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {"real.png", "step_00000003.png"}


@pytest.mark.slow
def test_unconditional_training_on_unlabelled_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    config = change(
        total_steps=2,
        data=DataConfig(resolution=8, channels=3),
        model=dataclasses.replace(CONFIG.model, conditional=False),
    )
    state = train(config, tmp_path, dataset=Dataset(ArraySource("noise", images, None), config.data))
    assert int(state.step) == 2
    assert not any("embed" in name for name in state.nets["d"].params["head"])


def test_the_step_gets_what_the_configuration_says():
    setup = setup_lib.prepare(CONFIG, open_dataset(CONFIG.data).spec)
    assert setup.metric_names.index("d_loss") < setup.metric_names.index("g_loss")
    shape = setup_lib.batch_shape(CONFIG, open_dataset(CONFIG.data).spec)
    assert shape["images"].shape == (2, 8, 8, 8, 1) and shape["images"].dtype == np.uint8
