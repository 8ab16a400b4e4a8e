"""Listing a fleet: page by page, each page's batches born in the transaction that moves the listing on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import batched

from shared.enrollment import Member
from shared.errors import NotAllowed, ServiceRefused
from shared.fleet import Work
from shared.fleet_leaves import A_TURN
from shared.fleet_restore import given_up
from shared.fleet_rows import LARGEST_BATCH, Batch, Device, Head, Standing
from shared.fleet_waves import planned
from shared.lines import Lane
from shared.quota import Quota
from shared.rollover import Rollover
from shared.services import Services
from shared.suspects import is_suspect
from shared.waves import numbered

PAGES = 20
"""Pages a turn: no function runs longer than a minute."""
LONGEST_TURN = timedelta(seconds=30)
MOST_RESTARTS = 5


def list_on(
    head: Head, rollover: Rollover, services: Services, give_moments: Callable[[Head], Head]
) -> tuple[Head, timedelta]:
    """List some pages on; the head after them, and how long to wait for the next ones.

    What is listed need not wait for the rest: batches get their moments page by page, until the line is full.

    Raises:
        Conflict: another turn lists at this moment.
        ServiceUnavailable, ServiceRefused: of DPS; what was listed is kept.
    """
    began, pages = services.now(), 0
    while not head.listed and pages < PAGES and services.now() - began < LONGEST_TURN:
        try:
            devices, spared, cursor = _page(head, rollover, services)
        except NotAllowed:
            raise
        except ServiceRefused:
            # The continuation token may be too old, or unknown by now.
            if head.cursor is None or head.restarts == MOST_RESTARTS:
                raise
            head = services.fleet.save_head(_over_again(head))
            continue
        pages += 1
        full = head.dispatched < head.batches
        after, batches = _planned(replace(head, spared=head.spared + spared), devices, services)
        rest_follows = cursor is None and not head.rest and _suspects_first(head.work, rollover)
        listed = cursor is None and not rest_follows
        after = replace(after, cursor=cursor, listed=listed, rest=head.rest or rest_follows)
        head = services.fleet.save_head(after, batches)
        head = head if full else give_moments(head)
    if head.work is Work.RESTORE or not pages:
        return head, timedelta()
    quota = Quota(head.tier, head.units)
    moment = services.fleet.lines.last_place(Lane.LISTING, pages, quota)
    return head, moment - services.now() + timedelta(seconds=pages / Lane.LISTING.rate(quota))


def _over_again(head: Head) -> Head:
    """The head when the listing starts over: its batches are void, what they did is seen by those that come."""
    return replace(
        head,
        cursor=None,
        restarts=head.restarts + 1,
        first=head.batches,
        dispatched=head.batches,
        asked=head.batches,
        devices=0,
        spared=0,
        rest=False,
        waves=(),
    )


def _page(head: Head, rollover: Rollover, services: Services) -> tuple[list[Device], int, str | None]:
    """The devices of the next page, how many of it are none of the work's, and where to go on."""
    if head.work is Work.RESTORE:
        owed, more = services.fleet.kept(head.partition).to_put_back(head.cursor, LARGEST_BATCH)
        # What an earlier breach kept in vain is of devices that never came back, or that there never were.
        vain = {one for one in owed if one.rollover_id != rollover.id and given_up(one.rollover_id, one.at, services)}
        back = [Device(one.device_id, one.device_id, newcomer=one.newcomer) for one in owed if one not in vain]
        return back, 0, more
    page = services.provisioning.members(str(rollover.group_id), head.cursor)
    members, spared = _of_this_pass(page.members, head, rollover)
    devices = [_device(one, services.settings.hub_hostname) for one in members]
    if head.work is Work.WAVE and not head.waves and not head.stays:
        devices = _heard_first(devices, services)
    return devices, spared, page.more


def _suspects_first(work: Work, rollover: Rollover) -> bool:
    """Whether a work lists twice: the suspects, then the rest. Who registers in between is in neither, and is found
    when the identities are read back; the group is disabled."""
    incident = rollover.incident
    return work is Work.EVICT and bool(incident and incident.compromised_since and not incident.suspects_only)


def _of_this_pass(members: Sequence[Member], head: Head, rollover: Rollover) -> tuple[Sequence[Member], int]:
    """The devices that this pass is for, and how many others no pass is for."""
    incident = rollover.incident
    if head.work not in (Work.EVICT, Work.CHECK) or incident is None or incident.compromised_since is None:
        return members, 0
    suspects = [one for one in members if is_suspect(one, incident.compromised_since)]
    if incident.suspects_only:
        return suspects, len(members) - len(suspects)
    if head.work is Work.CHECK:
        return members, 0
    return ([one for one in members if one not in suspects] if head.rest else suspects), 0


def _device(member: Member, hub: str) -> Device:
    registered = member.last_updated.isoformat() if member.last_updated else ""
    device = Device(
        member.device_id,
        member.registration_id,
        tried_only=member.status != "assigned",
        registered=registered,
        first_registered=member.first_registered.isoformat() if member.first_registered else "",
    )
    assigned = (member.assigned_hub or hub).lower()
    if assigned.partition(":")[0] == hub.lower().partition(":")[0]:
        return device
    return device.ended(Standing.LEFT, f"DPS assigned it to another hub, {assigned}")


def _heard_first(devices: list[Device], services: Services) -> list[Device]:
    """The canary is taken from those that can be heard. Who can tell nothing is given up before it is, and in no wave:
    a wave of such devices alone would let the next, larger one be the first that is asked.
    """
    looked_at = [one if one.standing is Standing.LEFT else planned(one, services) for one in devices]
    return sorted(looked_at, key=lambda one: not one.connected)


def _planned(head: Head, devices: list[Device], services: Services) -> tuple[Head, list[Batch]]:
    """The head with these devices in new batches."""
    if head.work is not Work.WAVE:
        size = A_TURN if head.work is Work.LEAVES else LARGEST_BATCH
        parts = [(0, list(some)) for some in batched(devices, size, strict=False)]
        waves = list(head.waves)
    else:
        # Who is given up already is in no wave: he says nothing of the incoming CA.
        gone = [one for one in devices if one.standing is Standing.LEFT]
        parts, waves = [(0, list(some)) for some in batched(gone, LARGEST_BATCH, strict=False)], list(head.waves)
        rest = [one for one in devices if one.standing is not Standing.LEFT]
        for number, count in numbered(len(rest), head.waves, services.settings.waves):
            for some in batched(rest[:count], LARGEST_BATCH, strict=False):
                if number > len(waves):
                    waves.append((head.batches + len(parts), 0))
                waves[-1] = (waves[-1][0], waves[-1][1] + len(some))
                parts.append((number, list(some)))
            rest = rest[count:]
    batches = [Batch(head.batches + offset, tuple(some), wave=wave) for offset, (wave, some) in enumerate(parts)]
    return (
        replace(
            head,
            batches=head.batches + len(batches),
            devices=head.devices + len(devices),
            waves=tuple(waves),
        ),
        batches,
    )
