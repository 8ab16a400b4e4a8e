"""Whether DPS and hub still hold what the last rollover of a target left there. Pure.

Only what ended is compared: the steps of an open rollover look for themselves. One that keeps something out is looked
at from when it is contained, however it ended since, for that is when somebody relies on it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.authority import DpsCertificate
from shared.certificate import Thumbprints, is_among, is_same
from shared.enrollment import Accepted, Enrolled, Enrollment
from shared.group import Group, distinct
from shared.plans import Plan, Step
from shared.rollover import Outcome, Rollover


class Finding(StrEnum):
    """What is not as it was left."""

    COMPROMISED_BACK = "compromised_back"
    """DPS or hub accept again what was reported compromised."""
    LET_IN_AGAIN = "let_in_again"
    """What is kept out is kept out no longer: its disabled entry is enabled or gone, or the hub lets it connect."""
    NEVER_ISSUED = "never_issued"
    """The hub accepts a certificate that neither a slot nor the ledger knows."""
    APART = "apart"
    """The hub accepts none of the certificates that the enrollment holds."""
    SLOTS = "slots"
    """The entry holds, or lacks, a certificate."""
    STATUS = "status"
    """Somebody enabled or disabled the entry, or the hub identity."""
    GONE = "gone"
    """The entry or the hub identity is no more, and the other is."""


@dataclass(frozen=True)
class Drift:
    """One difference, in words; ``thumbprints`` where the vault may still know what the ledger does not."""

    finding: Finding
    why: str
    thumbprints: frozenset[str] = frozenset()


def is_compared(last: Rollover) -> bool:
    """Whether the last rollover of a target left something that is meant to stay, or ended without having rolled."""
    if last.outcome is Outcome.PREEMPTED:
        return False
    return last.outcome is Outcome.DONE or last.contained or (last.plan.expires and last.outcome is not None)


def left_by(rollovers: Sequence[Rollover]) -> Rollover | None:
    """The last of a target's rollovers that may have left something to compare.

    What rolls a group's device leaves nothing: no slot holds its certificate, and its group may bring it another one at
    any time. What kept the device out, or let it in, before that is meant to stay.
    """
    return next((one for one in reversed(rollovers) if one.plan is not Plan.MEMBER_EXPIRY), None)


def drifts(rollovers: Sequence[Rollover], enrollment: Enrollment | None, shown: Accepted | None) -> list[Drift]:
    """What is not as the last rollover left it, the worst first; ``rollovers`` are all of the target, oldest first."""
    last = left_by(rollovers)
    if last is None or not is_compared(last):
        return []
    compromised = _compromised(rollovers)
    found = list(_compromised_back(compromised, last.target, enrollment, shown))
    if last.plan is Plan.DISALLOW:
        return [*found, *_let_in_again(last, enrollment, shown)]
    if last.outcome is not Outcome.DONE:
        return [*found, *_of_no_use(last, enrollment, shown)]
    if enrollment is None:
        gone = Drift(Finding.GONE, f"the enrollment {last.target} is gone, and the hub still accepts its device")
        return [*found, gone] if shown is not None and shown.enabled else found
    strangers = _strangers(rollovers, enrollment, shown)
    found += strangers
    found += _slots(last, enrollment.certificates(), "enrollment")
    found += _status(last, "enrollment", enabled=enrollment.enabled)
    told = {hash_ for one in compromised for hash_ in (one.sha1_thumbprint, one.sha256_thumbprint)}
    told |= {hash_ for one in strangers for hash_ in one.thumbprints}
    return found + _identity(last, enrollment, shown, told)


def group_drifts(
    rollovers: Sequence[Rollover], group: Group | None, authorities: Sequence[DpsCertificate]
) -> list[Drift]:
    """The same, of what an enrollment group trusts. Its devices are not looked at."""
    last = rollovers[-1]
    if not is_compared(last) or group is None:
        return []
    trusted = distinct(group.anchors(authorities))
    back = [one for one in trusted if is_among(one, _compromised(rollovers))]
    retired = last.outcome is Outcome.DONE or Step.DELETE_PRIMARY in last.done
    found = []
    if back and (group.enabled or retired):
        why = f"the group {last.target} trusts again what was reported compromised: {_named(back)}"
        found.append(Drift(Finding.COMPROMISED_BACK, why))
    if last.outcome is not Outcome.DONE:
        return found
    others = [one for one in trusted if one not in back]
    return found + _slots(last, others, "group") + _status(last, "group", enabled=group.enabled)


def _compromised(rollovers: Sequence[Rollover]) -> list[Thumbprints]:
    return [certificate for one in rollovers if one.reports for certificate in one.leaving]


def _compromised_back(
    compromised: Sequence[Thumbprints], target: str, enrollment: Enrollment | None, shown: Accepted | None
) -> Iterator[Drift]:
    held = [one for one in enrollment.certificates() if is_among(one, compromised)] if enrollment else []
    if held and enrollment is not None and enrollment.enabled:
        why = f"the enrollment {target} is enabled and holds what was reported compromised: {_named(held)}"
        yield Drift(Finding.COMPROMISED_BACK, why)
    hashes = {hash_ for one in compromised for hash_ in (one.sha1_thumbprint, one.sha256_thumbprint)}
    if shown is not None and shown.enabled and (pinned := sorted(hashes.intersection(shown.thumbprints()))):
        why = f"the hub accepts as {shown.device_id} what was reported compromised: {', '.join(pinned)}"
        yield Drift(Finding.COMPROMISED_BACK, why)


def _let_in_again(last: Rollover, enrollment: Enrollment | None, shown: Accepted | None) -> Iterator[Drift]:
    leaf = last.incident is not None and bool(last.incident.leaf)
    if enrollment is None and leaf:
        why = f"the disabled enrollment {last.target} is gone: its group lets the device in that {last.id} keeps out"
        yield Drift(Finding.LET_IN_AGAIN, why)
    if enrollment is not None and enrollment.enabled:
        yield Drift(Finding.LET_IN_AGAIN, f"the enrollment {last.target} is enabled, and {last.id} keeps it out")
    if shown is not None and shown.enabled:
        why = f"the hub identity {shown.device_id} is enabled, and {last.id} keeps it out"
        yield Drift(Finding.LET_IN_AGAIN, why)


def _of_no_use(last: Rollover, enrollment: Enrollment | None, shown: Accepted | None) -> list[Drift]:
    """Where nothing was rolled: that the device gets in at the hub by what DPS does not admit. The sweep goes by the
    enrollment, and finds nothing near its end there."""
    if not last.plan.expires or enrollment is None or not enrollment.enabled or shown is None or not shown.enabled:
        return []
    held = {hash_ for one in enrollment.certificates() for hash_ in (one.sha1_thumbprint, one.sha256_thumbprint)}
    if not shown.thumbprints() or not held.isdisjoint(shown.thumbprints()):
        return []
    why = (
        f"the hub accepts as {shown.device_id} none of the enrollment's certificates, but"
        f" {', '.join(shown.thumbprints())}"
    )
    return [Drift(Finding.APART, why)]


def _strangers(rollovers: Sequence[Rollover], enrollment: Enrollment, shown: Accepted | None) -> list[Drift]:
    known = {hash_ for one in enrollment.certificates() for hash_ in (one.sha1_thumbprint, one.sha256_thumbprint)}
    for rollover in rollovers:
        for one in (*rollover.leaving, rollover.outgoing, *((rollover.incoming,) if rollover.incoming else ())):
            known |= {one.sha1_thumbprint, one.sha256_thumbprint}
    strangers = frozenset(shown.thumbprints()) - known if shown else frozenset()
    if shown is None or not strangers:
        return []
    why = (
        f"the hub accepts as {shown.device_id} a certificate that neither enrollment, ledger nor vault ever had:"
        f" {', '.join(sorted(strangers))}"
    )
    return [Drift(Finding.NEVER_ISSUED, why, strangers)]


def _slots(last: Rollover, held: Sequence[Enrolled], entry: str) -> list[Drift]:
    incoming, named = last.incoming, f"the {entry} {last.target}"
    if incoming is None:
        return []
    found = []
    if not is_among(incoming, held):
        why = f"{named} lacks the certificate that {last.id} put there: {incoming.sha256_thumbprint}"
        found.append(Drift(Finding.SLOTS, why))
    if others := [one for one in held if not is_same(one, incoming)]:
        found.append(Drift(Finding.SLOTS, f"{named} holds what {last.id} did not leave there: {_named(others)}"))
    return found


def _status(last: Rollover, entry: str, *, enabled: bool) -> list[Drift]:
    stays_out = last.incident is not None and (not last.incident.was_enabled or bool(last.incident.leaf))
    if enabled == (not stays_out):
        return []
    why = f"somebody {'enabled' if enabled else 'disabled'} the {entry} {last.target} since {last.id} ended"
    return [Drift(Finding.STATUS, why)]


def _identity(last: Rollover, enrollment: Enrollment, shown: Accepted | None, told: Collection[str]) -> list[Drift]:
    """``told``: thumbprints that another finding names."""
    if last.plan is Plan.ALLOW or not enrollment.enabled:
        return []
    if shown is None:
        return [Drift(Finding.GONE, f"the hub has no identity {last.device_id}, and {last.id} left one")]
    found = []
    if not shown.enabled:
        found.append(Drift(Finding.STATUS, f"somebody disabled the hub identity {shown.device_id}"))
    incoming = last.incoming
    if incoming is None:
        return found
    left = {incoming.sha1_thumbprint, incoming.sha256_thumbprint}
    if left.isdisjoint(shown.thumbprints()):
        why = f"the hub does not accept as {shown.device_id} the certificate that {last.id} left"
        found.append(Drift(Finding.SLOTS, why))
    elif retired := sorted({*shown.thumbprints()} - left - {*told}):
        why = f"the hub accepts as {shown.device_id} what {last.id} did not leave there: {', '.join(retired)}"
        found.append(Drift(Finding.SLOTS, why))
    return found


def _named(certificates: Sequence[Enrolled]) -> str:
    return ", ".join(one.sha256_thumbprint or one.sha1_thumbprint for one in certificates)
