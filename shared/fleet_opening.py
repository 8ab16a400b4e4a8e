"""Opening the waves of a group's devices one after the other, or stopping them. What is decided is ``shared.waves``."""

from dataclasses import replace
from datetime import timedelta

from shared.chain_of_trust import renews
from shared.errors import NotFound
from shared.events import LogEvent, log
from shared.fleet import Wave
from shared.fleet_leaves import leaf_names
from shared.fleet_moments import moments_to_ask
from shared.fleet_rows import Head
from shared.lines import HORIZON
from shared.rollover import Rollover
from shared.services import Services
from shared.waves import may_open_next, why_halt

SOONEST = timedelta(seconds=2)
"""How soon is looked whether a wave that was just asked has moved; ever more rarely later."""
LONGEST = timedelta(minutes=10)
"""How long at most once everybody was asked, and nobody waits for a moment any more."""


def know_leaves(head: Head, rollover: Rollover, services: Services) -> Head:
    """The head with what the devices need: a new certificate each, or less where the incoming CA is a renewal.

    Raises:
        ServiceUnavailable, ServiceRefused: of vault or DPS.
    """
    incoming, outgoing = rollover.incoming, rollover.outgoing
    head = replace(head, leaf_names=leaf_names(rollover, services))
    if incoming is None or outgoing.public_key_sha256 is None:
        return head
    if not renews(services.vault.certificate(rollover.certificate_name, incoming.version), outgoing):
        return head
    group = services.provisioning.group(rollover.group_id or "")
    if group is None:
        raise NotFound(f"the group {rollover.group_id!r}")
    return replace(head, stays=group.by_reference, by_registration=not group.by_reference, leaf_names="")


def open_waves(head: Head, rollover: Rollover, services: Services) -> tuple[Head, timedelta]:
    """Open the next wave if it may be, or halt the work; and when to look again.

    Raises:
        Conflict: another turn of the work was faster.
    """
    now, policy = services.now(), services.settings.waves
    waves = services.fleet.counted(head, rollover).waves
    begun = [_since_retry(one, rollover) for one in waves if one.number <= head.opened]
    if why := why_halt(begun, now, policy):
        return replace(head, halted=why, halted_at=now), HORIZON / 2
    if head.opened < len(head.waves) and (not begun or may_open_next(begun[-1], now, policy)):
        head = replace(head, opened=head.opened + 1)
        log(LogEvent.WAVE_OPENED, rollover_id=rollover.id, wave=head.opened, devices=head.waves[head.opened - 1][1])
    beyond = head.waves[head.opened][0] if head.opened < len(head.waves) else head.batches
    head = moments_to_ask(head, beyond, services)
    since = max((one.asked_at for one in begun if one.asked_at), default=head.begun_at)
    longest = LONGEST if head.asked == head.batches else HORIZON / 2
    return head, min(max((now - since) / 2, SOONEST), longest)


def _since_retry(wave: Wave, rollover: Rollover) -> Wave:
    """The wave with all its patience again, after a person's retry."""
    if wave.asked_at is None or rollover.reopened_at is None:
        return wave
    return replace(wave, asked_at=max(wave.asked_at, rollover.reopened_at))
