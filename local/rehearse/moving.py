"""The stand-in's clock seen from here, and tokens that hold on it."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from azure.core.credentials import AccessToken
from azure.identity import ManagedIdentityCredential


class MovedClock:
    """The clock that every service, the Functions host and the devices go by. Moved over the control port."""

    def __init__(self, control_url: str) -> None:
        self._url = f"{control_url}/clock"
        self._offset = timedelta(0)
        self.moves = 0
        """How often it was moved: whoever keeps a token remembers this number with it."""

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.now(UTC) + self._offset

    def real(self, when: datetime) -> float:
        """The real time, in seconds since 1970, at which this clock said `when`; since its last move only."""
        return (when - self._offset).timestamp()

    def move_to(self, when: datetime) -> None:
        """Let it be `when` (aware)."""
        answer = requests.put(self._url, json={"set": when.isoformat()}, timeout=30)
        answer.raise_for_status()
        self._offset = timedelta(seconds=answer.json()["offset_s"])
        self.moves += 1


class Identity:
    """A credential of one principal that asks for a new token once the clock was moved.

    A token lives for 24 hours; what is left of them after a move the credential cannot know, because it goes by the
    computer's own clock.
    """

    def __init__(self, principal: str, clock: MovedClock) -> None:
        self._principal = principal
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[int, ManagedIdentityCredential] | None = None

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """As of azure-identity."""
        with self._lock:
            moves = self._clock.moves
            if self._known is None or self._known[0] != moves:
                self._known = (moves, ManagedIdentityCredential(client_id=self._principal))
            credential = self._known[1]
        token: AccessToken = credential.get_token(*scopes, **options)
        return token
