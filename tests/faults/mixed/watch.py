"""What must hold at every write of the product, and at every moment: the invariants I0 to I7.

I0 postconditions are about content; I1 no enrollment without a certificate; I2 on expiry nobody loses a connection; I3
contained is contained; I4 every rollover ends, and a person is told how to go on; I5 nothing destructive without
preview, confirmation and approval; I6 every write carries the ETag that was read; I7 every act is in the history.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

from shared.certificate import Certificate
from shared.chain import verify
from shared.enrollment import Enrollment, HubIdentity, parse_enrollment
from shared.ledger import Row, Write, split_id
from shared.plans import Plan
from shared.previews import PARTITION
from shared.rollover import Outcome, Rollover
from shared.rows import from_row
from tests.certificates import NOW
from tests.faults.mixed.device import TWIN
from tests.faults.mixed.fleet import Fleet


class Watch:
    """Looks at the truth of one fleet. What is broken is said once."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.broken: list[str] = []
        self.looked: Counter[str] = Counter()
        """How often each invariant was looked at where it could have been broken."""
        self.begins: Callable[[], None] = lambda: None
        """Called when a rollover begins or goes on after its end."""
        self._contained: dict[str, Rollover | None] = {}
        self._seen_version = -1

    def of_run(self) -> "RunWatch":
        """For one run of a function."""
        return RunWatch(self)

    def breaks(self, what: str) -> None:
        """Note that something does not hold."""
        if not any(one.endswith(f": {what}") for one in self.broken):
            self.broken.append(f"day {(self.fleet.clock.time - NOW) / timedelta(days=1):.3f}: {what}")

    def at_every_moment(self) -> None:
        """I3: what is called contained is contained, as long as no person's hand opened it again."""
        table = self.fleet.world.table
        if table.version != self._seen_version:
            self._seen_version = table.version
            for name in self.fleet.devices:
                last = self.fleet.last(name)
                claims = last if last is not None and last.contained else None
                self.fleet.devices[name].disturbed &= claims is not None
                self._contained[name] = claims
        for name, claims in self._contained.items():
            if claims is None or self.fleet.devices[name].disturbed:
                continue
            self.looked["I3"] += 1
            for what in self.fleet.exposed(name, self._kept_out(name, claims)):
                self.breaks(f"I3: {claims.id} says contained, and {what}")

    def _kept_out(self, name: str, claims: Rollover) -> list[Certificate]:
        device = self.fleet.devices[name]
        if claims.plan is Plan.DISALLOW:
            return device.holds
        return [one for one in device.stolen if one.sha256_thumbprint in {c.known_as for c in claims.leaving}]

    def at_the_end(self) -> None:
        """I7: the history of every target is whole."""
        for name in self.fleet.devices:
            partition = f"individual.{name}"
            rows = [row for (where, _), (row, _) in self.fleet.world.table.rows.items() if where == partition]
            if rows:
                self.looked["I7"] += 1
                if (broken := verify(partition, rows).first_break) is not None:
                    self.breaks(f"I7: the history of {name} is broken: {broken}")


class RunWatch:
    """One run of a function: an effect needs an intention that this very run has put into the ledger."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._fleet = watch.fleet
        self._intended: Rollover | None = None
        self.previewing = False

    def _looks(self, which: str, what: str, *, broken: bool) -> None:
        self._watch.looked[which] += 1
        if broken:
            self._watch.breaks(f"{which}: {what}")

    # --- the ledger -------------------------------------------------------------------------------------------------

    def committing(self, writes: Sequence[Write]) -> Callable[[], list[str]]:
        """The transaction, looked at as it is done."""
        table = self._fleet.world.table

        def commit() -> list[str]:
            strange = self.previewing and any(write.row["PartitionKey"] != PARTITION for write in writes)
            self._looks("I5", "a preview writes to the ledger", broken=strange)
            before = {key: table.rows[key][0] for write in writes if (key := _key(write.row)) in table.rows}
            etags = table.commit(writes)
            self._looks("I6", "a write without the ETag that was read", broken=any(w.etag == "*" for w in writes))
            for write in writes:
                if write.row["RowKey"].startswith("rollover."):
                    old = before.get(_key(write.row))
                    self._said(from_row(old, "") if old else None, from_row(write.row, ""), writes)
            return etags

        return commit

    def _said(self, old: Rollover | None, new: Rollover, writes: Sequence[Write]) -> None:
        if any(write.row.get("what") == "acts" for write in writes):
            ended = old is None or old.outcome is not None
            self._looks("I7", f"{new.id} acts and is not open", broken=ended)
            self._looks("I5", f"{new.id} acts unapproved", broken=old is not None and old.awaits_approval)
            self._intended = new
        if new.outcome is None and (old is None or old.outcome is not None):
            self._watch.begins()
        if old is None:
            self._begins(new)
        elif old.outcome is Outcome.PREEMPTED:
            self._looks("I4", f"{new.id} was preempted, and is open again", broken=new.outcome is not old.outcome)
        if new.outcome is Outcome.NEEDS_PERSON:
            self._looks("I4", f"{new.id} needs a person and says not what for", broken=not new.next_action)
        if new.outcome is Outcome.REFUSED:
            self._looks("I4", f"{new.id} is refused for no reason", broken=not new.outcome_reason)
        if new.outcome is Outcome.DONE and (old is None or old.outcome is None):
            self._done(new)

    def _begins(self, new: Rollover) -> None:
        """I4: what the sweep takes out of a person's hands is only what the person was told that it takes."""
        partition, number = split_id(new.id)
        row = self._fleet.world.table.rows.get((partition, f"rollover.{number - 1:06}"))
        before = from_row(row[0], "") if row else None
        if before is None or before.outcome not in (Outcome.NEEDS_PERSON, Outcome.CANCELLED):
            return
        untold = new.plan.expires and "sweep" not in (before.next_action or "")
        said = f"{before.id} ended as {before.status} ({before.outcome_reason}) with {before.next_action!r}"
        self._looks("I4", f"{new.cause} began {new.id} after {said}", broken=untold)

    def _done(self, done: Rollover) -> None:
        if done.plan not in (Plan.EXPIRY, Plan.BREACH, Plan.BREACH_REPROVISION):
            return
        device = self._fleet.devices[done.registration_id]
        left = {one.known_as for one in done.leaving}
        enrolled = left & set(self._fleet.world.dps.slots(device.name))
        self._looks("I0", f"{done.id} is done, and a slot holds what left", broken=bool(enrolled))
        if done.plan.replaces:
            twin = self._fleet.hub.twin(device.name)
            same = device.twin_lost or (twin is not None and twin.equals(TWIN))
            self._looks("I0", f"{done.id} is done, and the twin is another one", broken=not same)

    # --- the world --------------------------------------------------------------------------------------------------

    def intends(self) -> Rollover | None:
        """The rollover for which an effect is about to be sent."""
        self._looks("I5", "a preview changes the world", broken=self.previewing)
        self._looks("I7", "an effect without a record of who, what and why", broken=self._intended is None)
        mine, self._intended = self._intended, None
        return mine

    def _overtaken(self, mine: Rollover | None, name: str) -> bool:
        """Whether this write was on its way when its rollover ended: it may still come (``Rollover.quiet_at``)."""
        last = self._fleet.last(name)
        return mine is None or last is None or last.id != mine.id or last.outcome is not None

    def replacing(self, name: str, write: Callable[[], None]) -> Callable[[], None]:
        """A write to an enrollment, looked at as it is done."""
        mine = self.intends()

        def replace() -> None:
            before = _enrollment(self._fleet, name)
            write()
            after = _enrollment(self._fleet, name)
            if before is not None and after is not None:
                self._replaced(mine, before, after)
            self._fleet.devices[name].tempt()

        return replace

    def _replaced(self, mine: Rollover | None, before: Enrollment, after: Enrollment) -> None:
        held = {one.sha256_thumbprint for one in after.certificates()}
        had = {one.sha256_thumbprint: one for one in before.certificates()}
        self._looks("I1", "the enrollment is left without any certificate", broken=not held)
        if mine is None or self._overtaken(mine, before.registration_id):
            return
        if mine.plan.expires:
            for gone in had.keys() - held:
                self._retired(mine, gone, dead=had[gone].not_after <= self._fleet.clock.time)
        if mine.plan.replaces:
            compromised = {one.known_as for one in mine.leaving}
            self._looks("I3", "what is compromised is put into a slot", broken=bool((held - had.keys()) & compromised))
            opened = after.enabled and not before.enabled and bool(held & compromised)
            self._looks("I3", "the enrollment is enabled with what is compromised", broken=opened)

    def _retired(self, mine: Rollover, gone: str, *, dead: bool) -> None:
        device = self._fleet.devices[mine.registration_id]
        if gone != mine.outgoing.sha256_thumbprint:
            strange = gone != mine.replaces and not dead
            self._looks("I2", f"{mine.id} removes a certificate that is not of it", broken=strange)
            return
        moved = mine.incoming is not None and mine.incoming.sha256_thumbprint in device.used
        self._looks("I2", f"{mine.id} retires what the device still needs", broken=not moved)
        early = not self._fleet.draw.retire_when_moved and not dead
        self._looks("I2", f"{mine.id} retires the outgoing certificate before it has expired", broken=early)

    def rewriting(self, identity: HubIdentity, write: Callable[[], None]) -> Callable[[], None]:
        """A write to a hub identity, looked at as it is done."""
        mine = self.intends()

        def rewrite() -> None:
            fleet, name = self._fleet, identity.device_id
            before = fleet.identity(name)
            accepted = set(before.thumbprints()) if before and before.enabled else set()
            write()
            fleet.devices[name].tempt()
            if mine is None or self._overtaken(mine, name):
                return
            now = set(identity.thumbprints()) if identity.enabled else set()
            if mine.plan.expires:
                device = fleet.devices[name]
                needed = device.uses.sha256_thumbprint in accepted - now and fleet.clock.time < device.uses.not_after
                self._looks("I2", f"{mine.id} takes from the hub what the device uses", broken=needed)
            if mine.plan.replaces:
                leaving = {t for one in mine.leaving for t in (one.sha1_thumbprint, one.sha256_thumbprint)}
                self._looks(
                    "I3", "the hub is made to accept what is compromised", broken=bool((now - accepted) & leaving)
                )

        return rewrite

    def deleting(self, identity: HubIdentity, write: Callable[[], None]) -> Callable[[], None]:
        """The deletion of a hub identity, looked at as it is done."""
        mine = self.intends()

        def delete() -> None:
            kept = self._fleet.world.services.ledger.removed(mine) if mine else None
            write()
            self._looks("I7", f"{identity.device_id} is deleted before its twin is kept", broken=kept is None)
            self._fleet.devices[identity.device_id].tempt()

        return delete


def _enrollment(fleet: Fleet, name: str) -> Enrollment | None:
    body = fleet.world.dps.enrolled.get(name)
    return parse_enrollment(body) if body else None


def _key(row: Row) -> tuple[str, str]:
    return row["PartitionKey"], row["RowKey"]
