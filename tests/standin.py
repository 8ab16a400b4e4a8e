"""The stand-in for Azure inside the test process: its own thread, its own event loop, ready in well under a second."""

import asyncio
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import requests

from local.azure.description import describe
from local.azure.serving import Serving
from local.azure.world import World


class LoopThread:
    """An event loop in a thread of its own, for servers that tests talk to with blocking clients."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-in", daemon=True)
        self._thread.start()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the loop; gives its result or raises what it raised."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def stop(self) -> None:
        """End the loop and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)
        self._loop.close()


class Control:
    """A small client of the control port; every method gives the decoded JSON and raises for 4xx and 5xx."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._session.request(method, self._url + path, json=body, timeout=30)
        if not answer.ok:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def put(self, path: str, body: Any) -> Any:
        return self._call("PUT", path, body)

    def post(self, path: str, body: Any = None) -> Any:
        return self._call("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self._call("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)


class StandIn:
    """All emulated services on the addresses `net`.1 to `net`.7.

    `endpoints` has the shape of the document that `python -m local up` prints, without functions and storage.
    `world` is what runs; touch it from the test's thread for reading only, or through `control`.
    """

    def __init__(self, net: str) -> None:
        self.world = World(net)
        self.control = Control(self.world.names.control_url)
        self.endpoints: dict[str, Any] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="rollover-standin-")
        self._serving = Serving(self.world)
        self._loop = LoopThread()

    def start(self) -> None:
        """Listen; gives up with the reason when an address is taken."""
        self._loop.run(self._serving.start())
        files = self._serving.authority.write(Path(self._folder.name))
        self.endpoints = describe(self.world.names, *files)

    def within(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, which changes `world`, in the loop that the services run in."""
        self._loop.run(work)

    def stop(self) -> None:
        """Close everything and end the thread."""
        self._loop.run(self._serving.stop())
        self._loop.stop()
        self._folder.cleanup()
