"""Every port of the product in a breach, watched: what must hold is checked at the very write that could break it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shared.enrollment import Enrollment, HubIdentity, Twin
from shared.errors import Conflict, ServiceUnavailable
from shared.group import Group
from shared.ledger import Row, Write, split_id
from shared.plans import Plan
from shared.previews import PARTITION
from shared.rollover import Outcome, Rollover
from shared.rows import from_row
from tests.walk.breach_model import TWIN, BreachState
from tests.walk.breach_services import LETTERS
from tests.walk.model import NAME, Broken, Watched

HANDS_ON_TWIN = frozenset({"deletes the identity"})


class BreachWatched(Watched):
    """The ports of one run. An effect needs an intention that this very run has put into the ledger."""

    _state: BreachState

    def __init__(self, state: BreachState) -> None:
        super().__init__(state)
        self._intended: Rollover | None = None

    def enrollments(self) -> Iterator[Enrollment]:
        self._look("dps")
        return self._state.dps.enrollments()

    def groups(self) -> Iterator[Group]:
        self._look("dps")
        return self._state.dps.groups()

    # --- the ledger ------------------------------------------------------------------------------------------

    def commit(self, writes: list[Write]) -> list[str]:
        state = self._state
        if state.previewing and any(write.row["PartitionKey"] != PARTITION for write in writes):
            raise Broken("I5: a preview writes to the ledger")

        def do() -> list[str]:
            before = {write.row["RowKey"]: state.table.rows.get(_key(write.row)) for write in writes}
            etags = state.table.commit(writes)
            for write in writes:
                if write.row["RowKey"].startswith("rollover."):
                    old = before[write.row["RowKey"]]
                    self._check_said(from_row(old[0], "") if old else None, from_row(write.row, ""), writes)
            return etags

        return self._write(do, Conflict, "table")  # type: ignore[no-any-return]

    def _check_said(self, old: Rollover | None, new: Rollover, writes: list[Write]) -> None:
        state = self._state
        if (new.contained and not (old and old.contained)) or new.outcome is Outcome.DONE:
            self._look("truth")
        if any(write.row.get("what") == "acts" for write in writes):
            if old is None or old.outcome is not None:
                raise Broken(f"a rollover that is {old.status if old else 'not begun'} acts")
            if old.incident and old.incident.approve_by and not old.incident.approved_by:
                raise Broken("I5: it acts and no second person has approved")
            self._intended = new
        if old is not None and old.outcome is Outcome.PREEMPTED and new.outcome is not Outcome.PREEMPTED:
            raise Broken("a preempted rollover is open again")
        if new.contained and not (old and old.contained) and (found := state.exposed()):
            raise Broken(f"I3: it says contained, and {'; '.join(found)}")
        if new.plan.replaces and new.outcome is Outcome.DONE and not (old and old.outcome is Outcome.DONE):
            self._check_done(new)

    def _check_done(self, rollover: Rollover) -> None:
        state = self._state
        identity = state.hub.identities.get(NAME)
        held = {*state.dps.slots(NAME), *(identity.thumbprints() if identity else ())}
        if held & state.stolen:
            raise Broken("done, and a slot or the hub identity holds a stolen certificate")
        # A hand lets the thief connect and the device's next registration hides it: nothing is left to see it by.
        if state.exposed() and "writes what is stolen to the hub" not in state.spent:
            raise Broken(f"done, and exposed: {state.exposed()}")
        body = state.dps.enrolled[NAME]
        if body["provisioningStatus"] != "enabled" or identity is None or not identity.enabled:
            raise Broken("done, and the device cannot come back")
        if not state.spent & HANDS_ON_TWIN and state.hub_twin() != "b":
            raise Broken("done, and the twin is not what it was before the breach")

    # --- the world -------------------------------------------------------------------------------------------

    def _effect(self, place: str, do: Callable[[], Any], lost: type[Exception] = Conflict) -> Any:
        if self._state.previewing:
            raise Broken("I5: a preview changes the world")
        if self._intended is None:
            raise Broken("I7: the world is changed without a record of who, what and why")
        try:
            return self._write(do, lost, place)
        finally:
            self._intended = None
            self._state.notice_door()

    def _excused(self) -> bool:
        """Whether this write was on its way when its rollover was cancelled or preempted: it may still come. And a
        device that is allowed again may use what it has."""
        last = self._state.rollover()
        mine = self._intended
        gone = mine is None or last is None or last.id != mine.id or last.outcome is not None
        return gone or (mine is not None and mine.plan is Plan.ALLOW)

    def replace(self, enrollment: Enrollment, body: Mapping[str, Any]) -> None:
        state = self._state

        def do() -> None:
            before, was_open = set(state.dps.slots(NAME)), _enabled(state)
            state.dps.replace(enrollment, body)
            after = set(state.dps.slots(NAME))
            if not after - {None}:
                raise Broken("I1: the enrollment is left without any certificate")
            called = bool(state.tokens)
            if called and not self._excused() and (after - before) & state.stolen:
                raise Broken("a stolen certificate is put into a slot")
            if _enabled(state) and not was_open and after & state.stolen and not self._excused():
                raise Broken("the enrollment is enabled while a slot holds a stolen certificate")

        self._effect("dps", do)

    def rewrite(self, identity: HubIdentity) -> None:
        state = self._state

        def do() -> None:
            before = {one for one in LETTERS if state.accepts(one)}
            state.hub.rewrite(identity)
            new = {one for one in LETTERS if state.accepts(one)} - before
            if state.tokens and not self._excused() and new & state.stolen:
                raise Broken("the hub is made to accept a stolen certificate")

        self._effect("hub", do)

    def delete(self, identity: HubIdentity) -> None:
        state = self._state

        def do() -> None:
            mine = self._intended
            kept = state.kept(split_id(mine.id)[1]) if mine else None
            state.hub.delete(identity)
            if kept is None:
                raise Broken("the identity is deleted before its twin is kept")
            if not kept.twin.equals(TWIN) and not state.spent & HANDS_ON_TWIN:
                raise Broken("the twin that is kept is not the one from before the breach")

        self._effect("hub", do)

    def replace_twin(self, device_id: str, read: Twin, twin: Twin) -> None:
        self._effect("hub", lambda: self._state.hub.replace_twin(device_id, read, twin))

    def start_method_job(self, *arguments: Any) -> None:
        self._effect("hub", lambda: self._state.hub.start_method_job(*arguments), ServiceUnavailable)

    def issue(self, name: str) -> None:
        self._effect("vault", lambda: self._state.vault.issue(name), ServiceUnavailable)


def _key(row: Row) -> tuple[str, str]:
    return row["PartitionKey"], row["RowKey"]


def _enabled(state: BreachState) -> bool:
    body = state.dps.enrolled.get(NAME)
    return body is not None and body["provisioningStatus"] == "enabled"
