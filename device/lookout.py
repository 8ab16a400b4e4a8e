"""Looking for a new credential: when to ask the source, and whether what it gives is new to this device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from device.backoff import Backoff
from device.credential import Credential
from device.errors import SourceUnavailable
from device.ports import CertificateSource, Hint
from device.store import CertificateStore

log = logging.getLogger(__name__)


class Lookout:
    """Asks ``source`` every ``poll_interval_s``, and more often while somebody waits for a new credential.

    ``due`` is the time of the next look on the ``monotonic`` clock. Used by one thread, but for ``fetch``.
    """

    def __init__(
        self,
        source: CertificateSource,
        store: CertificateStore,
        registration_id: str,
        poll_interval_s: float,
        backoff: Backoff,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._source = source
        self._store = store
        self._registration_id = registration_id
        self._poll_interval_s = poll_interval_s
        self._backoff = backoff
        self._now = now
        self._monotonic = monotonic
        self.wanted: Hint | None = None
        self._looks = 0
        self.due = monotonic() + poll_interval_s

    def want(self, hint: Hint) -> None:
        """Look for what was asked for, soon and with backoff, until the device is on it."""
        self.wanted, self._looks = hint, 0
        self.schedule()

    def schedule(self) -> None:
        """Set the time of the next look."""
        self._looks += 1
        quick = self._backoff.delay(self._looks) if self.wanted else self._poll_interval_s
        self.due = self._monotonic() + min(quick, self._poll_interval_s)

    def moved_to(self, sha256: str) -> None:
        """The device is on this credential now; stop looking if that is what was wanted."""
        if self.wanted and self.wanted.sha256 in (None, sha256):
            self.wanted = None

    def fetch(self, hint: Hint | None) -> Credential | None:
        """Ask the source, from any thread; None when it has nothing or cannot be read now."""
        try:
            return self._source.newest(hint)
        except SourceUnavailable as error:
            log.warning("%s: %s", self._registration_id, error)
            return None

    def fault(self, credential: Credential) -> str | None:
        """Why this device cannot use ``credential`` now, or None."""
        return credential.fault(self._registration_id, self._now())

    def look(self) -> bool:
        """Ask the source and keep what is new as the candidate; say whether there is a new one."""
        found = self.fetch(self.wanted)
        return found is not None and self.keep(found, self.wanted, asked=False)

    def keep(self, found: Credential, hint: Hint | None, *, asked: bool) -> bool:
        """Keep ``found`` as the candidate if it is new here; say whether it is to be registered now.

        A candidate that was turned down is not new; only when ``asked`` for is it tried again before its time.
        """
        candidate = self._store.candidate
        if candidate and candidate.credential.sha256 == found.sha256:
            return asked
        if not self._is_new(found, hint):
            return False
        try:
            self._store.stage(found)
        except OSError as error:
            log.error("%s: cannot keep a new certificate: %s", self._registration_id, error.strerror)  # noqa: TRY400
            return False
        return True

    def _is_new(self, found: Credential, hint: Hint | None) -> bool:
        """Whether to move to ``found``: not what the device is on, nor, unless told so, what it came from."""
        current, other = self._store.current, self._store.other
        if current and current.credential.sha256 == found.sha256:
            return False
        came_from = other and not self._store.candidate and other.credential.sha256 == found.sha256
        if came_from and not (hint and hint.sha256 == found.sha256):
            return False
        if why := self.fault(found):
            log.warning("%s: %s is not used: %s", self._registration_id, found.sha256, why)
            return False
        return True
