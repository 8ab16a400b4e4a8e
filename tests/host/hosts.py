"""The Functions host as a child of the tests: started on a sample app, talked to over HTTP, ended by signals."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from local.children import tied
from tests.conftest import test_net

REPOSITORY = Path(__file__).resolve().parents[2]
APPS = Path(__file__).parent / "apps"
PORTS = itertools.count(7100)
PATIENCE_S = 30.0


def until[T](look: Callable[[], T], what: str, within_s: float = PATIENCE_S) -> T:
    """What `look` gives as soon as that is true."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {within_s:g} s: {what}")


class Host:
    """One run of the host. `seen` gives what the app noted, `log` what the host said."""

    def __init__(self, app: Path, folder: Path, *options: str, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = next(PORTS)
        self.url = f"http://{test_net()}.1:{self.port}"
        self.clock_file, self.keys_file = folder / "clock", folder / "keys.json"
        self._seen, self._log = folder / "seen", folder / f"log-{self.port}"
        command = [sys.executable, "-m", "local.host", "--app", str(app), "--address", f"{test_net()}.1"]
        command += ["--port", str(self.port), "--clock-file", str(self.clock_file), "--keys-file", str(self.keys_file)]
        environment = {**os.environ, "SEEN": str(self._seen), **(settings or {})}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                tied([*command, *options]), cwd=REPOSITORY, env=environment, stdout=log, stderr=log
            )

    def ready(self) -> "Host":
        """Wait until it says that it runs."""
        until(self._runs, "the host runs")
        return self

    def _runs(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self.get("/admin/host/status", "master").json()["state"] == "Running"
        except (OSError, ValueError):
            return False

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def keys(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.keys_file.read_text())
        return found

    def seen(self, what: str, **matching: Any) -> list[dict[str, Any]]:
        """The app's notes of this name that have these values."""
        lines = self._seen.read_text().splitlines() if self._seen.exists() else []
        notes = [json.loads(line) for line in lines]
        return [n for n in notes if n["what"] == what and all(n.get(name) == v for name, v in matching.items())]

    def forget(self) -> None:
        """Drop the app's notes."""
        self._seen.unlink(missing_ok=True)

    def move_clock(self, offset_s: float) -> None:
        """Set the clock's offset, in one step as the stand-in does it."""
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(str(offset_s))
        fresh.replace(self.clock_file)

    def get(self, path: str, key: str | None = None, **options: Any) -> requests.Response:
        return self.call("GET", path, key, **options)

    def post(self, path: str, key: str | None = None, **options: Any) -> requests.Response:
        return self.call("POST", path, key, **options)

    def call(self, method: str, path: str, key: str | None = None, **options: Any) -> requests.Response:
        """A request, with the named key in the header if one is named."""
        headers = {**({"x-functions-key": self.keys[key]} if key else {}), **options.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=PATIENCE_S, **options)

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """End it in an orderly way; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.wait()
