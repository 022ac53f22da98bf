"""The monitor's place in the loop: which numbers reach it, what is said and written down of its answers."""

import json
import types

import numpy as np
import pytest

from jaxgan.config import Config, HealthConfig
from jaxgan.training import watch as watch_lib
from jaxgan.training.metrics import HealthError

HEALTH = HealthConfig(min_diversity=0.1, diversity_from_step=10, diversity_patience=3)


class Meter:
    """Takes a grid for its diversity."""

    def measure(self, grid):
        return float(grid)


def make_watch(monkeypatch, health=HEALTH):
    """Returns a watch, and the lists of what it records, says and writes down."""
    monkeypatch.setattr(watch_lib, "make_meter", lambda *_: Meter())
    recorded, said, logged = [], [], []
    watch = watch_lib.Watch(
        Config(health=health),
        types.SimpleNamespace(loss_fns="hinge", networks={"g": None, "d": None}),
        None,
        None,
        record=types.SimpleNamespace(health=lambda step, scalars: recorded.append((step, scalars))),
        status=types.SimpleNamespace(say=said.append),
        rollbacks=types.SimpleNamespace(log=logged.append),
    )
    return watch, recorded, said, logged


def grids(raw):
    return {"raw": np.asarray(raw), "ema": np.asarray(0.5)}


def test_the_grid_of_the_raw_weights_is_judged_from_its_first_step_on(monkeypatch):
    watch, recorded, _, _ = make_watch(monkeypatch)
    for step in (9, 10, 11):
        watch.samples(step, grids(0.01 * step))
    assert recorded == [(10, {"diversity": 0.1}), (11, {"diversity": 0.11})]


def test_a_warning_is_said_and_its_end_is_only_written_down(monkeypatch):
    watch, _, said, logged = make_watch(monkeypatch)
    watch.samples(10, grids(0.05))
    assert not watch.is_healthy
    watch.samples(20, grids(0.2))
    assert watch.is_healthy
    assert len(said) == 1 and "0.05 of that of real images" in said[0] and " at step 10; checkpoints do not" in said[0]
    common = {"signal": "diversity", "since": 10, "limit": 0.1}
    assert logged == [
        {"event": "warning", "step": 10, "value": 0.05, **common},
        {"event": "cleared", "step": 20, "value": 0.2, **common},
    ]


def test_a_failure_names_its_step_and_a_value_that_is_not_finite_is_still_json(monkeypatch):
    watch, _, _, logged = make_watch(monkeypatch)
    watch.samples(10, grids(np.nan))
    watch.samples(20, grids(np.nan))
    with pytest.raises(HealthError, match="is nan of that of real images .* since step 10") as error:
        watch.samples(30, grids(np.nan))
    assert error.value.step == 30
    assert json.loads(json.dumps(logged, allow_nan=False))[0]["value"] == "nan"


def test_diversity_that_is_not_watched_is_not_measured(monkeypatch):
    watch, recorded, _, _ = make_watch(monkeypatch, HealthConfig(min_diversity=0.0, diversity_from_step=0))
    watch.samples(10, grids(0.0))
    assert not recorded and watch.is_healthy
