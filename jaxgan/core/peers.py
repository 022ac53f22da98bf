"""The line between the processes of a run: they find each other over it, and learn at once when one of them ends.

Process 0 listens at the coordinator's address; every other process connects, says who it is, and is told to go on once
all have come. JAX's own service then takes over the port, and these connections stay open beside it. They serve for
what that service cannot do: at start-up it ends a process in C++, with a stack trace, for whatever is wrong, and later
it notices a dead peer only by heartbeats that stay away, while a collective may wait for ever. Here the operating
system closes the line of a process that ends, and the others say so and end too.

The messages are lines of JSON and are not encrypted; as JAX's own service, this is for a network of one's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

RESTART = 75  # exit status: nothing is wrong with the command, start all processes again (EX_TEMPFAIL of sysexits.h)
_PING_SECONDS = 5.0
_MAX_LINE = 65_536  # bytes; whoever sends more is not one of us


class ProcessError(RuntimeError):
    """The processes cannot come together; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a process stands among its peers."""

    coordinator: str  # HOST:PORT of process 0
    num_processes: int
    process_id: int

    def __str__(self) -> str:
        return f"process {self.process_id} of {self.num_processes}"


class _Line:
    """A connection that carries one JSON object per line."""

    def __init__(self, connection: socket.socket):
        self.socket = connection
        self.heard = time.monotonic()
        self._received = b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends, or does nothing if the other side is gone: reading will tell."""
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float) -> list[dict[str, Any]] | None:
        """Returns what arrived within `timeout` seconds (perhaps nothing), or None if the other side is gone.

        Raises:
          ValueError: the other side does not speak this language.
        """
        if not select.select([self.socket], [], [], max(0.0, timeout))[0]:
            return []
        try:
            arrived = self.socket.recv(4096)
        except OSError:
            return None
        if not arrived:
            return None
        self.heard = time.monotonic()
        *lines, self._received = (self._received + arrived).split(b"\n")
        messages = [json.loads(line) for line in lines]
        if len(self._received) > _MAX_LINE or not all(isinstance(message, dict) for message in messages):
            raise ValueError
        return messages

    def receive_first(self, deadline: float) -> dict[str, Any] | None:
        """Waits for a message; None if the other side is gone, is not one of us, or says nothing until then."""
        with contextlib.suppress(ValueError):
            while (left := deadline - time.monotonic()) > 0:
                messages = self.receive(left)
                if messages is None or messages:
                    return messages[0] if messages else None
        return None

    def close(self) -> None:
        self.socket.close()


def meet(place: Place, *, about: str, timeout: float) -> dict[int, _Line]:
    """Waits until all processes are there.

    Args:
      place: of this process.
      about: what must be the same everywhere, e.g. versions and settings.
      timeout: seconds.

    Returns:
      By number of the process: in process 0 the lines to all others, in the others the one to process 0.

    Raises:
      ProcessError: not all came in time, or they do not belong together.
    """
    deadline = time.monotonic() + timeout
    hello = {"jaxgan": 1, "process": place.process_id, "of": place.num_processes, "about": about}
    return _gather(place, hello, deadline, timeout) if place.process_id == 0 else _join(place, hello, deadline, timeout)


def _gather(place: Place, hello: Mapping[str, Any], deadline: float, timeout: float) -> dict[int, _Line]:
    lines: dict[int, _Line] = {}
    listener = _listen(place.coordinator)
    try:
        while len(lines) < place.num_processes - 1:
            if not select.select([listener], [], [], max(0.0, deadline - time.monotonic()))[0]:
                missing = [str(i) for i in range(1, place.num_processes) if i not in lines]
                problem = (
                    f"{len(lines) + 1} of {place.num_processes} processes came to {place.coordinator} within "
                    f"{timeout:g} s, and process {', '.join(missing)} did not; look at what it said on its host, or "
                    "wait longer with --start_timeout."
                )
                _refuse(lines.values(), problem)
                raise ProcessError(problem)
            line = _Line(listener.accept()[0])
            said = line.receive_first(min(deadline, time.monotonic() + 2))
            if said is None or said.get("jaxgan") != 1:
                line.close()
                continue
            if problem := _unlike(said, hello, lines):
                _refuse([line, *lines.values()], problem)
                raise ProcessError(problem)
            if (before := lines.get(said["process"])) is not None:
                before.close()  # that process ended, and was started again
            lines[said["process"]] = line
    finally:
        listener.close()
    for line in lines.values():
        line.send({"go": True})
    return lines


def _refuse(lines: Iterable[_Line], problem: str) -> None:
    for line in lines:
        line.send({"refused": problem})
        line.close()


def _unlike(said: Mapping[str, Any], hello: Mapping[str, Any], lines: dict[int, _Line]) -> str | None:
    """Says why a process that came does not fit to those that are there."""
    process, of = said.get("process"), hello["of"]
    if said.get("of") != of:
        return (
            f"process {process} was started as one of {said.get('of')}, and process 0 as one of {of}; "
            "give all the same --num_processes."
        )
    if not isinstance(process, int) or not 0 < process < of:
        return f"a process says that it is number {process} of {of}; give each its own --process_id from 0 to {of - 1}."
    if process in lines and lines[process].receive(0) is not None:
        return f"two processes say that they are number {process} of {of}; give each its own --process_id."
    if said.get("about") != hello["about"]:
        return (
            f"process {process} was started with other settings or versions ({said.get('about')}) than process 0 "
            f"({hello['about']}); start all with the same command and the same installation."
        )
    return None


def _listen(address: str) -> socket.socket:
    port = split_address(address)[1]
    try:
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise
            return socket.create_server(("", port))  # a host without IPv6
    except OSError as error:
        raise ProcessError(
            f"process 0 cannot listen at port {port} ({os.strerror(error.errno or 0)}); choose another port, or end "
            "the program that uses it."
        ) from error


def _join(place: Place, hello: Mapping[str, Any], deadline: float, timeout: float) -> dict[int, _Line]:
    problem = "nothing was tried"
    while time.monotonic() < deadline:
        try:
            connection = socket.create_connection(split_address(place.coordinator), timeout=5)
        except OSError as error:
            problem = error.strerror or str(error)
        else:
            connection.settimeout(None)
            line = _Line(connection)
            line.send(hello)
            said = line.receive_first(deadline + 5)  # process 0 knows more when its own time is over
            if said is not None and said.get("go"):
                return {0: line}
            line.close()
            if said is not None and "refused" in said:
                raise ProcessError(said["refused"])
            problem = "who answers there is not process 0 of this run, or ended"
        time.sleep(0.3)
    raise ProcessError(
        f"{place} could not reach process 0 at {place.coordinator} within {timeout:g} s ({problem}); check that "
        "process 0 runs there, that its host has this name, and that no firewall closes the port."
    )


def split_address(address: str) -> tuple[str, int]:
    """Splits "HOST:PORT", also "[::1]:PORT".

    Raises:
      ProcessError: it has no such form.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ProcessError(f"--coordinator (={address!r}) must have the form HOST:PORT, e.g. 10.0.0.2:8476.")
    return host.strip("[]"), int(port)


class Peers:
    """Watches the other processes of a run in the background; ends this one when one of them has ended."""

    def __init__(self, place: Place, lines: dict[int, _Line], *, timeout: float = 60.0):
        """Starts to watch.

        Args:
          place: of this process.
          lines: what `meet` returned.
          timeout: seconds without any word after which a peer counts as gone, e.g. as its host lost power.
        """
        self.place = place
        self.progress: Callable[[], str] = lambda: ""  # what to add to the news that a peer has ended
        self._lines = lines
        self._timeout = timeout
        self._left: set[int] = set()
        self._leaving = threading.Event()
        self._ending = threading.Event()
        threading.Thread(target=self._watch, name="jaxgan-peers", daemon=True).start()

    def leave(self, reason: str = "", status: int = 0) -> None:
        """Says goodbye. With a `reason` (a sentence), the others end as well, with the same exit status.

        If it is a peer that has ended, which often is why this process fails, then this does not return: the process
        ends with that news instead.
        """
        if status:
            self._ending.wait(1.0)  # the news of a peer's end may be a moment later than what it causes here
        if self._ending.is_set():
            time.sleep(60)  # the watching thread ends this process
        self._leaving.set()
        for line in self._lines.values():
            line.send({"left": reason, "status": status, "process": self.place.process_id})

    def _watch(self) -> None:
        pinged = time.monotonic()
        while not (self._leaving.is_set() or self._ending.is_set()):
            sockets = {line.socket: number for number, line in self._lines.items() if number not in self._left}
            if not sockets:
                return
            ready = select.select(list(sockets), [], [], 0.5)[0]
            now = time.monotonic()
            if now - pinged > _PING_SECONDS:
                pinged = now
                for line in self._lines.values():
                    line.send({"ping": True})
            for connection in ready:
                self._hear(sockets[connection])
            for number in set(sockets.values()) - self._left:
                if now - self._lines[number].heard > self._timeout:
                    self._end(number, f"has said nothing for {self._timeout:g} s", RESTART)

    def _hear(self, number: int) -> None:
        try:
            messages = self._lines[number].receive(0)
        except ValueError:
            messages = None
        if messages is None:
            return self._end(number, "ended", RESTART)
        for message in messages:
            if "left" not in message:
                continue
            if message["left"]:
                return self._end(message["process"], message["left"], message["status"])
            self._left.add(number)

    def _end(self, process: int, reason: str, status: int) -> None:
        if self._leaving.is_set() or self._ending.is_set():
            return
        self._ending.set()
        for line in self._lines.values():  # process 0 hands the news on; the others have a line to it alone
            line.send({"left": reason, "status": status, "process": process})
        news = f"process {process} of {self.place.num_processes} {reason}"
        with contextlib.suppress(Exception):  # a disk that is gone must not keep this process
            if status == RESTART:
                news += f"{self.progress()}; start all processes again with the same command."
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            print(f"jaxgan: {news}", file=sys.stderr, flush=True)
        os._exit(status)  # the main thread may hang in a collective, or in a barrier at exit
