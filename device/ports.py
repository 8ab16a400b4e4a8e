"""What the agent needs from outside, as small interfaces; the modules named implement them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from device.credential import Credential
from device.store import Assignment


@dataclass(frozen=True, slots=True)
class Hint:
    """What a caller of the method said about the new certificate; both may be unknown.

    ``sha256`` is 64 upper-case hex digits. ``certificate_id`` is a Key Vault certificate identifier with version.
    """

    sha256: str | None = None
    certificate_id: str | None = None


@dataclass(frozen=True, slots=True)
class MethodReply:
    """The answer to a direct method, and what to do once it has been sent."""

    status: int
    payload: dict[str, Any]
    afterwards: Callable[[], None] | None = None


class CertificateSource(Protocol):
    """Where new certificates come from (``sources.py``). Called from more than one thread."""

    def newest(self, hint: Hint | None) -> Credential | None:
        """Return the hinted credential if there is a hint and it is there, else the newest, else None.

        Raises SourceUnavailable when it cannot be read now.
        """


class Registration(Protocol):
    """The device side of DPS (``registration.py``)."""

    def register(self, credential_file: Path) -> Assignment:
        """Register with the key and chain in this file. Raises Refused or Unreachable."""


class Session(Protocol):
    """A live connection to the hub."""

    def close(self) -> None:
        """End it; no error, whatever state it is in."""


class Hub(Protocol):
    """The device side of IoT Hub (``connection.py``)."""

    def open(
        self,
        assignment: Assignment,
        credential_file: Path,
        on_method: Callable[[str, Any], MethodReply],
        on_lost: Callable[[], None],
    ) -> Session:
        """Connect, ready for methods on return. Raises Refused or Unreachable; then nothing is left open.

        ``on_lost`` is called, from any thread, when the session ends other than by ``close``.
        """
