"""Refused devices that nobody here noted: most are nobody's, some are of an enrollment group.

A sweep notes devices of individual enrollments; those of a group are too many, and are listed only by a rollover of it.
So DPS is asked: a device that registered and has no individual enrollment came through a group. Through which one DPS
does not tell (its registration record names none, azure-rest iot-dps device-registration-state; recorded 2023), so what
is looked at is every open rollover of a group, and that of the device itself. A group's device has its registration ID
for its device ID (azure-docs concepts-service), unless a custom allocation gave it another: then it stays unknown.
"""

import re
from collections import Counter
from collections.abc import Sequence

from shared.connection_log import Refusal
from shared.errors import RolloverError, ServiceUnavailable, unexpected
from shared.events import LogEvent, log
from shared.looks import MINUTE
from shared.services import Services
from shared.starting import hasten
from shared.triage import Class, KnownOfGroup, keeping_out, triage_of_group
from shared.tried_again import record_tried

REGISTRATION_ID = r"[A-Za-z0-9._:\-]{1,128}"
"""What a registration ID may be made of (azure-docs concepts-service)."""


def look_at_strangers(strangers: Sequence[Refusal], counts: Counter[str], services: Services) -> None:
    """Look into a few of these, and count each by its finding; those that are over the budget count as not ours.

    Raises:
        ServiceUnavailable: a service is down; those that it kept us from looking at are looked at next time.
    """
    possible = {one.device_id: one for one in strangers if re.fullmatch(REGISTRATION_ID, one.device_id)}
    granted = services.looks.strangers.reserve(list(possible), services.now()).granted
    counts[Class.NOT_OURS] += len(strangers) - len(granted)
    hastened: set[str] = set()
    for at, device_id in enumerate(granted):
        try:
            counts[_look_into(possible[device_id], hastened, services)] += 1
        except ServiceUnavailable:
            services.looks.strangers.release(granted[at:], services.now())
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it must not take the others of the batch along
            counts["failed"] += 1
            why = str(error if isinstance(error, RolloverError) else unexpected(error))
            log(LogEvent.TARGET_FAILED, device_id=device_id, why=why)


def _look_into(refusal: Refusal, hastened: set[str], services: Services) -> Class:
    known = _read(refusal.device_id, services)
    finding = triage_of_group(refusal, known)
    if finding.what is Class.BREACHED_TRIED:
        for breach in keeping_out(refusal, known):
            record_tried(breach, refusal, finding.why, services)
    if finding.what is Class.IN_FLIGHT:
        for rollover in known.at_work:
            if rollover.id not in hastened:
                hastened.add(rollover.id)
                hasten(rollover, services)
        if any(one.plan.contains for one in known.at_work):
            # The first refusal comes while it is being contained; the next ones tell who goes on trying.
            services.looks.strangers.release([refusal.device_id], services.now(), after=MINUTE)
    return finding.what


def _read(device_id: str, services: Services) -> KnownOfGroup:
    """DPS is asked first: of a name that nobody registered, the registry need not be asked."""
    registration = services.provisioning.registration(device_id)
    if registration is None:
        return KnownOfGroup()
    if services.provisioning.enrollment(device_id) is not None:
        return KnownOfGroup(registration, has_enrollment=True)
    identity = services.hub.identity(device_id)
    last = services.ledger.last(device_id)
    own = [last] if last is not None and last.outcome is None else []
    open_ones = own + [one for one in services.ledger.open() if one.plan.of_group]
    return KnownOfGroup(registration, identity=identity, rollovers=open_ones)
