"""Servers on loopback that answer well or badly, for the tests of downloads."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<!DOCTYPE html><html><body>Welcome to the guest network</body></html>"


@dataclass
class Server:
    """What a test sees of a running server."""

    url: str
    asked: list[str | None] = field(default_factory=list)  # the Range of each request
    trickled: int = 0  # bytes
    stopping: threading.Event = field(default_factory=threading.Event)


class Request(BaseHTTPRequestHandler):
    """One request, with the two things that a misbehaviour below is made of: `head` and `wfile`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.told = self.server.told
        self.told.asked.append(wanted)
        self.nth = len(self.told.asked)
        self.start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.close_connection = True
        self.server.behave(self)

    def head(self, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


Behaviour = Callable[[Request], None]


def sends(
    body: bytes, ranges: bool = True, cut: int | None = None, cuts: int = 1, then_stall: bool = False
) -> Behaviour:
    """Send `body`, from where the client asks if `ranges`; break off the first `cuts` answers after `cut` bytes."""

    def behave(request: Request) -> None:
        start = request.start if ranges else 0
        if start >= len(body):
            return request.head(416, 0)
        request.head(206 if start else 200, len(body) - start)
        broken = cut is not None and request.nth <= cuts
        request.wfile.write(body[start : start + cut] if broken else body[start:])
        if broken and then_stall:
            request.told.stopping.wait()

    return behave


def answers(status: int, body: bytes = b"", after: float = 0) -> Behaviour:
    def behave(request: Request) -> None:
        time.sleep(after)
        request.head(status, len(body))
        request.wfile.write(body)

    return behave


def trickles(body: bytes, pause: float) -> Behaviour:
    """Send a byte, wait, send a byte: never silent and never done."""

    def behave(request: Request) -> None:
        request.head(200, len(body))
        for byte in body:
            request.wfile.write(bytes([byte]))
            request.told.trickled += 1
            if request.told.stopping.wait(pause):
                return

    return behave


def without_length(body: bytes) -> Behaviour:
    def behave(request: Request) -> None:
        request.head()
        request.wfile.write(body)

    return behave


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for the answers in progress

    def handle_error(self, *_) -> None:
        pass  # clients that hang up, as they should


@contextmanager
def serving(behave: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server of this behaviour on a free port of loopback."""
    with _HTTPServer(("127.0.0.1", 0), Request) as http:
        if tls is not None:
            http.socket = tls.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "http" if tls is None else "https"
        http.behave, http.told = behave, Server(f"{scheme}://127.0.0.1:{http.server_port}/data.zip")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield http.told
        finally:
            http.told.stopping.set()
            http.shutdown()
            thread.join()


@contextmanager
def silent() -> Iterator[Server]:
    """A socket that connects and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}/data.zip")


@contextmanager
def refusing() -> Iterator[Server]:
    """A port that is taken and refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Server(f"http://127.0.0.1:{bound.getsockname()[1]}/data.zip")


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not come true in {seconds:g} s"
        time.sleep(0.01)
