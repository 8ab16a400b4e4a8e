"""`python -m local up` as a child: started, asked for its endpoints, and stopped whatever happens."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from local.children import tied

READY_S = 90.0
STOP_S = 20.0


class StartFailed(Exception):
    """What stands in for Azure did not start; the text is one clear line."""


class Running:
    """The child, from `start` to `stop`. What it logs goes to `log_file`."""

    def __init__(self, net: str, log_file: Path) -> None:
        self._net = net
        self._log_file = log_file
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    def start(self) -> None:
        """Start it; `document` waits for it."""
        command = [sys.executable, "-m", "local", "up", "--net", self._net]
        self._log = self._log_file.open("w")
        self._process = subprocess.Popen(
            tied(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            process_group=0,  # Ctrl-C reaches the rehearsal alone, which ends its devices first
        )

    def document(self) -> dict[str, Any]:
        """The endpoints, once it is ready; StartFailed with the reason it gave when it does not get there."""
        process = self._process
        if process is None or process.stdout is None:
            raise StartFailed("nothing was started")
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        stdout = process.stdout
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=READY_S)
        except queue.Empty:
            raise StartFailed(f"local up was not ready within {READY_S:g} s; see {self._log_file}") from None
        if not line.strip():
            process.wait(STOP_S)
            raise StartFailed(self._last_words())
        document: dict[str, Any] = json.loads(line)
        return document

    def died(self) -> str | None:
        """Why it ended although nobody asked it to; None while it runs."""
        if self._process is None or self._process.poll() is None:
            return None
        return self._last_words()

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._log_file.read_text(errors="replace").splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("local up:")] or lines[-1:]
        if not said:
            return f"local up ended without a word; see {self._log_file}"
        return said[-1].removeprefix("local up: ").replace("its lines above", str(self._log_file))

    def stop(self) -> None:
        """Ask the child to end, and make it end if it does not."""
        if self._process is not None:
            for request in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, request)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_S)
                    break
            if self._process.stdout is not None:
                self._process.stdout.close()
        if self._log is not None:
            self._log.close()
