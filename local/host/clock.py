"""Makes this process live at the stand-in's time: the app asks the system's clock and knows nothing of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine
from time_machine import escape_hatch

LOOK_S = 0.05


class MovedClock:
    """Follows a file that holds an offset in seconds. ``time.monotonic`` is left alone, so that waits stay waits."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._offset = timedelta(0)
        self._traveller: time_machine.Traveller | None = None

    def look(self) -> None:
        """Move the process's clock if the file says so. A file that is not there yet means no offset."""
        if self._path is None:
            return
        try:
            offset = timedelta(seconds=float(self._path.read_text() or 0))
        except (OSError, ValueError):
            return  # being replaced at this moment
        if offset == self._offset:
            return
        self._offset = offset
        if self._traveller is None:
            self._traveller = time_machine.travel(datetime.now(UTC) + offset, tick=True).start()
        else:
            self._traveller.move_to(escape_hatch.datetime.datetime.now(UTC) + offset, tick=True)

    async def follow(self) -> None:
        """Look again and again."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)


def now() -> datetime:
    """The time that the app sees."""
    return datetime.now(UTC)
