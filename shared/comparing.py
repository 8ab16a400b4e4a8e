"""Compares what DPS and hub hold with what rollovers left there, some targets at a turn. Says so, and never acts.

Each target is read by itself: DPS gives no list by name, and the hub's lists lag (``shared.clients.hub``). So a turn
takes a slice, in the order of the ledger, and the next one goes on behind it; a round begins every few hours at most.
"""

from collections.abc import Mapping
from datetime import timedelta

from shared.announce import announce_once
from shared.authority import DpsCertificate
from shared.drift import Drift, Finding, drifts, group_drifts, is_compared, left_by
from shared.errors import RolloverError, ServiceUnavailable
from shared.events import Lifecycle, LogEvent, log
from shared.rollover import Rollover
from shared.services import Services
from shared.telemetry import Metric, measure

TARGETS = 200
"""A turn: of a DPS's 1,000 operations a minute and a hub's 10 twin reads a second (azure-docs about-iot-dps,
iot-hub-devguide-quotas-throttling), in five minutes, a small part. 57,600 targets a day."""
ROUND = timedelta(hours=6)
"""How often a round begins at most; reading costs."""
UNANSWERED = 3
SOURCE = "watch"

KINDS: Mapping[Finding, Lifecycle] = {
    Finding.COMPROMISED_BACK: Lifecycle.COMPROMISED_BACK,
    Finding.LET_IN_AGAIN: Lifecycle.COMPROMISED_BACK,
    Finding.NEVER_ISSUED: Lifecycle.BREACH_NOMINATED,
    Finding.APART: Lifecycle.DRIFTED,
    Finding.SLOTS: Lifecycle.DRIFTED,
    Finding.STATUS: Lifecycle.DRIFTED,
    Finding.GONE: Lifecycle.DRIFTED,
}
"""What is published for a finding."""


def compare_some(services: Services) -> int:
    """Compare the next targets; how many were tried. One that cannot be read stops no other, and waits for its turn in
    the next round; a service that does not answer several times in a row is left alone until the next turn.
    """
    place, now = services.timers.place(), services.now()
    began = place.began
    if not place.after:
        if began is not None and now - began < ROUND:
            return 0
        began = now
    partitions = services.ledger.targets(place.after, TARGETS)
    authorities = _Authorities(services)
    tried = unanswered = 0
    for partition in partitions:
        tried += 1
        try:
            _compare(partition, authorities, services)
            unanswered = 0
        except Exception as error:  # noqa: BLE001  whatever it is, it must not hide the targets behind this one
            unanswered = unanswered + 1 if isinstance(error, ServiceUnavailable) else 0
            why = str(error) if isinstance(error, RolloverError) else type(error).__name__
            log(LogEvent.TARGET_FAILED, target=partition, why=why)
        if unanswered == UNANSWERED:
            break
    ended = tried == len(partitions) < TARGETS
    services.timers.go_on("" if ended else partitions[tried - 1], began)
    return tried


class _Authorities:
    """The CA certificates of the DPS, listed once a turn, if at all."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._listed: list[DpsCertificate] | None = None

    def all(self) -> list[DpsCertificate]:
        if self._listed is None:
            self._listed = self._services.authorities.all()
        return self._listed


def _compare(partition: str, authorities: _Authorities, services: Services) -> None:
    rollovers = services.ledger.rollovers_in(partition)
    last = left_by(rollovers)
    if last is None or not is_compared(last) or rollovers[-1].acts_now(services.now()):
        return
    if last.group_id:
        group = services.provisioning.group(last.group_id)
        by_name = group is not None and group.by_reference
        found = group_drifts(rollovers, group, authorities.all() if by_name else ())
    else:
        enrollment = services.provisioning.enrollment(last.registration_id)
        shown = services.hub.shown(last.device_id) if last.device_id else None
        found = drifts(rollovers, enrollment, shown)
    for one in found:
        if one.finding is Finding.NEVER_ISSUED and _in_vault(one, last, services):
            continue  # the device was faster than its enrollment; the sweep rolls it
        _tell(one, last, services)


def _in_vault(drift: Drift, last: Rollover, services: Services) -> bool:
    """Whether the vault has all of these: it lists its versions by SHA-1, DPS writes SHA-256 to the hub."""
    strangers = set(drift.thumbprints)
    if not last.certificate_name or services.vault.latest(last.certificate_name) is None:
        return False
    versions = services.vault.versions(last.certificate_name)
    strangers -= versions.keys()
    for version in versions.values():
        if strangers:
            strangers.discard(services.vault.sha256_thumbprint(last.certificate_name, version))
    return not strangers


def _tell(drift: Drift, last: Rollover, services: Services) -> None:
    data = {"rolloverId": last.id, "finding": drift.finding.value, "nextStep": NEXT[drift.finding]}
    if not announce_once(KINDS[drift.finding], SOURCE, last.target, drift.why, data, services):
        return
    log(
        LogEvent.DRIFTED,
        rollover_id=last.id,
        registration_id=last.registration_id or None,
        group_id=last.group_id,
        finding=drift.finding,
        why=drift.why,
    )
    measure(Metric.DRIFTS, finding=drift.finding)


NEXT: Mapping[Finding, str] = {
    Finding.COMPROMISED_BACK: "call the breach again, now: POST /api/breaches",
    Finding.LET_IN_AGAIN: "keep it out again, now: POST /api/devices/{id}/disallow; or allow it, if it is to be let in",
    Finding.NEVER_ISSUED: "if nobody changed the identity on purpose, call the breach: POST /api/breaches",
    Finding.APART: "put the certificate that the device uses into a slot, or delete the identity: it registers again",
    Finding.SLOTS: "see who changed it (its activity log); undo that, or put the certificate into the vault",
    Finding.STATUS: "see who changed it; undo that, or leave it so on purpose",
    Finding.GONE: "take the device out of service on both sides, or enroll it again",
}
"""What a person does."""
