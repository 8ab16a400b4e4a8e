"""In place of the app: does by hand, in its name, what a scenario of a group waits for.

So the scenarios, and what is reported of them, can be tried without the app; about it they prove nothing.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

from local.rehearse.by_hand import KEPT, ByHand
from local.rehearse.group_breach import NO_DEVICE
from local.rehearse.group_roll import ROOT
from local.rehearse.group_setup import CA_NAME, GROUP, IN_VAULT, Anchor
from local.rehearse.moving import MovedClock
from local.rehearse.oncall import OnCall
from local.rehearse.operator import Operator
from local.rehearse.theft import APP

NEW_NAME = "meters-root-2"
ROLLOVER = f"group.{GROUP}.1"
PATIENCE_S = 60.0


class AppByHand(OnCall):
    """What the person on call speaks to. The scenario appends to `offered` each anchor that it makes."""

    def __init__(self, document: Mapping[str, Any], clock: MovedClock, anchor: str, offered: list[Anchor]) -> None:
        self._hand = ByHand(document, clock, APP)
        self._operator = Operator(document, clock)
        self._clock = clock
        self._by_name = anchor == ROOT
        self._offered = offered
        self.begun = False
        self._shown: dict[str, Any] = {"id": ROLLOVER, "status": "running", "next_step": "by hand", "contained": False}
        self._shown["fleet"] = []

    # what a scenario calls

    def rollover(self, rollover_id: str) -> dict[str, Any]:
        assert rollover_id == ROLLOVER
        return dict(self._shown)

    def preview_group(self, group_id: str, reason: str, ticket: str) -> dict[str, Any]:
        return {"confirm_token": group_id}

    def confirm(self, token: str) -> dict[str, Any]:
        assert token == GROUP
        self.do(self._breach)
        return {"rollovers": [{"id": ROLLOVER}], "status": "running"}

    # what it does

    def do(self, work: Callable[[], None]) -> None:
        """In a thread; what fails there makes the scenario wait in vain."""
        threading.Thread(target=work, daemon=True).start()

    def expiry(self) -> None:
        """All devices in one wave."""
        new = self._new()
        self.begun = True
        if self._by_name:
            self._hand.add_ca(NEW_NAME, new.trusted)
        self._hand.set_slots(GROUP, KEPT, NEW_NAME if self._by_name else new.trusted)
        devices = self._hand.registered(GROUP)
        self._hand.ask_to_reprovision(devices)
        size, asked_at = len(devices), self._clock.now().isoformat()
        wave = {"number": 1, "size": size, "reachable": size, "moved": 0, "asked": True, "asked_at": asked_at}
        self._shown["fleet"] = [{"work": "wave", "waves": [wave]}]
        self._shown |= {"status": "waiting", "next_step": "delete_primary"}
        _until(lambda: self._clock.now() > self._offered[0].trusted.validity.ends)
        self._hand.set_slots(GROUP, None, KEPT)
        if self._by_name:
            self._hand.delete_ca(CA_NAME)
        self._shown |= {"status": "done", "next_step": None}

    def _breach(self) -> None:
        hand = self._hand
        hand.set_status(GROUP, "disabled")
        devices = hand.registered(GROUP)
        twins = {one: json.loads(self._operator.twin_text(one)) for one in devices if one != NO_DEVICE}
        hand.remove_from_hub(devices)
        time.sleep(0.5)  # the hub has cut the last session by now
        self._shown |= {"contained": True, "contained_at": self._clock.now().astimezone(UTC).isoformat()}
        new = self._new()
        if self._by_name:
            hand.add_ca(NEW_NAME, new.trusted)
        hand.set_slots(GROUP, NEW_NAME if self._by_name else new.trusted)
        if self._by_name:
            hand.delete_ca(CA_NAME)
        hand.set_status(GROUP, "enabled")
        for one, twin in twins.items():
            _until(lambda one=one: bool(hand.accepted(one)))  # type: ignore[misc]
            self._operator.write_twin(one, twin["tags"], twin["desired"])
        self._shown |= {"status": "done", "next_step": None}

    def _new(self) -> Anchor:
        """The second anchor, once the vault has it."""
        _until(lambda: len(self._offered) > 1)
        new = self._offered[1]
        _until(lambda: self._operator.latest(IN_VAULT).sha256 == new.trusted.sha256)
        return new


class OperatorOfIt(Operator):
    """Sees the rollovers of what is there in place of the app."""

    def __init__(self, document: Mapping[str, Any], clock: MovedClock, app: AppByHand) -> None:
        super().__init__(document, clock)
        self._app = app

    def rollovers(self) -> list[dict[str, Any]]:
        return [self._app.rollover(ROLLOVER)] if self._app.begun else []


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)
