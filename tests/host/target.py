"""Small servers of the tests: one that keeps what it was sent, one that stands between host and storage."""

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.conftest import test_net


class Target:
    """An HTTP server that answers 200, or 409 under /refused, and keeps "METHOD /path" of what reached it."""

    def __init__(self) -> None:
        self.received: list[str] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                path = self.path.partition("?")[0]
                received.append(f"{self.command} {path}")
                self.send_response(409 if path.startswith("/refused") else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that http.server calls

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on stderr."""

        self._server = ThreadingHTTPServer((f"{test_net()}.1", 0), Handler)
        self.url = f"http://{test_net()}.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Close it."""
        self._server.shutdown()
        self._server.server_close()


class Bridge:
    """Passes TCP connections on to another port of the same address; while it is `down` it cuts them at once."""

    def __init__(self, to_port: int) -> None:
        self._host = f"{test_net()}.1"
        self._to_port = to_port
        self._open: list[socket.socket] = []
        self._down = False
        self.cut = 0
        self._listening = socket.create_server((self._host, 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def take_down(self) -> None:
        """Cut every connection, and the new ones."""
        self._down = True
        while self._open:
            self._cut(self._open.pop())

    def put_up(self) -> None:
        """Pass on again."""
        self._down = False

    def stop(self) -> None:
        """Close everything."""
        self.take_down()
        self._cut(self._listening)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                if self._down:
                    self.cut += 1
                    self._cut(near)
                    continue
                far = socket.create_connection((self._host, self._to_port))
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    @staticmethod
    def _cut(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
