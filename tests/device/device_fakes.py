"""DPS, hub and source in memory, for the agent's own thread; they keep and refuse like the real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from device.credential import Credential
from device.errors import Refused, SourceUnavailable, Unreachable
from device.ports import Hint, MethodReply
from device.store import Assignment

HERE = Assignment("hub-1", "dev1")


class Cloud:
    """DPS lets in ``enrolled``; the hub accepts what DPS registered last. ``log`` holds every attempt in order."""

    def __init__(self, *enrolled: str) -> None:
        self.enrolled = set(enrolled)
        self.hub_accepts: set[str] = set()
        self.reachable = True
        self.log: list[tuple[str, str]] = []
        self.session: FakeSession | None = None

    def register(self, credential_file: Path) -> Assignment:
        sha256 = _sha256(credential_file)
        if not self.reachable:
            raise Unreachable("no network")
        if sha256 not in self.enrolled:
            self.log.append(("dps refused", sha256))
            raise Refused("401")
        self.log.append(("registered", sha256))
        self.hub_accepts = {sha256}
        return HERE

    def open(
        self,
        assignment: Assignment,
        credential_file: Path,
        on_method: Callable[[str, Any], MethodReply],
        on_lost: Callable[[], None],
    ) -> FakeSession:
        sha256 = _sha256(credential_file)
        if not self.reachable:
            raise Unreachable("no network")
        if sha256 not in self.hub_accepts:
            self.log.append(("hub refused", sha256))
            raise Refused("CONNACK 5")
        self.log.append(("connected", sha256))
        former, self.session = self.session, FakeSession(self, sha256, on_method, on_lost)
        if former:
            former.cut()
        return self.session


class FakeSession:
    def __init__(
        self,
        cloud: Cloud,
        sha256: str,
        on_method: Callable[[str, Any], MethodReply],
        on_lost: Callable[[], None],
    ) -> None:
        self._cloud = cloud
        self.sha256 = sha256
        self._on_method = on_method
        self._on_lost = on_lost

    def call(self, name: str, payload: Any) -> MethodReply:
        """Call a method as the hub does: the reply first, then what follows it."""
        reply = self._on_method(name, payload)
        if reply.afterwards:
            reply.afterwards()
        return reply

    def cut(self) -> None:
        if self._cloud.session is self:
            self._cloud.session = None
        self._on_lost()

    def close(self) -> None:
        if self._cloud.session is self:
            self._cloud.session = None


class FakeSource:
    """Holds what a test puts into ``credentials``, newest last; None means that it cannot be read."""

    def __init__(self, *credentials: Credential) -> None:
        self.credentials: list[Credential] | None = list(credentials)
        self.asked = 0

    def newest(self, hint: Hint | None) -> Credential | None:
        self.asked += 1
        if self.credentials is None:
            raise SourceUnavailable("not now")
        for credential in self.credentials:
            if hint and credential.sha256 == hint.sha256:
                return credential
        return self.credentials[-1] if self.credentials else None


class Timeline:
    """What an agent told its observer, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        with self._changed:
            self.events.append((event, fields))
            self._changed.notify_all()

    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def wait_for(self, event: str, count: int = 1, timeout_s: float = 20.0, **fields: Any) -> dict[str, Any]:
        """Wait until ``event`` was told ``count`` times with these fields; give the last one's."""

        def found() -> list[dict[str, Any]]:
            return [f for name, f in self.events if name == event and fields.items() <= f.items()]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, timeout_s), self.events
            return found()[count - 1]


def eventually(what: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until ``what`` is true."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.02)


def _sha256(file: Path) -> str:
    return Credential.from_pem(file.read_bytes()).sha256
