"""Devices that the hub refused, as its log tells late and not always: looked into, nudged, told. The third trigger.

A batch is safe to repeat and cannot be poisoned: what cannot be read is counted and noted once by its reason, one
device that fails stops no other, and only a service that is down makes the batch come again.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable

from shared.announce import announce_once
from shared.connection_log import UNREADABLE, Reading, Refusal, read_batch
from shared.devices import Device
from shared.errors import RolloverError, ServiceUnavailable, unexpected
from shared.events import Lifecycle, LogEvent, log
from shared.group_refusals import look_at_strangers
from shared.looks import MINUTE
from shared.selecting import device_of
from shared.services import Services
from shared.starting import hasten, start_rollover
from shared.telemetry import Metric, measure
from shared.triage import Class, Known, triage, unknown_thumbprints
from shared.tried_again import SOURCE, record_tried

MOST_CLAIMS = 200
"""How many device IDs of one batch are looked for beside the ledger; any more are a flood, and a device that is refused
comes again."""


def take_batch(
    bodies: Iterable[bytes], services: Services, shuffle: Callable[[list[Refusal]], None] = random.shuffle
) -> Counter[str]:
    """Look into every refused connect of a batch of the hub's log; how many records and devices came out how.

    Each limit takes devices by chance, so that nobody is always the last: first how many claims are looked for in
    the table, then how often the registry may be asked (``shared.looks``).

    Raises:
        ServiceUnavailable: a service is down; the devices that it kept us from looking at are looked at next time.
    """
    reading = read_batch(bodies, services.settings.hub_name)
    counts: Counter[str] = Counter({kind.value: count for kind, count in reading.kinds.items()})
    _note_unreadable(reading, counts, services)
    claims = list(reading.refusals.values())
    shuffle(claims)
    found = {one: services.devices.find(one.device_id) for one in claims[:MOST_CLAIMS]}
    ours = {refusal.device_id: (refusal, device) for refusal, device in found.items() if device is not None}
    reserved = services.looks.reserve(list(ours), services.now())
    counts["cooling"] += reserved.cooling
    counts["over_budget"] += reserved.over_budget + len(claims) - len(found)
    try:
        _look_at([ours[device_id] for device_id in reserved.granted], counts, services)
        look_at_strangers([refusal for refusal, device in found.items() if device is None], counts, services)
    finally:
        log(LogEvent.HUB_LOG_READ, **{name: count for name, count in counts.items() if count})
        for finding in Class:
            if counts[finding]:
                measure(Metric.REFUSALS, counts[finding], finding=finding)
    return +counts


def _note_unreadable(reading: Reading, counts: Counter[str], services: Services) -> None:
    for reason, times in reading.unreadable.items():
        counts[UNREADABLE] += times
        log(LogEvent.INPUT_REFUSED, source=SOURCE, reason=reason, input=reading.samples[reason], times=times)
        services.ledger.note_refused(SOURCE, "a record", reason, services.now(), times=times)


def _look_at(some: list[tuple[Refusal, Device]], counts: Counter[str], services: Services) -> None:
    for at, (refusal, device) in enumerate(some):
        try:
            counts[_look_into(refusal, device, services)] += 1
        except ServiceUnavailable:
            services.looks.release([one.device_id for one, _ in some[at:]], services.now())
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it must not take the others of the batch along
            why = str(error if isinstance(error, RolloverError) else unexpected(error))
            counts["failed"] += 1
            log(LogEvent.TARGET_FAILED, device_id=refusal.device_id, why=why)
            services.ledger.note_refused(SOURCE, refusal.device_id, why, services.now())


def _look_into(refusal: Refusal, device: Device, services: Services) -> Class:
    """Read what is known of the device, decide, do it; what the finding was."""
    known = _read(refusal.device_id, device, services)
    finding = triage(refusal, known)
    match finding.what:
        case Class.BREACHED_TRIED if known.breach is not None:
            record_tried(known.breach, refusal, finding.why, services)
        case Class.IN_FLIGHT if known.last is not None:
            hasten(known.last, services)
            if known.last.plan.contains:
                # The first refusal comes while it is being contained; the next ones tell who goes on trying.
                services.looks.release([refusal.device_id], services.now(), after=MINUTE)
        case Class.ROLLED_EARLY:
            start_rollover(device.certificate_name, f"refused connect of {refusal.device_id}", services)
        case Class.NEVER_ISSUED:
            known_as = device.registration_id
            log(LogEvent.BREACH_NOMINATED, device_id=refusal.device_id, registration_id=known_as, why=finding.why)
            data = {"deviceId": refusal.device_id, "registrationId": known_as}
            announce_once(Lifecycle.BREACH_NOMINATED, SOURCE, refusal.device_id, finding.why, data, services)
        case Class.UNEXPLAINED:
            log(
                LogEvent.REFUSAL_UNEXPLAINED,
                device_id=refusal.device_id,
                registration_id=device.registration_id,
                at=refusal.at,
                why=finding.why,
            )
        case _:
            pass
    return finding.what


def _read(device_id: str, device: Device, services: Services) -> Known:
    """What registry, DPS, ledger and vault know; the registry is asked by GET, for its queries lag."""
    identity = services.hub.identity(device_id)
    rollovers = tuple(one for one in services.ledger.rollovers(device.registration_id) if one.device_id == device_id)
    enrollment = services.provisioning.enrollment(device.registration_id)
    if enrollment is not None and device_of(enrollment) != device_id:
        enrollment = None
    tagged = services.vault.latest(device.certificate_name) if device.certificate_name else None
    strangers = unknown_thumbprints(identity, enrollment, rollovers)
    if strangers and tagged is not None:
        # The vault lists its versions by SHA-1; DPS writes SHA-256 to the hub.
        versions = services.vault.versions(tagged.name)
        strangers -= versions.keys()
        strangers -= {services.vault.sha256_thumbprint(tagged.name, one) for one in versions.values() if strangers}
    return Known(
        now=services.now(),
        identity=identity,
        enrollment=enrollment,
        rollovers=rollovers,
        latest=tagged.latest if tagged else None,
        never_issued=sorted(strangers) if tagged else (),
    )
