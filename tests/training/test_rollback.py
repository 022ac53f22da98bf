"""Faults injected into runs: each is rolled back from, within a budget that restarts do not renew, or diagnosed."""

import dataclasses
import json
import re

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
    HealthConfig,
    LogConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    SampleConfig,
)
from jaxgan.core.checkpoint import Checkpointer, CheckpointError
from jaxgan.methods.adversarial import Adversarial
from jaxgan.objectives.losses import Loss
from jaxgan.training.loop import train
from jaxgan.training.metrics import HealthError, NonFiniteError
from jaxgan.training.rollback import Rollbacks

CONFIG = Config(
    total_steps=8,
    batch_size=4,
    data=DataConfig(source="digits", resolution=8, channels=1),
    checkpoint=CheckpointConfig(every_steps=2, keep=9),
    sample=SampleConfig(every_steps=0, rows=2, columns=3),
    log=LogConfig(every_steps=1),
    mesh=MeshConfig(data=1),
)
# Described by the settings, so that its learning rates are the settings'.
PERCEPTRON = dataclasses.replace(
    CONFIG,
    model=ModelConfig(name="mlp", conditional=False, latent_dim=4, g_hidden=(4,), d_hidden=(4,)),
    g_optim=OptimConfig(name="sgd"),
    d_optim=OptimConfig(name="sgd"),
)


class Pixels(nnx.Module):
    """Gives z[0] times a weight in every pixel."""

    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray(0.1))

    def __call__(self, z, labels):
        return jnp.broadcast_to(self.w[...] * z[:, :1, None, None], (len(z), 8, 8, 1))


class Copies(Pixels):
    """Ignores z."""

    def __call__(self, z, labels):
        return super().__call__(jnp.ones_like(z), labels)


class Mean(nnx.Module):
    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray(0.5))

    def __call__(self, images, labels):
        return self.w[...] * jnp.mean(images, axis=(1, 2, 3))


class NanAt:
    """A term that is NaN at one update, as long as `active()` holds when the step is compiled."""

    def __init__(self, step, active=lambda: True):
        self.step, self.active = step, active

    def init(self, nets, network):
        return jnp.zeros((), jnp.int32)

    def __call__(self, game, count):
        value = jnp.where(count + 1 == self.step, jnp.nan, 0.0) if self.active() else jnp.zeros(())
        return value, count + 1


def method(generator=Pixels, **terms):
    return Adversarial(
        generator=generator,
        discriminator=Mean,
        latent_dim=2,
        loss_fns="hinge",
        g_tx=optax.sgd(0.01),
        d_tx=optax.sgd(0.01),
        **terms,
    )


def change(config=CONFIG, **fields):
    return dataclasses.replace(config, **fields)


def events(workdir, *kinds):
    lines = [json.loads(line) for line in (workdir / "health.jsonl").read_text().splitlines()]
    return [line for line in lines if not kinds or line["event"] in kinds]


def logged_steps(workdir):
    return [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_a_value_that_is_not_finite_once_is_rolled_back_from(tmp_path, capfd):
    once = NanAt(6, active=lambda: not (tmp_path / "health.jsonl").exists())
    state = train(CONFIG, tmp_path, method=method(d_terms={"nan": once}))
    assert int(state.step) == 8 and all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    (event,) = events(tmp_path)
    assert (event["event"], event["step"], event["to_step"]) == ("rollback", 6, 4)
    assert "d_nan of network 'd' is not finite at step 6; rolling back to step 4 with" in capfd.readouterr().err
    assert logged_steps(tmp_path) == list(range(1, 9)), "what is undone is cut out"
    checkpointer = Checkpointer(tmp_path / "checkpoints")
    assert [checkpointer.num_rollbacks(step) for step in checkpointer.steps()] == [0, 0, 1, 1]


@pytest.mark.slow
def test_a_value_that_is_never_finite_stops_after_the_budget_and_restarts_renew_no_budget(tmp_path):
    config = change(health=HealthConfig(max_rollbacks=1))
    always = method(d_terms={"nan": NanAt(5)})
    with pytest.raises(NonFiniteError) as error:
        train(config, tmp_path, method=always)
    assert str(error.value).startswith(
        "d_nan of network 'd' is not finite at step 5, after 1 rollback (config.health.max_rollbacks); the last good "
        "checkpoint is step 4. Nothing after it was saved"
    )
    assert [e["event"] for e in events(tmp_path)] == ["rollback", "stopped"]
    with pytest.raises(NonFiniteError, match="after 1 rollback"):
        train(config, tmp_path, method=always)
    assert [e["event"] for e in events(tmp_path)] == ["rollback", "stopped", "stopped"]
    with pytest.raises(NonFiniteError, match="after 2 rollbacks"):
        train(change(health=HealthConfig(max_rollbacks=2)), tmp_path, method=always)
    assert [e["to_step"] for e in events(tmp_path, "rollback")] == [4, 2], "the same target twice would fail twice"


@pytest.mark.slow
def test_a_failure_before_the_first_checkpoint_goes_back_to_the_start(tmp_path):
    once = NanAt(1, active=lambda: not (tmp_path / "health.jsonl").exists())
    state = train(change(total_steps=2), tmp_path, method=method(g_terms={"nan": once}))
    assert int(state.step) == 2 and events(tmp_path)[0]["to_step"] == 0


@pytest.mark.slow
def test_the_learning_rates_are_lowered(tmp_path):
    absurd = OptimConfig(name="sgd", lr=1e30)
    config = change(
        PERCEPTRON,
        g_optim=absurd,
        d_optim=absurd,
        checkpoint=CheckpointConfig(every_steps=100),
        health=HealthConfig(max_rollbacks=1, rollback_lr_factor=1e-32),
    )
    state = train(config, tmp_path / "lowered")
    assert int(state.step) == 8 and len(events(tmp_path / "lowered", "rollback")) == 1
    with pytest.raises(NonFiniteError, match="after 1 rollback "):
        train(change(config, health=HealthConfig(max_rollbacks=1, rollback_lr_factor=1.0)), tmp_path / "kept")


def test_what_a_rollback_changes(tmp_path):
    def rollbacks(own_method=False):
        return Rollbacks(tmp_path, PERCEPTRON, own_method=own_method, is_primary=True)

    key = jax.random.key(3)
    assert rollbacks().config() is PERCEPTRON and rollbacks().root_key(key) is key
    keys = [key]
    for count in (1, 2):
        rollbacks().log({"event": "rollback", "to_step": 0})
        config = rollbacks().config()
        assert config.d_optim.lr == pytest.approx(PERCEPTRON.d_optim.lr * 0.5**count)
        assert config.g_optim.lr == pytest.approx(PERCEPTRON.g_optim.lr * 0.5**count)
        assert change(config, g_optim=PERCEPTRON.g_optim, d_optim=PERCEPTRON.d_optim) == PERCEPTRON
        keys.append(rollbacks().root_key(key))
    assert len({jax.random.key_data(key).tobytes() for key in keys}) == 3


class Saved:
    """Checkpoints, each with its health and the rollbacks before it, without the files."""

    def __init__(self, healthy, num_rollbacks):
        self.is_healthy, self.num_rollbacks = healthy.__getitem__, num_rollbacks.get
        self.steps = lambda: sorted(healthy)
        self.removed = []

    def wait(self):
        raise CheckpointError("the disk is full.")  # is no reason not to roll back

    def restore(self, step, like):
        return f"state of step {step}"

    def remove(self, steps):
        self.removed += steps


def test_targets_are_the_newest_healthy_ones_each_at_first_once(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", synced.append)
    config = change(health=HealthConfig(max_rollbacks=3))
    saved = Saved({2: True, 4: True, 6: False}, {})
    rollbacks = Rollbacks(tmp_path, config, own_method=False, is_primary=True)
    said = [rollbacks.roll_back(HealthError("d is astray", 7), saved) for _ in range(3)]
    assert [event["to_step"] for event in events(tmp_path, "rollback")] == [4, 2, 4]
    assert "d is astray; rolling back to step 2 with learning rates x 0.25 and other randomness (rollback 2" in said[1]
    assert len(synced) == 3
    own = Rollbacks(tmp_path / "own", config, own_method=True, is_primary=False)
    assert "to step 0 with other randomness (" in own.roll_back(HealthError("", 7), Saved({6: False}, {}))


def test_what_a_rollback_has_undone_is_neither_restored_nor_kept(tmp_path):
    rollbacks = Rollbacks(tmp_path, CONFIG, own_method=True, is_primary=True)
    rollbacks.log({"event": "rollback", "to_step": 4})
    rollbacks = Rollbacks(tmp_path, CONFIG, own_method=True, is_primary=True)
    undone = Saved(dict.fromkeys((2, 4, 6), True), {2: 0, 4: 0, 6: 0})
    assert rollbacks.restore(undone, "fresh") == "state of step 4" and undone.removed == [6]
    later = Saved(dict.fromkeys((2, 4, 6, 8), True), {2: 0, 4: 0, 6: 0, 8: 1})
    assert rollbacks.restore(later, "fresh") == "state of step 8" and later.removed == [6]
    damaged = Saved(dict.fromkeys((2, 4, 6), True), {2: 0, 4: 0, 6: None})
    assert rollbacks.restore(damaged, "fresh") == "state of step 6" and not damaged.removed


def test_a_line_that_was_cut_off_counts_for_nothing(tmp_path):
    (tmp_path / "health.jsonl").write_text('{"event": "rollback", "to_step": 4}\n[1]\n{"event": "rollback", "to_s')
    rollbacks = Rollbacks(tmp_path, CONFIG, own_method=True, is_primary=True)
    assert rollbacks.count == 1
    rollbacks.log({"event": "rollback", "to_step": 2})
    assert Rollbacks(tmp_path, CONFIG, own_method=True, is_primary=True).count == 2
    Rollbacks(tmp_path, CONFIG, own_method=True, is_primary=False).log({"event": "rollback", "to_step": 2})
    assert Rollbacks(tmp_path, CONFIG, own_method=True, is_primary=True).count == 2, "others write nothing"


@pytest.mark.slow
def test_a_rollback_that_was_killed_half_way_is_finished_by_the_next_start(tmp_path, capfd):
    train(change(total_steps=6), tmp_path, method=method())
    Rollbacks(tmp_path, CONFIG, own_method=True, is_primary=True).log({"event": "rollback", "step": 7, "to_step": 4})
    # Unreadable, the target keeps what is later from being deleted.
    target = tmp_path / "checkpoints" / "4" / "run" / "metadata"
    good = target.read_text()
    target.write_text("{}")
    with pytest.raises(CheckpointError, match="4 cannot be read"):
        train(CONFIG, tmp_path, method=method())
    assert Checkpointer(tmp_path / "checkpoints").steps() == [2, 4, 6]
    target.write_text(good)
    train(change(total_steps=5), tmp_path, method=method())
    assert "restoring step 4 ..." in capfd.readouterr().err
    assert Checkpointer(tmp_path / "checkpoints").steps() == [2, 4, 5]
    train(CONFIG, tmp_path, method=method())
    assert "restoring step 5 ..." in capfd.readouterr().err, "it is later than the rollback, so it stays"


def test_a_generator_that_ignores_z(tmp_path, capfd):
    config = change(
        sample=SampleConfig(every_steps=2, rows=2, columns=3),
        health=HealthConfig(max_rollbacks=1, diversity_from_step=2, diversity_patience=2),
    )
    with pytest.raises(HealthError) as error:
        train(config, tmp_path, method=method(Copies))
    assert not isinstance(error.value, NonFiniteError)
    assert re.fullmatch(
        r"the samples' diversity is \S+ of that of real images \(at least config.health.min_diversity = 0.1\) since "
        r"step 2, after 1 rollback \(config.health.max_rollbacks\); no checkpoint is healthy. Lower the learning.*",
        str(error.value),
    )
    assert [(e["event"], e["step"]) for e in events(tmp_path)] == [
        ("warning", 2), ("rollback", 4), ("warning", 2), ("stopped", 4)
    ]  # fmt: skip
    assert events(tmp_path, "rollback")[0]["to_step"] == 0, "what was saved under a warning is not gone back to"
    assert "warning: the samples' diversity is " in capfd.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["health/diversity"] for line in lines if "health/diversity" in line] == [
        pytest.approx(0.0, abs=1e-6)
    ] * 2


def test_a_gap_of_the_logits_fails_a_run(tmp_path):
    config = change(health=HealthConfig(max_rollbacks=0, max_logit_gap=1e-9, patience=3))
    with pytest.raises(HealthError, match=r"logits of real and fake images are .* since step 1; no checkpoint is heal"):
        train(config, tmp_path, method=method())
    assert logged_steps(tmp_path) == [1, 2], "it ends where it fails"
    scaleless = dataclasses.replace(method(), loss_fns=Loss(d=lambda real, fake: fake - real, g=lambda fake: -fake))
    assert int(train(change(config, total_steps=4), tmp_path / "own", method=scaleless).step) == 4
    wasserstein = dataclasses.replace(method(), loss_fns="wasserstein")
    assert int(train(change(config, total_steps=4), tmp_path / "wasserstein", method=wasserstein).step) == 4


def test_steps_are_judged_before_they_are_saved_and_a_rollback_draws_others(tmp_path):
    config = change(total_steps=2, log=LogConfig(every_steps=100), health=HealthConfig(max_logit_gap=1e-9))
    first = train(config, tmp_path / "first", method=method())
    assert not Checkpointer(tmp_path / "first" / "checkpoints").is_healthy(2)
    assert [event["step"] for event in events(tmp_path / "first", "warning")] == [1]
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "health.jsonl").write_text('{"event": "rollback", "to_step": 0}\n')
    assert not same(first, train(config, tmp_path / "again", method=method()))


def test_watching_a_healthy_run_changes_no_bit(tmp_path):
    sample = SampleConfig(every_steps=2, rows=2, columns=3)
    watched = HealthConfig(diversity_from_step=1, min_diversity=1e-9, window=2, max_grad_norm_ratio=1e9)
    blind = HealthConfig(max_logit_gap=0.0, max_grad_norm_ratio=0.0, min_diversity=0.0)
    states = [
        train(change(PERCEPTRON, sample=sample, health=health), tmp_path / name)
        for name, health in (("watched", watched), ("blind", blind))
    ]
    assert same(*states)
    assert not (tmp_path / "watched" / "health.jsonl").exists()
