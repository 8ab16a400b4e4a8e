"""The agent: one thread that carries out what ``machine.py`` decides, and takes in what happens meanwhile."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from device.config import Config
from device.connection import HubConnection
from device.errors import Refused, Unreachable
from device.lookout import Lookout
from device.machine import Attempt, Connect, Event, Look, Note, Other, Register, Role, State, begin, step
from device.method import Asked, Methods, View
from device.ports import CertificateSource, Hub, Registration, Session
from device.registration import DpsRegistration
from device.store import Assignment, CertificateStore, Stored

log = logging.getLogger(__name__)

type Observe = Callable[[str, dict[str, Any]], None]
"""Called with an event's name and its fields; from the agent's thread, or from the SDK's for ``method``.

Events: registering, registered, connecting, connected, disconnected, refused, unreachable, swapped, rolled_back,
method. Fields: ``sha256`` (of the credential it is about), and by event ``service``, ``hub``, ``why``, ``state``…
"""


@dataclass(frozen=True, slots=True)
class _Lost:
    session: object


class DeviceAgent:
    """One device. ``start`` returns at once; ``stop`` ends the session and the thread.

    Time and randomness come in through ``now`` (aware, UTC), ``monotonic`` (seconds) and ``config.backoff``.
    """

    def __init__(
        self,
        config: Config,
        store: CertificateStore,
        source: CertificateSource,
        observe: Observe,
        *,
        registration: Registration | None = None,
        hub: Hub | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._store = store
        self._observe = observe
        ca_pem = None if registration and hub else config.ca_pem()
        self._registration = registration or DpsRegistration(
            config.provisioning_host, config.id_scope, config.registration_id, ca_pem
        )
        self._hub = hub or HubConnection(ca_pem, config.keep_alive_s)
        self._lookout = Lookout(
            source, store, config.registration_id, config.poll_interval_s, config.backoff, now, monotonic
        )
        self._monotonic = monotonic
        self._inbox: queue.SimpleQueue[_Lost | Asked | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"agent-{config.registration_id}", daemon=True)
        self._session: Session | None = None
        self._session_mark: object = None
        self._assignment = store.assignment
        self._state = self._begin()
        self._wake = 0.0
        self._view = self._look_at_store()
        self._methods = Methods(self._lookout, lambda: self._view, self._inbox.put, self._tell)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """End after the attempt under way, if any; the store keeps where the agent was."""
        self._stopping.set()
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    @property
    def current_thumbprint(self) -> str | None:
        """SHA-256 thumbprint of the credential the hub accepted last."""
        return self._view.current

    @property
    def online(self) -> bool:
        """Whether there is a session with the hub, as far as the agent knows."""
        return self._state.online

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        stumbles = 0
        while not self._stopping.is_set():
            try:
                self._live()
            except Exception:
                # The medium is full, or there is an error in here. Begin again from what the store holds, as after
                # a power cut: an agent that ends is a device that somebody has to drive to.
                log.exception("%s: beginning again", self._config.registration_id)
                stumbles += 1
                self._end_session()
                self._stopping.wait(self._config.backoff.delay(stumbles))
                self._state = self._begin()
        self._end_session()

    def _live(self) -> None:
        while not self._stopping.is_set():
            doing = self._state.doing
            event = self._await() if doing is None or self._state.waiting else self._attempt(doing)
            if event is not None:
                self._take(event)

    def _take(self, event: Event) -> None:
        before = self._state
        self._state, note = step(before, event)
        if note is Note.ROLLED_BACK and self._store.other:
            self._tell("rolled_back", {"sha256": self._store.other.credential.sha256})
        if self._state.waiting and self._state != before:
            self._wake = self._monotonic() + self._config.backoff.delay(self._state.failures_to_wait_for)
        self._view = self._look_at_store()

    def _begin(self) -> State:
        other = Other.CANDIDATE if self._store.candidate else Other.PREVIOUS if self._store.other else Other.NONE
        return begin(
            has_current=self._store.current is not None,
            other=other,
            assigned=self._store.assignment is not None,
        )

    def _await(self) -> Event | None:
        """Wait for the time of the next try, for the time to look, or for something from outside."""
        due = min(self._wake, self._lookout.due) if self._state.waiting else self._lookout.due
        try:
            item = self._inbox.get(timeout=max(0.0, due - self._monotonic()))
        except queue.Empty:
            if self._state.waiting and self._wake <= self._lookout.due:
                return Event.WAIT_OVER
            self._lookout.schedule()
            # Without a session, looking is a rung of the ladder.
            return Event.FOUND if self._may_keep() and self._state.online and self._lookout.look() else None
        match item:
            case _Lost(mark) if mark is self._session_mark:
                self._end_session()
                self._tell("disconnected", self._about(self._store.current))
                return Event.SESSION_LOST
            case Asked(again=True):
                return Event.ASKED_AGAIN
            case Asked():
                return Event.FOUND if self._is_asked_for(item) else None
            case _:
                return None

    def _is_asked_for(self, asked: Asked) -> bool:
        if asked.hint.sha256 and asked.hint.sha256 == self._view.current:
            return False  # asked while the swap ended
        self._lookout.want(asked.hint)
        if not self._may_keep():
            return False
        return self._lookout.keep(asked.found, asked.hint, asked=True) if asked.found else asked.begin

    def _may_keep(self) -> bool:
        """While the fate of one candidate is open, the hub may already know no other: it keeps its slot."""
        return not self._state.swap_under_way

    # --- attempts -----------------------------------------------------------------------------------------------

    def _attempt(self, attempt: Attempt) -> Event:
        match attempt:
            case Look():
                return Event.FOUND if self._may_keep() and self._lookout.look() else Event.NOTHING_FOUND
            case Register(role):
                return self._register(role)
            case Connect(role):
                return self._connect(role)

    def _register(self, role: Role) -> Event:
        stored = self._held(role)
        if role is Role.OTHER and (why := self._lookout.fault(stored.credential)):
            self._tell("refused", self._about(stored, service="device", why=why))
            return Event.DPS_REFUSED
        self._tell("registering", self._about(stored))
        try:
            assignment = self._registration.register(stored.path)
        except (Refused, Unreachable) as error:
            return self._failed(error, stored, "dps")
        self._assignment = assignment
        self._tell("registered", self._about(stored, hub=assignment.hub))
        return Event.DPS_ACCEPTED

    def _connect(self, role: Role) -> Event:
        stored, assignment = self._held(role), self._assignment
        if assignment is None:
            raise RuntimeError("connecting before DPS has named a hub")
        mark = object()
        self._tell("connecting", self._about(stored, hub=assignment.hub))
        try:
            session = self._hub.open(assignment, stored.path, self._methods, lambda: self._inbox.put(_Lost(mark)))
        except (Refused, Unreachable) as error:
            return self._failed(error, stored, "hub")
        replaced, self._session, self._session_mark = self._session, session, mark
        self._tell("connected", self._about(stored, hub=assignment.hub))
        self._keep(role, stored, assignment)
        if replaced is not None:
            replaced.close()
        return Event.HUB_ACCEPTED

    def _keep(self, role: Role, stored: Stored, assignment: Assignment) -> None:
        """The hub accepted this credential: write that down.

        If the medium refuses, the session is still worth more than the note: after a restart the candidate is
        simply registered and accepted once more.
        """
        outgoing = self._store.current.credential.sha256 if self._store.current else None
        try:
            if role is Role.CURRENT:
                self._store.remember(assignment)
            else:
                self._store.commit(assignment)
        except OSError as error:
            log.error("%s: cannot write to the store: %s", self._config.registration_id, error.strerror)  # noqa: TRY400
        if role is Role.OTHER:
            self._lookout.moved_to(stored.credential.sha256)
            self._view = self._look_at_store()
            self._tell("swapped", self._about(stored, outgoing=outgoing))

    def _failed(self, error: Refused | Unreachable, stored: Stored, service: str) -> Event:
        refused = isinstance(error, Refused)
        name = "refused" if refused else "unreachable"
        log.info("%s: %s is %s: %s", self._config.registration_id, service, name, error)
        self._tell(name, self._about(stored, service=service, why=str(error)))
        if service == "dps":
            return Event.DPS_REFUSED if refused else Event.DPS_UNREACHABLE
        return Event.HUB_REFUSED if refused else Event.HUB_UNREACHABLE

    # --- small things -------------------------------------------------------------------------------------------

    def _look_at_store(self) -> View:
        current, other, candidate = self._store.current, self._store.other, self._store.candidate
        return View(
            current=current.credential.sha256 if current else None,
            other=other.credential.sha256 if other else None,
            candidate=candidate.credential.sha256 if candidate else None,
            swapping=self._state.swap_under_way,
        )

    def _held(self, role: Role) -> Stored:
        stored = self._store.current if role is Role.CURRENT else self._store.other
        if stored is None:
            raise RuntimeError(f"the machine and the store disagree: no {role.value} credential")
        return stored

    def _tell(self, event: str, fields: dict[str, Any]) -> None:
        try:
            self._observe(event, fields)
        except Exception:
            log.exception("%s: the observer failed at %r", self._config.registration_id, event)

    def _about(self, stored: Stored | None, **more: Any) -> dict[str, Any]:
        return {"sha256": stored.credential.sha256 if stored else None, **more}

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session, self._session_mark = None, None
