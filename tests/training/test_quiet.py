"""Orbax's routine messages disappear, its warnings and everyone else's messages do not."""

import logging
import sys
import warnings

import pytest
from absl import logging as absl_logging

from jaxgan.training.quiet import quiet_logs


@pytest.fixture
def handler():
    handler = absl_logging.get_absl_handler()
    before = list(handler.filters)
    with warnings.catch_warnings():
        quiet_logs()
        yield handler
    handler.filters[:] = before


def shows(handler, path, level):
    return bool(handler.filter(logging.LogRecord("absl", level, path, 1, "text", None, None)))


@pytest.mark.parametrize("path", ["/lib/site-packages/orbax/checkpoint/manager.py", "C:\\lib\\orbax\\checkpoint.py"])
def test_only_orbax_below_warning_is_dropped(handler, path):
    assert not shows(handler, path, logging.INFO)
    assert shows(handler, path, logging.WARNING)
    assert shows(handler, "/lib/site-packages/jax/core.py", logging.INFO)


def test_what_is_reported_otherwise_or_is_no_news_is_dropped(handler):
    assert not shows(handler, "/lib/orbax/checkpoint/_src/futures/future.py", logging.ERROR)
    assert not shows(handler, "/lib/jax/_src/xla_bridge.py", logging.INFO)
    assert shows(handler, "/lib/jax/_src/xla_bridge.py", logging.WARNING)


def test_calling_twice_adds_one_filter(handler):
    count = len(handler.filters)
    quiet_logs()
    assert len(handler.filters) == count


def test_the_warning_per_restored_array_is_ignored(handler):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quiet_logs()
        warnings.warn("Sharding info not provided when restoring. Populating ...", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["something else"]


class Late:
    def __init__(self, text):
        self.text = text

    def __del__(self):
        raise RuntimeError(self.text)


def test_threads_that_come_late_after_a_failed_read_say_nothing(monkeypatch):
    said = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: said.append(str(unraisable.exc_value)))
    quiet_logs()
    quiet_logs()
    for text in ("Event loop is closed", "something else"):
        Late(text)
    assert said == ["something else"]
