"""Times and etags in the form that DPS gives them."""

import base64
import itertools
from datetime import datetime

from local.azure.clock import Clock


def moment(when: datetime) -> str:
    """UTC text with seven digits of fraction, e.g. 2023-05-19T23:10:43.9486465Z (recorded, 2023)."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


class Stamps:
    """Gives out times and etags; no etag is given twice."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = itertools.count(1)

    def now(self) -> str:
        """The stand-in's time as DPS writes it."""
        return moment(self._clock.now())

    def etag(self) -> str:
        """base64 of a quoted GUID whose end is the time in hex, as recorded."""
        seconds = int(self._clock.now().timestamp()) & 0xFFFFFFFF
        guid = f'"{next(self._count):08x}-0000-0800-0000-{seconds:08x}0000"'
        return base64.b64encode(guid.encode()).decode()


def matches(if_match: str, etag: str) -> bool:
    """Whether an If-Match covers `etag`.

    It may be the etag or `*`, quoted or bare: azure-cli, C# and Python differ.
    """
    wanted = if_match.strip().removeprefix("W/").strip('"')
    return wanted in ("*", etag)
