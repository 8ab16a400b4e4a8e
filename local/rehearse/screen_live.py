"""A picture on a terminal that keeps up; the phases that are over stay above it."""

import threading
import time
from abc import ABC, abstractmethod
from datetime import datetime

from rich.console import Console, Group
from rich.live import Live


class KeepsUp(ABC):
    """Phases and progress; what the picture shows of devices, the kinds add. Theirs must be set before ``__init__``."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._phase, self._progress = "start: stand-in, Azurite and Functions host", ""
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=5, transient=True)
        self._live.start()

    def phase(self, name: str, clock: datetime) -> None:
        self._leave(f"{name}: the clock says {clock:%Y-%m-%d %H:%M} UTC")

    def _leave(self, following: str) -> None:
        """The phase that is over stays on the screen, as a line above the picture."""
        now = time.monotonic()
        with self._lock:
            line = f"{now - self._began:5.1f} s  {self._phase}"
            self._phase, self._began = following, now
        # Not under the lock: the console draws the picture too, and the picture takes the lock.
        self._console.print(line, style="dim")

    def progress(self, what: str, done: int, total: int) -> None:
        with self._lock:
            self._progress = f"{what}: {done} of {total}"

    def stop(self) -> None:
        self._live.stop()
        self._leave("")
        self._console.print()

    @abstractmethod
    def _picture(self) -> Group:
        """What is to be seen now."""
