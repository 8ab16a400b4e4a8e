"""The direct method ``reprovision``: what it was asked, and what to answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from device.credential import Credential
from device.lookout import Lookout
from device.ports import Hint, MethodReply

NAME = "reprovision"

_SHA256 = re.compile(r"[0-9A-F]{64}")


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` and ``state`` go back to the caller; ``begin`` says whether a swap starts now."""

    status: Literal[200, 202, 409]
    state: Literal["current", "started", "no-certificate"]
    begin: bool


def read_hint(payload: Any) -> Hint:
    """Read the method's payload; whatever it does not say, or says in a way we do not understand, is None.

    Shape: ``{"rollover_id": str, "sha256_thumbprint": str, "certificate_id": str | null, "register_again": bool}``;
    for the last see ``asks_again``. A device of a group is not told which: ``{"rollover_id": str, "enrollment_group":
    str, "register_again": bool}``. A payload may also be absent, empty or anything else: the call then means "look for
    a new certificate".
    """
    said = payload if isinstance(payload, dict) else {}
    sha256, certificate_id = said.get("sha256_thumbprint"), said.get("certificate_id")
    thumbprint = sha256.replace(":", "").strip().upper() if isinstance(sha256, str) else ""
    return Hint(
        thumbprint if _SHA256.fullmatch(thumbprint) else None,
        certificate_id if isinstance(certificate_id, str) and certificate_id else None,
    )


def asks_again(payload: Any) -> bool:
    """Whether a device that is on the named credential already, or has none to move to where none is named, is asked to
    register once more with what it is on.

    The cloud asks so when it cannot see that the device moved: under DPS's reprovision policy "never" a registration
    may leave the hub's thumbprints alone, and only one after the old certificate's end proves anything.
    """
    return isinstance(payload, dict) and payload.get("register_again") is True


def answer(hint: Hint, *, current: str | None, waiting: str | None, swapping: bool, found: bool) -> Answer:
    """Decide the answer, so that calling twice does what calling once does.

    Args:
        hint: what the caller said.
        current: SHA-256 thumbprint of the credential the device is connected with.
        waiting: that of a candidate which was turned down and waits for another try.
        swapping: a swap is under way.
        found: the source holds a credential that would be new to this device.
    """
    if hint.sha256 and hint.sha256 == current:
        return Answer(200, "current", begin=False)
    if swapping:
        return Answer(202, "started", begin=False)
    if found or (waiting and hint.sha256 in (None, waiting)):
        return Answer(202, "started", begin=True)
    return Answer(409, "no-certificate", begin=False)


@dataclass(frozen=True, slots=True)
class View:
    """What the SDK's threads may know of the agent; replaced whole by the agent's thread, so never half new.

    SHA-256 thumbprints of: the credential the device is on, what the other slot holds, and that if it is a candidate.
    """

    current: str | None
    other: str | None
    candidate: str | None
    swapping: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asks for a swap: what they named, what the source had, and whether they were told "started"."""

    hint: Hint
    found: Credential | None
    begin: bool
    again: bool = False
    """No swap: one more registration with the credential the device is on."""


class Methods:
    """Answers direct methods at once, from the SDK's thread; the work is left to the agent's thread.

    The agent learns of the call through ``ask`` after the answer has been sent, because a swap ends the session that
    carries the answer.
    """

    def __init__(
        self,
        lookout: Lookout,
        view: Callable[[], View],
        ask: Callable[[Asked], None],
        observe: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._lookout = lookout
        self._view = view
        self._ask = ask
        self._observe = observe

    def __call__(self, name: str, payload: Any) -> MethodReply:
        """Give the answer to method ``name``."""
        if name != NAME:
            return MethodReply(404, {"error": f"no method {name!r}"})
        hint, view = read_hint(payload), self._view()
        found = self._new(hint, view)
        reply = answer(
            hint,
            current=view.current,
            waiting=view.candidate,
            swapping=view.swapping,
            found=found is not None,
        )
        self._observe("method", {"sha256": view.current, "status": reply.status, "state": reply.state})
        if asks_again(payload) and (reply.state == "current" or (reply.state == "no-certificate" and not hint.sha256)):
            return MethodReply(202, {"state": "started"}, lambda: self._begin_again(hint, reply))
        if reply.state == "current":
            return MethodReply(reply.status, {"state": reply.state})
        asked = Asked(hint, found, reply.begin)
        return MethodReply(reply.status, {"state": reply.state}, lambda: self._ask(asked))

    def _begin_again(self, hint: Hint, reply: Answer) -> None:
        if reply.state != "current":  # go on looking for something new all the same
            self._ask(Asked(hint, None, begin=False))
        self._ask(Asked(hint, None, begin=False, again=True))

    def _new(self, hint: Hint, view: View) -> Credential | None:
        if view.swapping or (hint.sha256 and hint.sha256 == view.current):
            return None
        found = self._lookout.fetch(hint)
        if found is None or found.sha256 == view.current or self._lookout.fault(found):
            return None
        return found if found.sha256 != view.other or found.sha256 == hint.sha256 else None
