"""Compares what DPS and hub hold with what rollovers left there, some targets at a turn. Says so, and never acts.

The lists of DPS and hub show which targets are as they were left; only the others are read one by one, for the hub's
list lags (``shared.clients.hub``) and nobody is told by it alone. A turn takes a slice, in the order of the ledger, and
the next one goes on behind it; a round begins every hour at most.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from shared.announce import announce_once
from shared.authority import DpsCertificate
from shared.drift import Drift, Finding, drifts, group_drifts, is_compared, left_by
from shared.errors import RolloverError, ServiceUnavailable
from shared.events import Lifecycle, LogEvent, log
from shared.holdings import Target
from shared.listing_holdings import screened
from shared.rollover import Rollover
from shared.services import Services
from shared.telemetry import Metric, measure

TARGETS = 5_000
"""A turn takes at most, from lists."""
CLOSELY = 200
"""So many of them it reads one by one: of a DPS's 1,000 operations a minute and a hub's 10 twin reads a second
(azure-docs about-iot-dps, iot-hub-devguide-quotas-throttling), in five minutes, a small part."""
ROUND = timedelta(hours=1)
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
    """Compare the next targets; how many were. One that cannot be read stops no other, and waits for its turn in the
    next round; a service that does not answer several times in a row is left alone until the next turn.
    """
    place, now = services.timers.place(), services.now()
    began = place.began
    if not place.after:
        if began is not None and now - began < ROUND:
            return 0
        began = now
    read = list(islice(services.ledger.targets(place.after), TARGETS))
    targets = [one for partition, rollovers in read if (one := _compared(partition, rollovers, now)) is not None]
    look = _CloseLook(services)
    done = 0
    for target, as_left in zip(targets, screened(targets, services), strict=False):
        if not as_left:
            if look.times == CLOSELY:
                break
            look.at(target.partition)
        done += 1
        if look.unanswered == UNANSWERED:
            break
    if done < len(targets):
        services.timers.go_on(targets[done - 1].partition, began)
    else:
        services.timers.go_on(read[-1][0] if len(read) == TARGETS else "", began)
    return done


def _compared(partition: str, rollovers: Sequence[Rollover], now: datetime) -> Target | None:
    last = left_by(rollovers)
    if last is None or not is_compared(last) or rollovers[-1].acts_now(now):
        return None
    return Target(partition, rollovers, last)


class _CloseLook:
    """Reads targets one by one; the CA certificates of the DPS once a turn, if at all."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._authorities: list[DpsCertificate] | None = None
        self.times = 0
        self.unanswered = 0
        """How often in a row."""

    def at(self, partition: str) -> None:
        """Compare one target, and tell. Whatever is raised must not hide the targets behind it."""
        self.times += 1
        try:
            self._compare(partition)
            self.unanswered = 0
        except Exception as error:  # noqa: BLE001  see above
            self.unanswered = self.unanswered + 1 if isinstance(error, ServiceUnavailable) else 0
            why = str(error) if isinstance(error, RolloverError) else type(error).__name__
            log(LogEvent.TARGET_FAILED, target=partition, why=why)

    def _compare(self, partition: str) -> None:
        services = self._services
        target = _compared(partition, services.ledger.rollovers_in(partition), services.now())
        if target is None:
            return  # one began since
        last, rollovers = target.last, target.rollovers
        if last.group_id:
            group = services.provisioning.group(last.group_id)
            by_name = group is not None and group.by_reference
            found = group_drifts(rollovers, group, self._all_authorities() if by_name else ())
        else:
            enrollment = services.provisioning.enrollment(last.registration_id)
            shown = services.hub.shown(last.device_id) if last.device_id else None
            found = drifts(rollovers, enrollment, shown)
        for one in found:
            if one.finding is Finding.NEVER_ISSUED and _in_vault(one, last, services):
                continue  # the device was faster than its enrollment; the sweep rolls it
            _tell(one, last, services)

    def _all_authorities(self) -> list[DpsCertificate]:
        if self._authorities is None:
            self._authorities = self._services.authorities.all()
        return self._authorities


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
