"""The paper's arithmetic: times and efficiencies from counts."""

import pytest

from benchmarks.scaling import Counts, Device, Times, times
from jaxgan.core.communication import Collective

DEVICE = Device(peak=100.0, bandwidth=10.0, memory_gib=1, source="")


def test_times_follow_the_ring():
    gradients = Collective("all-reduce", (("f32", (5,)),), 4, 2, True)  # sends 2 * 3/4 * 20 bytes, twice
    gathered = Collective("all-gather", (("f32", (10,)),), 2, 1, True)  # 1/2 * 40 bytes
    found = times(Counts(4, 250.0, [gradients, gathered]), DEVICE, utilisation=0.5, latency=0.1)
    assert found == pytest.approx((5.0, 8.0, (2 * 2 * 3 + 1) * 0.1))


def test_efficiency_without_and_with_overlap():
    assert Times(6.0, 3.0, 1.0).efficiency == pytest.approx((0.6, 6 / 7))
    assert Times(2.0, 3.0, 1.0).efficiency == pytest.approx((2 / 6, 2 / 4))
