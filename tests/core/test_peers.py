"""How the processes of a run come together and notice each other's end, over real connections within this process."""

import os
import socket
import threading
import time

import pytest

from jaxgan.core import peers
from jaxgan.core.peers import Peers, Place, ProcessError, meet, split_address

OPEN = []  # connections to be closed after a test


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPEN:
        OPEN.pop().close()


def together(*calls):
    """Runs each call in a thread; returns their results or errors, in order."""
    found = [None] * len(calls)

    def run(i, call):
        try:
            found[i] = call()
            OPEN.extend(found[i].values())
        except Exception as error:
            found[i] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


def arriving(port, process, of=3, about="same", timeout=10.0):
    return lambda: meet(Place(f"localhost:{port}", of, process), about=about, timeout=timeout)


def late(seconds, call):
    return lambda: (time.sleep(seconds), call())[1]


def test_all_meet_and_the_port_is_free_for_jax_afterwards():
    port = free_port()
    first, second, third = together(arriving(port, 0), arriving(port, 1), arriving(port, 2))
    assert sorted(first) == [1, 2] and sorted(second) == sorted(third) == [0]
    socket.create_server(("", port)).close()
    first[2].send({"hello": 2})
    assert third[0].receive(5) == [{"hello": 2}] and second[0].receive(0) == []


def test_who_is_missing_is_said_by_all():
    port = free_port()
    for error in together(arriving(port, 0, timeout=0.5), arriving(port, 2, timeout=0.5)):
        assert isinstance(error, ProcessError)
        assert "2 of 3 processes came" in str(error) and "process 1 did not" in str(error)


def test_process_0_that_is_not_there():
    port = free_port()
    (error,) = together(arriving(port, 1, timeout=0.5))
    assert isinstance(error, ProcessError)
    assert f"process 1 of 3 could not reach process 0 at localhost:{port} within 0.5 s" in str(error)
    assert os.strerror(111) in str(error)  # connection refused
    with pytest.raises(ProcessError, match="could not reach"):
        meet(Place("no.such.host.invalid:1", 2, 1), about="", timeout=0.3)


def test_a_port_that_another_program_uses():
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ProcessError, match=f"cannot listen at port {port} .*[Aa]ddress already in use"):
            meet(Place(f"localhost:{port}", 2, 0), about="", timeout=1)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"of": 4}, "process 1 was started as one of 4, and process 0 as one of 3"),
        ({"about": "else"}, r"process 1 was started with other settings or versions \(else\)"),
    ],
)
def test_processes_that_do_not_belong_together(other, said):
    port = free_port()
    for error in together(arriving(port, 0), arriving(port, 1, **other)):
        assert isinstance(error, ProcessError)
        with pytest.raises(ProcessError, match=said):
            raise error


def test_two_with_one_number_and_one_that_was_started_again():
    port = free_port()
    server, one, two = together(arriving(port, 0), arriving(port, 1), arriving(port, 1))
    assert "two processes say that they are number 1" in str(server)
    assert isinstance(one, ProcessError) and isinstance(two, ProcessError)

    def ends_and_comes_again():
        with socket.create_connection(("localhost", port), timeout=5) as gone:
            gone.sendall(b'{"jaxgan": 1, "process": 1, "of": 3, "about": "same"}\n')
        return arriving(port, 1)()

    server, again, last = together(arriving(port, 0), late(0.3, ends_and_comes_again), late(1.0, arriving(port, 2)))
    assert sorted(server) == [1, 2] and sorted(again) == sorted(last) == [0]


def test_strangers_are_ignored():
    port = free_port()

    def stranger():
        time.sleep(0.3)
        for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b"\xff\n", b'{"jaxgan": 2}\n'):
            with socket.create_connection(("localhost", port), timeout=5) as connection:
                connection.sendall(greeting)
        return arriving(port, 1, of=2)()

    server, client = together(arriving(port, 0, of=2), stranger)
    assert sorted(server) == [1] and sorted(client) == [0]


@pytest.fixture
def ended(monkeypatch):
    """Statuses with which a watch would have ended this process."""
    statuses = []

    monkeypatch.setattr(os, "_exit", statuses.append)
    return statuses


@pytest.fixture
def three(ended):
    port = free_port()
    lines = together(*(arriving(port, i) for i in range(3)))
    watches = [Peers(Place(f"localhost:{port}", 3, i), lines[i]) for i in range(3)]
    yield watches, lines
    for watch in watches:
        watch._leaving.set()


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def test_the_end_of_one_ends_all_others_with_the_news(three, ended, capsys):
    watches, lines = three
    watches[0].progress = lambda: "; the newest checkpoint is step 4"
    watches[1]._leaving.set()  # it is "killed": says nothing, and its connection closes
    time.sleep(0.6)
    lines[1][0].close()
    wait_until(lambda: len(ended) == 2)
    assert ended == [peers.RESTART] * 2
    said = capsys.readouterr().err
    assert said.count("jaxgan: process 1 of 3 ended") == 2
    assert "the newest checkpoint is step 4; start all processes again with the same command." in said


def test_a_failure_is_told_to_all_with_its_sentence_and_status(three, ended, capsys):
    three[0][2].leave("failed: no data in /data.", 2)
    wait_until(lambda: len(ended) == 2)
    assert ended == [2, 2]
    assert capsys.readouterr().err.count("jaxgan: process 2 of 3 failed: no data in /data.\n") == 2


def test_goodbyes_end_nobody(three, ended, capsys):
    watches, lines = three
    watches[1].leave()
    time.sleep(0.1)
    lines[1][0].close()
    time.sleep(0.7)
    assert ended == []
    watches[0].leave()
    time.sleep(0.1)
    watches[2].leave()
    assert ended == [] and capsys.readouterr().err == ""


def test_a_silent_peer_counts_as_gone_and_pings_keep_it(ended, monkeypatch, capsys):
    monkeypatch.setattr(peers, "_PING_SECONDS", 0.2)
    port = free_port()
    lines = together(arriving(port, 0, of=2), arriving(port, 1, of=2))
    watches = [Peers(Place(f"localhost:{port}", 2, i), lines[i], timeout=1.0) for i in range(2)]
    time.sleep(1.6)
    assert ended == []
    watches[1]._leaving.set()  # its host has lost its power: the connection stays open
    wait_until(lambda: ended == [peers.RESTART])
    assert "process 1 of 2 has said nothing for 1 s" in capsys.readouterr().err


def test_a_process_that_fails_because_a_peer_ended_says_so(three, ended, monkeypatch):
    watches, lines = three
    waited = []
    watches[2]._leaving.set()
    time.sleep(0.6)
    lines[2][0].close()
    wait_until(lambda: len(ended) == 2)
    monkeypatch.setattr(time, "sleep", waited.append)
    watches[0].leave("failed with JaxRuntimeError", 1)  # the watching thread would have ended the process
    assert waited == [60]


@pytest.mark.parametrize(("address", "parts"), [("a.b:12", ("a.b", 12)), ("[::1]:12", ("::1", 12))])
def test_addresses(address, parts):
    assert split_address(address) == parts
