"""Every port of the product in the walk of groups, and what must hold at each write."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.enrollment import Enrollment
from shared.errors import Conflict, ServiceRefused, ServiceUnavailable
from shared.fleet import FleetProgress
from shared.group import Group
from shared.ledger import Write
from shared.plans import Plan, Step
from shared.previews import PARTITION
from shared.rollover import Outcome, Rollover
from shared.rows import from_row
from tests.walk.group_model import ENOUGH, FLEET, GROUP, LETTERS, GroupState, Work
from tests.walk.model import Broken


class GroupWatched:
    """The ports of one run. An effect needs an intention that this very run has put into the ledger."""

    def __init__(self, state: GroupState) -> None:
        self._state = state
        self._intended: Rollover | None = None

    def __getattr__(self, name: str) -> Any:
        state = self._state
        for place, service in (("hub", state.hub), ("vault", state.vault), ("table", state.table)):
            if hasattr(service, name):
                self.look(place)
                return getattr(service, name)
        raise AttributeError(name)

    def look(self, *places: str) -> None:
        """Note what is read."""
        for place in places:
            self._state.tape.look(place)

    # --- reading ----------------------------------------------------------------------------------------------------

    def group(self, group_id: str) -> Group | None:
        self.look("dps")
        return self._state.dps.group(group_id)

    def groups(self) -> Iterator[Group]:
        self.look("dps")
        return self._state.dps.groups()

    def count_members(self, group_id: str, *since: datetime) -> list[int]:
        self.look("registrations")
        return self._state.dps.count_members(group_id, *since)

    def enrollment(self, registration_id: str) -> Enrollment | None:
        self.look("dps", "registrations")
        return self._state.dps.enrollment(registration_id)

    def enrollments(self) -> Iterator[Enrollment]:
        self.look("dps")
        return self._state.dps.enrollments()

    def progress(self, rollover: Rollover, work: str) -> FleetProgress | None:
        self.look("fleet", "hub")
        return self._state.progress(rollover, work)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _write(self, do: Callable[[], Any], lost: type[Exception], place: str) -> Any:
        return self._state.tape.write(self._state, do, lost, place)

    def _effect(self, place: str, do: Callable[[], Any], lost: type[Exception] = Conflict, *, last: bool = True) -> Any:
        if self._state.previewing:
            raise Broken("I5: a preview changes the world")
        if self._intended is None:
            raise Broken("I7: the world is changed without a record of who, what and why")
        try:
            return self._write(do, lost, place)
        finally:
            self._intended = None if last else self._intended
            self._state.notice_door()

    def _excused(self) -> bool:
        """Whether this write was on its way when its rollover was cancelled or preempted: it may still come."""
        last, mine = self._state.rollover(), self._intended
        return mine is None or last is None or last.id != mine.id or last.outcome is not None

    def send(self, step: Step, rollover_id: str, delay: timedelta = timedelta(), life: timedelta | None = None) -> None:
        bag = self._state.bag
        self._write(lambda: bag.append((step, rollover_id)), ServiceUnavailable, "bag")

    def issue(self, name: str) -> None:
        self._effect("vault", lambda: self._state.vault.issue(name), ServiceUnavailable)

    def begin(self, rollover: Rollover, work: str) -> None:
        state, key = self._state, (rollover.id, work, rollover.round)

        def do() -> None:
            if key in state.works:
                raise Conflict("begun already")
            if work == "wave" and not self._excused() and not state.admits(_letter(rollover)):
                raise Broken("devices are asked to move to what DPS does not let them in by")
            state.works[key] = Work()

        self._effect("fleet", do)

    def replace_group(self, group: Group, body: Mapping[str, Any]) -> None:
        state = self._state

        def do() -> None:
            before, was_open = set(state.trusted()), state.dps.grouped[GROUP]["provisioningStatus"] == "enabled"
            state.dps.replace_group(group, body)
            after = set(state.trusted())
            # Where a hand took out the last one before, shutting the door takes nothing from anybody.
            if before - {"-", "?"} and not after - {"-", "?"}:
                raise Broken("I1: the group is left without anything that it trusts")
            if self._excused() or self._intended is None:
                return
            opened = state.dps.grouped[GROUP]["provisioningStatus"] == "enabled" and not was_open
            self._check_swap(self._intended, before - after, after - before, after, opened=opened)

        self._effect("dps", do)

    def _check_swap(self, mine: Rollover, gone: set[str], new: set[str], after: set[str], *, opened: bool) -> None:
        state = self._state
        if mine.plan is Plan.GROUP_BREACH:
            if new & state.stolen:
                raise Broken("the group is made to trust what is stolen")
            if opened and after & state.stolen:
                raise Broken("the group is enabled while it trusts what is stolen")
            if opened and not state.admits(_letter(mine)):
                raise Broken("I1: the group is enabled and nobody can get in")
            return
        for one in gone - {"-", "?"}:
            expired = [letter for letter in gone if letter in LETTERS.values() and _dead(state, letter)]
            if one != LETTERS[mine.outgoing.sha256_thumbprint]:
                if one not in expired:
                    raise Broken(f"I2: what is not of this rollover is taken out: {one}")
                continue
            if not state.admits(_letter(mine)):
                raise Broken("I1: the outgoing CA is retired and nobody can get in by the incoming one")
            moved = sum((device_id, _letter(mine)) in state.used for device_id in FLEET)
            if moved < ENOUGH * len(FLEET):
                raise Broken("I2: the outgoing CA is retired and too few devices moved")
            if not state.knobs.retire_when_moved and one not in expired:
                raise Broken("I2: the outgoing CA is retired before it has expired")

    def authorities(self) -> Any:
        """The CA certificates of the DPS, watched."""
        return _Authorities(self, self._state)

    # --- the ledger -------------------------------------------------------------------------------------------------

    def commit(self, writes: list[Write]) -> list[str]:
        state = self._state
        if state.previewing and any(write.row["PartitionKey"] != PARTITION for write in writes):
            raise Broken("I5: a preview writes to the ledger")

        def do() -> list[str]:
            keys = [(write.row["PartitionKey"], write.row["RowKey"]) for write in writes]
            before = {key: state.table.rows.get(key) for key in keys}
            etags = state.table.commit(writes)
            for write, key in zip(writes, keys, strict=True):
                if write.row["RowKey"].startswith("rollover."):
                    old = before[key]
                    self._check_said(from_row(old[0], "") if old else None, from_row(write.row, ""), writes)
            return etags

        return self._write(do, Conflict, "table")  # type: ignore[no-any-return]

    def _check_said(self, old: Rollover | None, new: Rollover, writes: list[Write]) -> None:
        state = self._state
        if (new.contained and not (old and old.contained)) or new.outcome is Outcome.DONE:
            self.look("truth")
        if any(write.row.get("what") == "acts" for write in writes):
            if old is None or old.outcome is not None:
                raise Broken(f"a rollover that is {old.status if old else 'not begun'} acts")
            self._intended = new
        if old is not None and old.outcome is Outcome.PREEMPTED and new.outcome is not Outcome.PREEMPTED:
            raise Broken("a preempted rollover is open again")
        if new.contained and not (old and old.contained) and (found := state.exposed()):
            raise Broken(f"I3: it says contained, and {'; '.join(found)}")
        if new.plan.replaces and new.outcome is Outcome.DONE and not (old and old.outcome is Outcome.DONE):
            if found := state.exposed():
                raise Broken(f"done, and exposed: {'; '.join(found)}")
            if set(state.trusted()) & state.stolen or not state.admits(_letter(new)):
                raise Broken("done, and the group trusts what is stolen, or lets nobody in")


class _Authorities:
    def __init__(self, watched: GroupWatched, state: GroupState) -> None:
        self._watched = watched
        self._state = state

    def all(self) -> Any:
        self._watched.look("dps")
        return self._state.authorities.all()

    def get(self, name: str) -> Any:
        self._watched.look("dps")
        return self._state.authorities.get(name)

    def put(self, name: str, certificate: Any, *, verified: bool, read: Any) -> None:
        self._watched._effect(
            "dps", lambda: self._state.authorities.put(name, certificate, verified=verified, read=read)
        )

    def verification_code(self, read: Any) -> Any:
        return self._watched._effect("dps", lambda: self._state.authorities.verification_code(read), last=False)

    def verify(self, read: Any, proof_pem: str) -> None:
        self._watched._effect("dps", lambda: self._state.authorities.verify(read, proof_pem))

    def delete(self, read: Any) -> None:
        state = self._state

        def do() -> None:
            named = [group for group in state.dps.groups() if read.name in group.ca_references]
            if named and state.knobs.minds:
                raise ServiceRefused("409: a group names it")
            mine = self._watched._intended
            if named and not self._watched._excused() and mine is not None and mine.plan is Plan.GROUP_EXPIRY:
                raise Broken(f"a CA certificate is deleted that group {named[0].enrollment_group_id} names")
            state.authorities.delete(read)

        self._watched._effect("dps", do)


def _letter(rollover: Rollover) -> str:
    return LETTERS.get(rollover.incoming.sha256_thumbprint, "s") if rollover.incoming else "-"


def _dead(state: GroupState, letter: str) -> bool:
    from tests.walk.group_model import CAS

    return CAS[letter].not_after <= state.clock.time
