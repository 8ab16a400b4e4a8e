"""Makes this process live at the stand-in's time: the app asks the system's clock and knows nothing of it."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import time_machine

log = logging.getLogger("host")
LOOK_S = 0.05


class MovedClock:
    """Follows a file that holds an offset in seconds. ``time.monotonic`` is left alone, so that waits stay waits."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._text = ""
        self._offset = timedelta(0)
        self._traveller: time_machine.Traveller | None = None

    def look(self) -> None:
        """Move the process's clock if the file says so. A file that is not there yet means no offset."""
        try:
            text = self._path.read_text().strip() if self._path else ""
        except (OSError, ValueError):
            return
        if text in ("", self._text):  # empty: being written at this moment
            return
        self._text = text
        try:
            self._move(timedelta(seconds=float(text)))
        except (ValueError, OverflowError):
            log.warning("the clock file does not hold a usable number of seconds; the clock stays as it is")

    def _move(self, offset: timedelta) -> None:
        destination = datetime.now(UTC) + (offset - self._offset)  # OverflowError if that is no date
        if self._traveller is not None:
            self._traveller.shift(offset - self._offset)  # in one step: other threads read the clock meanwhile
        elif offset:
            # Imported only by a host whose clock is moved: it takes pytest along where that is installed.
            import time_machine

            self._traveller = time_machine.travel(destination, tick=True).start()
        self._offset = offset

    async def follow(self) -> None:
        """Look again and again."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)


def now() -> datetime:
    """The time that the app sees."""
    return datetime.now(UTC)
