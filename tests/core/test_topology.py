"""Devices that are not there: simulated ones, and one sentence for what cannot be compiled for."""

import os

import jax
import pytest
from jax.experimental import topologies

from jaxgan.config import ConfigError
from jaxgan.core import topology


@pytest.fixture(autouse=True)
def _the_suites_devices():
    assert len(jax.devices()) == 8  # looked at now, so that no test changes their number for those after it


def test_simulated_devices():
    devices = topology.absent_devices("cpu:4")
    assert len(devices) == 4 and {device.platform for device in devices} == {"cpu"}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("cpu:99", "needs 99 simulated devices and this process has 8"),
        ("gpu:8", "JAX compiles for GPUs only where there is one"),
        ("v5e:4x4", "must be of the form tpu:v5e:4x4"),
        ("cpu:0", "must be of the form"),
        ("tpu:", "must be of the form"),
    ],
)
def test_what_cannot_be_had_is_explained(spec, text):
    with pytest.raises(ConfigError) as error:
        topology.absent_devices(spec)
    assert text in str(error.value) and spec in str(error.value)


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (RuntimeError("JAX TPU support not installed; cannot generate"), f"pip install 'jax[tpu]=={jax.__version__}'"),
        (ImportError("libtpu"), f"pip install 'jax[tpu]=={jax.__version__}'"),
        (RuntimeError("INVALID_ARGUMENT: 3x3\nand more"), "is no topology (INVALID_ARGUMENT: 3x3)"),
    ],
)
def test_the_tpu_compiler_is_asked_and_its_absence_explained(monkeypatch, raised, text):
    for variable in topology._ANSWERS:
        monkeypatch.setenv(variable, os.environ.get(variable, "1"))  # restored afterwards

    def refuse(platform, topology_name):
        assert (platform, topology_name) == ("tpu", "v5e:4x4")
        raise raised

    monkeypatch.setattr(topologies, "get_topology_desc", refuse)
    with pytest.raises(ConfigError) as error:
        topology.absent_devices("tpu:v5e:4x4")
    assert text in str(error.value)
