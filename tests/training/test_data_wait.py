"""The share of time that the devices wait for data, by a clock of our own."""

import pytest

from jaxgan.training.data_wait import DataWait


class Result:
    def __init__(self, ready):
        self.ready = ready

    def is_ready(self):
        return self.ready


def slow(clock, seconds):
    for number, wait in enumerate(seconds):
        clock["now"] += wait
        yield number


@pytest.mark.parametrize("ready, expected", [(True, 3 / 10), (False, 0.0)])
def test_a_wait_counts_only_when_the_devices_had_nothing_left(ready, expected):
    clock = {"now": 5.0}
    wait = DataWait(slow(clock, [1, 3]), clock=lambda: clock["now"])
    assert wait.next() == 0
    wait.share()
    wait.dispatched(Result(ready))
    assert wait.next() == 1
    clock["now"] += 7
    assert wait.share() == pytest.approx(expected)


def test_a_window_begins_with_the_last_share_and_the_first_batch_counts():
    clock = {"now": 0.0}
    wait = DataWait(slow(clock, [2]), clock=lambda: clock["now"])
    wait.next()
    clock["now"] += 2
    assert wait.share() == pytest.approx(0.5)
    clock["now"] += 4
    assert wait.share() == 0


def test_the_end_of_the_data_is_passed_on():
    with pytest.raises(StopIteration):
        DataWait(iter(())).next()
