"""Announced ends of a virtual machine, told by a metadata server of our own."""

import http.server
import os
import signal
import threading
import time
import urllib.parse

import pytest

from jaxgan.core import google_cloud
from jaxgan.training import preemption
from jaxgan.training.preemption import MaintenanceWatch, StopRequest


class _Server(http.server.ThreadingHTTPServer):
    """Answers as Google's server does: with `wait_for_change` only when a value's etag has changed."""

    daemon_threads = True

    def __init__(self):
        self.values = {"maintenance-event": "NONE", "preempted": "FALSE", "attributes/agent-worker-number": "3"}
        self.changed, self.version, self.asked = threading.Condition(), 1, []
        super().__init__(("127.0.0.1", 0), _Handler)

    def change(self, key, value):
        with self.changed:
            self.values[key], self.version = value, self.version + 1
            self.changed.notify_all()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        key = url.path.removeprefix("/computeMetadata/v1/instance/")
        self.server.asked.append((key, query))
        if self.headers["Metadata-Flavor"] != "Google":
            return self.send_error(403)
        if key not in self.server.values:
            return self.send_error(404)
        with self.server.changed:
            if query.get("wait_for_change") == "true":
                seconds = min(5.0, float(query["timeout_sec"]))
                self.server.changed.wait_for(lambda: query["last_etag"] != str(self.server.version), seconds)
            body = self.server.values[key].encode()
            self.send_response(200)
            self.send_header("ETag", str(self.server.version))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{running.server_address[1]}")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # must not be asked
        yield running
        for key in ("maintenance-event", "preempted"):
            running.change(key, "over")  # ends the requests that still wait
        running.shutdown()
        thread.join()


def wait_until(condition):
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def test_metadata_is_read_and_what_is_absent_is_empty(server, monkeypatch):
    assert google_cloud.metadata("attributes/agent-worker-number") == ("3", "1")
    assert google_cloud.metadata("attributes/none") == ("", "")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    with pytest.raises(OSError):
        google_cloud.metadata("attributes/agent-worker-number")


@pytest.mark.parametrize(
    ("key", "value"), [("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE"), ("preempted", "TRUE")]
)
def test_an_announced_end_asks_for_a_polite_stop(server, key, value):
    with StopRequest() as stop:
        wait_until(lambda: {asked for asked, _ in server.asked} == {"maintenance-event", "preempted"})
        time.sleep(0.05)
        assert not stop.requested(1)
        server.change("maintenance-event", "MIGRATE_ON_HOST_MAINTENANCE")  # goes on elsewhere by itself
        time.sleep(0.1)
        assert not stop.requested(2)
        server.change(key, value)
        wait_until(lambda: stop.requested(3))
        assert stop.signal_name == f"{key} {value}"
    assert all(query["wait_for_change"] == "true" for _, query in server.asked)
    assert len(server.asked) < 12  # it waits for changes, and does not ask again and again


def test_nothing_is_announced_after_the_end_and_a_server_that_fails_is_asked_again(server, monkeypatch):
    heard = []
    watch = MaintenanceWatch(heard.append, retry_seconds=0.02)
    watch.stop()
    server.change("preempted", "TRUE")
    time.sleep(0.1)
    assert heard == []
    answers = iter([OSError(), ("FALSE", "1"), ValueError(), ("TRUE", "2")])

    def metadata(key, **_):
        answer = next(answers) if key == "preempted" else ("NONE", "")
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(google_cloud, "metadata", metadata)
    watch = MaintenanceWatch(heard.append, retry_seconds=0.02)
    wait_until(lambda: heard == ["preempted TRUE"])
    watch.stop()


def test_elsewhere_nobody_is_asked(monkeypatch, tmp_path):
    monkeypatch.delenv("GCE_METADATA_HOST", raising=False)
    monkeypatch.setattr(google_cloud, "_PRODUCT", tmp_path / "product_name")
    monkeypatch.setattr(preemption, "MaintenanceWatch", lambda *_: pytest.fail("asked"))
    assert not google_cloud.on_google_cloud()
    (tmp_path / "product_name").write_text("Laptop 3000\n")
    with StopRequest() as stop:
        assert not google_cloud.on_google_cloud() and not google_cloud.on_tpu_vm() and not stop.requested(1)
    (tmp_path / "product_name").write_text("Google Compute Engine\n")
    assert google_cloud.on_google_cloud()


def test_of_several_processes_jax_hears_sigterm_and_whatever_asks_becomes_it(monkeypatch):
    from jax.experimental import multihost_utils

    sent, agreed = [], [False, True]
    monkeypatch.setattr(preemption.jax, "process_count", lambda: 2)
    monkeypatch.setattr(preemption.google_cloud, "on_google_cloud", lambda: False)
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", lambda step: agreed[step])
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert signal.getsignal(signal.SIGTERM) is before  # else JAX would never learn of it
        signal.raise_signal(signal.SIGINT)
        assert sent == [(os.getpid(), signal.SIGTERM)]
        assert not stop.requested(0) and stop.requested(1) and stop.signal_name == "SIGINT"
    with StopRequest() as stop:  # another process was asked
        assert stop.requested(1) and stop.signal_name == "SIGTERM"
