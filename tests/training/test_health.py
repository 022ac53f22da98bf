"""The monitor: what is healthy passes, what is not is warned of, and fails if it lasts."""

import dataclasses

import numpy as np
import pytest

from jaxgan.config import Config, ConfigError, HealthConfig
from jaxgan.config_rules import validate
from jaxgan.training.health import CLEARED, FAILED, WARNING, HealthMonitor

LIMITS = HealthConfig(
    max_logit_gap=5.0, max_grad_norm_ratio=10.0, window=4, patience=3, min_diversity=0.1, diversity_patience=2
)


def monitor(watch_logits=True, **changes):
    return HealthMonitor(dataclasses.replace(LIMITS, **changes), ("g", "d"), watch_logits=watch_logits)


def logits(gap, norm=1.0):
    return {"real_logits": gap / 2, "fake_logits": -gap / 2, "d_grad_norm": norm, "g_grad_norm": 1.0}


def kinds(watched, rows, first_step=1):
    return [[e.kind for e in watched.observe_step(step, row)] for step, row in enumerate(rows, start=first_step)]


def test_a_gap_of_the_logits_warns_clears_and_fails():
    watched = monitor()
    assert kinds(watched, [logits(5.0), logits(5.1), logits(-6.0)]) == [[], [WARNING], []]
    assert not watched.is_healthy and watched.open_warnings == ["logit_gap"]
    assert kinds(watched, [logits(4.0)], 4) == [[CLEARED]] and watched.is_healthy
    assert kinds(watched, [logits(6.0), logits(6.0), logits(6.0)], 5) == [[WARNING], [], [FAILED]]


def test_a_failure_says_what_was_seen_since_when_and_the_limit():
    watched = monitor()
    last = [watched.observe_step(step, logits(7.5)) for step in (1_000, 1_001, 1_002)][-1][0]
    assert (last.signal, last.since, last.step, last.value, last.limit) == ("logit_gap", 1_000, 1_002, 7.5, 5.0)
    assert last.sentence() == (
        "the mean logits of real and fake images are 7.5 apart (at most config.health.max_logit_gap = 5) since step "
        "1,000"
    )


def test_logits_without_a_scale_are_not_watched():
    assert kinds(monitor(watch_logits=False), [logits(1e9)] * 5) == [[]] * 5
    assert kinds(monitor(max_logit_gap=0.0), [logits(1e9)] * 5) == [[]] * 5
    assert monitor().observe_step(1, {"d_a_loss": 1.0}) == []


def test_gradient_norms_are_compared_with_their_own_median():
    watched = monitor()
    calm = [logits(0.0, norm) for norm in (0.5, 1.0, 2.0, 1.0)]
    assert kinds(watched, calm) == [[]] * 4, "the median is 1"
    assert kinds(watched, [logits(0.0, 10.0)], 5) == [[]]  # not beyond ten times; the median of (1, 2, 1, 10) is 1.5
    assert kinds(watched, [logits(0.0, 15.1), logits(0.0, 15.1), logits(0.0, 15.1)], 6) == [[WARNING], [], [FAILED]]
    assert watched.open_warnings == ["d_grad_norm"]


def test_bad_steps_do_not_move_the_median():
    watched = monitor(patience=1_000)
    kinds(watched, [logits(0.0, 1.0)] * 4)
    assert kinds(watched, [logits(0.0, 50.0)] * 20, 5)[1:] == [[]] * 19 and not watched.is_healthy
    assert kinds(watched, [logits(0.0, 1.0)], 30) == [[CLEARED]]


def test_nothing_is_judged_before_the_window_is_full_or_by_a_median_of_zero():
    assert kinds(monitor(), [logits(0.0, norm) for norm in (1.0, 1.0, 1.0, 1e9)]) == [[]] * 4
    assert kinds(monitor(), [logits(0.0, norm) for norm in (0.0, 0.0, 0.0, 0.0, 1.0)]) == [[]] * 5
    assert kinds(monitor(max_grad_norm_ratio=0.0), [logits(0.0, 1.0)] * 4 + [logits(0.0, 1e9)]) == [[]] * 5


def test_diversity_has_a_patience_of_its_own_and_nan_is_bad():
    watched = monitor()
    assert [e.kind for e in watched.observe_diversity(10, 0.1)] == []
    assert [e.kind for e in watched.observe_diversity(20, 0.09)] == [WARNING]
    assert [e.kind for e in watched.observe_diversity(30, 0.5)] == [CLEARED]
    assert [e.kind for step in (40, 50) for e in watched.observe_diversity(step, float("nan"))] == [WARNING, FAILED]
    assert "at least config.health.min_diversity = 0.1" in watched.observe_diversity(60, 0.01)[0].sentence()


def test_signals_are_judged_apart():
    watched = monitor()
    watched.observe_diversity(1, 0.0)
    kinds(watched, [logits(6.0), logits(0.0)], 1)
    assert watched.open_warnings == ["diversity"]


def test_two_monitors_fed_alike_say_the_same():
    rng = np.random.default_rng(0)
    rows = [logits(gap, norm) for gap, norm in zip(rng.normal(0, 5, 300), np.exp(rng.normal(0, 2, 300)), strict=True)]
    first, second = monitor(patience=50), monitor(patience=50)
    assert [first.observe_step(i, row) for i, row in enumerate(rows)] == [
        second.observe_step(i, row) for i, row in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("max_rollbacks", -1, "must not be negative"),
        ("rollback_lr_factor", 0.0, "must be positive"),
        ("rollback_lr_factor", 1.5, "must not exceed 1"),
        ("max_logit_gap", -1.0, "must not be negative"),
        ("max_grad_norm_ratio", 1.0, "must exceed 1"),
        ("window", 0, "must be positive"),
        ("patience", 0, "must be positive"),
        ("min_diversity", 1.0, r"must lie in \[0, 1\)"),
        ("diversity_from_step", -1, "must not be negative"),
        ("diversity_patience", 0, "must be positive"),
    ],
)
def test_limits_out_of_their_range_are_refused(field, value, rule):
    with pytest.raises(ConfigError, match=rf"config\.health\.{field} \(={value}\) {rule}"):
        validate(Config(health=HealthConfig(**{field: value})))
