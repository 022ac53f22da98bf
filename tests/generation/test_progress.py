"""The line of progress: what it says, where, and how often."""

import io

from jaxgan.generation.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_on_a_terminal_the_line_is_rewritten():
    stream, clock = Terminal(), Clock()
    with Progress("generating", 10_000, stream=stream, clock=clock) as progress:
        clock.now = 30.0  # compiling
        progress.advance(1_000)
        assert stream.getvalue() == "\rgenerating 1,000/10,000 images\x1b[K"
        clock.now = 32.0
        progress.advance(625)
        assert stream.getvalue().endswith("\rgenerating 1,625/10,000 images  312.5 images/s  eta 0:27\x1b[K")
        length = len(stream.getvalue())
        clock.now = 32.05
        progress.advance(1)
        assert len(stream.getvalue()) == length, "not for every batch"
        progress.advance(8_374)
        assert "generating 10,000/10,000 images" in stream.getvalue(), "but for the last"
    assert stream.getvalue().endswith("\n") and stream.getvalue().count("\n") == 1


def test_elsewhere_there_is_a_line_every_ten_seconds():
    stream, clock = io.StringIO(), Clock()
    with Progress("embedding", 100, "pictures", stream=stream, clock=clock) as progress:
        for _ in range(24):
            clock.now += 1.0
            progress.advance(1)
    assert stream.getvalue().splitlines() == [
        "embedding 10/100 pictures  1.0 pictures/s  eta 1:30",
        "embedding 20/100 pictures  1.0 pictures/s  eta 1:20",
    ]


def test_long_work_has_hours_and_nothing_is_printed_unless_it_advances():
    stream, clock = io.StringIO(), Clock()
    with Progress("generating", 50_000, stream=stream, clock=clock) as progress:
        assert stream.getvalue() == ""
        progress.advance(10)
        clock.now = 10.0
        progress.advance(10)
    assert "eta 13:53:00" in stream.getvalue()
