"""The status line: its text, its rate, and how it behaves on a terminal and elsewhere."""

import io

import pytest

from jaxgan.training.status import StatusLine, format_duration


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def make(stream=None, *, total_steps=10_000, **kwargs):
    clock = Clock()
    stream = io.StringIO() if stream is None else stream
    line = StatusLine(total_steps=total_steps, images_per_step=64, stream=stream, clock=clock, **kwargs)
    return line, stream, clock


def test_the_line_shows_step_losses_rate_and_eta():
    line, stream, clock = make()
    line.restart(1_100)
    clock.now += 5.2
    rate = line.report(1_200, {"train/d_loss": 1.23449, "train/g_loss": -0.1})
    assert stream.getvalue() == (
        "step 1,200/10,000 (12 %)  d_loss 1.234  g_loss -0.1  1,231 images/s  ETA 7 min 38 s\n"
    )
    assert rate == pytest.approx(100 * 64 / 5.2)


def test_the_first_report_has_no_rate_because_it_contains_the_compilation():
    line, stream, clock = make()
    clock.now += 60.0
    assert line.report(50, {}) is None
    assert stream.getvalue() == "step 50/10,000 (0 %)\n"
    clock.now += 10.0
    assert line.report(150, {}) == pytest.approx(640.0)  # the window since the last report, not since the start


def test_the_window_begins_at_each_report():
    line, _, clock = make()
    line.restart(0)
    clock.now += 1.0
    line.report(10, {})
    clock.now += 4.0
    assert line.report(20, {}) == pytest.approx(10 * 64 / 4.0)


def test_waiting_does_not_count_and_is_announced():
    line, stream, clock = make()
    line.restart(0)
    clock.now += 2.0
    with pytest.raises(RuntimeError), line.waiting("evaluating ..."):
        clock.now += 500.0
        raise RuntimeError
    clock.now += 2.0
    assert stream.getvalue() == "evaluating ...\n"
    assert line.report(10, {}) == pytest.approx(160.0)


def test_waiting_before_the_first_window_is_harmless():
    line, _, clock = make()
    with line.waiting("compiling the train step ..."):
        clock.now += 30.0
    line.restart(1)
    clock.now += 1.0
    assert line.report(2, {}) == pytest.approx(64.0)


def test_no_step_done_or_no_time_passed_gives_no_rate():
    line, _, clock = make()
    line.restart(10)
    assert line.report(20, {}) is None
    clock.now += 1.0
    assert line.report(20, {}) is None


def test_elsewhere_lines_are_rationed_but_the_last_one_is_shown():
    line, stream, clock = make(total_steps=5, min_seconds=10.0)
    rates = []
    for step, passed in ((1, 0.0), (2, 9.0), (3, 1.0), (4, 2.0), (5, 1.0)):
        clock.now += passed
        rates.append(line.report(step, {}))
    lines = stream.getvalue().splitlines()
    assert [text.split("/")[0] for text in lines] == ["step 1", "step 3", "step 5"]
    assert rates[1:] == pytest.approx([64 / 9, 64, 32, 64])  # measured also where nothing is shown
    assert "\r" not in stream.getvalue() and "ETA" not in lines[-1]


def test_on_a_terminal_every_line_replaces_the_one_before():
    line, stream, _ = make(Terminal())
    line.note("compiling the train step ...")
    line.report(1, {})
    line.report(2, {})
    line.close()
    line.close()
    assert stream.getvalue() == (
        "\rcompiling the train step ...\x1b[K\rstep 1/10,000 (0 %)\x1b[K\rstep 2/10,000 (0 %)\x1b[K\n"
    )


def test_what_is_said_stays_on_a_terminal():
    line, stream, _ = make(Terminal())
    line.note("reading")
    line.say("3 images are unreadable")
    line.note("compiling")
    assert stream.getvalue() == "\rreading\x1b[K\r3 images are unreadable\x1b[K\n\rcompiling\x1b[K"


def test_a_line_longer_than_the_terminal_is_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    line, stream, _ = make(Terminal())
    line.note("x" * 50)
    assert stream.getvalue() == "\r" + "x" * 19 + "\x1b[K"


def test_elsewhere_closing_adds_nothing():
    line, stream, _ = make()
    line.note("reading")
    line.close()
    assert stream.getvalue() == "reading\n"


def test_other_processes_measure_but_print_nothing():
    line, stream, clock = make(enabled=False)
    line.restart(0)
    clock.now += 1.0
    assert line.report(1, {}) == pytest.approx(64.0)
    line.note("x")
    line.close()
    assert stream.getvalue() == ""


def test_slow_rates_keep_two_digits():
    line, stream, clock = make()
    line.restart(0)
    clock.now += 120.0
    line.report(1, {})
    assert "  0.53 images/s  ETA 13 d 21 h" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (307, "5 min 07 s"), (3599.6, "1 h 00 min"),
     (3720, "1 h 02 min"), (86_399, "1 d 00 h"), (2 * 86_400 + 3 * 3600, "2 d 03 h")],
)  # fmt: skip
def test_durations_have_their_two_largest_units(seconds, text):
    assert format_duration(seconds) == text
