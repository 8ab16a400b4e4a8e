"""What expires when, what would roll it, and what nothing would roll. Pure.

Told from the lists alone (``shared.survey``): for each certificate that an enrollment, a group or the DPS trusts,
whether a rollover is open, or when that of which vault certificate begins, or why none ever will.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared.authority import DpsCertificate
from shared.certificate import is_near_expiry, is_same
from shared.enrollment import Enrolled, Slot, why_not_ours
from shared.group import Group, why_group_is_not_ours
from shared.rollover import Outcome, Rollover
from shared.seen import Listed
from shared.survey import Source, Survey
from shared.target import Due

PATIENCE = timedelta(hours=2)
"""How long something may be due before a sweep must have begun it: two of them."""

LATELY = timedelta(hours=24)
"""After which time a rollover that ended badly is begun anew."""


class Kind(StrEnum):
    """What trusts the certificate."""

    ENROLLMENT = "enrollment"
    GROUP = "enrollment_group"
    AUTHORITY = "ca_certificate"
    MEMBER = "group_device"
    """Nothing holds it: the group trusts its CA. Told where it is in the vault (``shared.horizon_members``)."""


class Fate(StrEnum):
    """What becomes of a certificate; the first that holds for one of its users holds for it."""

    UNCOVERED = "uncovered"
    """Nothing would replace it, or take it out; ``why`` says what is missing."""
    UNKNOWN = "unknown"
    """A list that would tell could not be read."""
    ROLLING = "rolling"
    """A rollover is open."""
    ROLLS = "rolls"
    """Its rollover begins by itself, at ``due_at`` or a sweep later."""
    OTHERS = "others"
    """Not ours to roll: somebody else does."""
    IDLE = "idle"
    """Nobody gets in by it."""


@dataclass(frozen=True)
class Expiry:
    """One certificate that something trusts, and what becomes of it."""

    kind: Kind
    name: str
    """Registration ID, group ID, or name of the CA certificate in the DPS; of a group's device that of its vault
    certificate, for no list tells its registration ID."""
    slots: tuple[Slot, ...]
    sha1_thumbprint: str
    sha256_thumbprint: str
    """Empty where it is not told."""
    starts: datetime | None
    ends: datetime | None
    fate: Fate
    why: str
    certificate_name: str = ""
    """The vault certificate by which it is, or would be, rolled."""
    due_at: datetime | None = None
    rollover_id: str | None = None
    used_by: tuple[str, ...] = ()
    """The groups that rest on a CA certificate of the DPS, or the group of a device."""
    verified: bool | None = None
    """Of a CA certificate of the DPS."""
    partition: str = ""
    """The target's, in the ledger; empty of a CA certificate, and of a group's device."""

    @property
    def order(self) -> tuple[str, str, str, str]:
        """Soonest first, and the same each time; what nobody tells the end of comes last."""
        return (self.ends.isoformat() if self.ends else "9999", self.kind, self.name.lower(), self.sha1_thumbprint)


@dataclass(frozen=True)
class _Holder:
    """An enrollment or a group: what trusts certificates by its slots."""

    kind: Kind
    name: str
    partition: str
    not_ours: str | None
    enabled: bool
    slots: Mapping[Slot, Enrolled | None]


def horizon(survey: Survey, now: datetime, due: Due, refused: Mapping[str, str]) -> list[Expiry]:
    """Every certificate that enrollments, groups and the DPS trust, soonest end first.

    Args:
        refused: name of a vault certificate → why the last sweep could not begin its rollover.
    """
    vault = _Vault(survey, now, due, refused)
    holders = [
        _Holder(Kind.ENROLLMENT, one.registration_id, partition, why_not_ours(one), one.enabled, one.slots)
        for partition, one in survey.enrollments.items()
    ]
    groups = [
        _Holder(
            Kind.GROUP,
            one.enrollment_group_id,
            partition,
            why_group_is_not_ours(one),
            one.enabled,
            one.anchors(survey.authorities),
        )
        for partition, one in survey.groups.items()
    ]
    signing = [one for one in groups if not survey.groups[one.partition].by_reference]
    found = [expiry for holder in (*holders, *signing) for expiry in _of_holder(holder, vault)]
    if Source.AUTHORITIES not in survey.missing:
        found += [_dangling(one, name) for one in survey.groups.values() for name in one.dangling(survey.authorities)]
    found += [_of_authority(one, groups, vault) for one in survey.authorities]
    return sorted(found, key=lambda one: one.order)


def is_urgent(expiry: Expiry, now: datetime, warn: Due) -> bool:
    """Whether a person must see to it: nothing would roll it, and it nears its end, or nobody tells that."""
    if expiry.fate is not Fate.UNCOVERED or (expiry.ends is not None and expiry.ends <= now):
        return False
    if expiry.ends is None:
        return True
    if expiry.starts is None:
        return expiry.ends - now <= warn.window
    return is_near_expiry(expiry.starts, expiry.ends, now, window=warn.window, share=warn.share)


def is_waiting_for_sweep(expiry: Expiry, now: datetime) -> bool:
    """Whether its rollover could have begun: then the last one may tell why it has not."""
    return expiry.fate is Fate.ROLLS and expiry.due_at is not None and expiry.due_at <= now


def as_ended(expiry: Expiry, last: Rollover | None, now: datetime) -> Expiry:
    """The same, knowing the last rollover of its target: one that ended badly is not begun again at each sweep.

    One about another certificate of the target stands in the way for a day, as for ``shared.starting``.
    """
    if last is None or last.outcome not in (Outcome.REFUSED, Outcome.NEEDS_PERSON):
        return expiry
    lately = last.ended_at is not None and now - last.ended_at < LATELY
    if not lately and not is_same(last.outgoing, expiry):
        return expiry
    why = f"{last.id} ended as {last.status}: {last.outcome_reason}"
    return replace(expiry, fate=Fate.UNCOVERED, why=why, due_at=None, rollover_id=last.id)


def due_at(listed: Listed, due: Due) -> datetime | None:
    """When the latest version of a vault certificate comes near its end; None where the vault tells no end."""
    if listed.ends is None:
        return None
    if listed.starts is None:
        return listed.ends - due.window
    return listed.ends - min(due.window, (listed.ends - listed.starts) * due.share)


class _Vault:
    """What the vault holds for a target."""

    def __init__(self, survey: Survey, now: datetime, due: Due, refused: Mapping[str, str]) -> None:
        self.survey, self.now, self.due, self.refused = survey, now, due, refused
        self._tied: dict[str, list[Listed]] = {}
        self._untied: dict[str, Listed] = {}
        for listed in survey.vault:
            if partition := survey.ties.get(listed.name):
                self._tied.setdefault(partition, []).append(listed)
            elif listed.sha1_thumbprint:
                self._untied[listed.sha1_thumbprint] = listed

    def rolls(self, partition: str, held: Sequence[Enrolled]) -> Listed | None:
        """The vault certificate of a target: of several, one whose latest version it holds."""
        thumbprints = [one.sha1_thumbprint for one in held]
        if tied := self._tied.get(partition):
            return next((one for one in tied if one.sha1_thumbprint in thumbprints), tied[0])
        return next((self._untied[one] for one in thumbprints if one in self._untied), None)


def _of_holder(holder: _Holder, vault: _Vault) -> list[Expiry]:
    held: dict[str, Enrolled] = {}
    for slot in Slot:
        if (one := holder.slots[slot]) is not None:
            held.setdefault(one.sha1_thumbprint, one)
    return [
        replace(
            _fate(one, list(held.values()), holder, vault),
            slots=tuple(slot for slot in Slot if (other := holder.slots[slot]) and is_same(one, other)),
        )
        for one in held.values()
    ]


def _fate(one: Enrolled, held: Sequence[Enrolled], holder: _Holder, vault: _Vault) -> Expiry:
    """What becomes of one certificate in the slots of an enrollment or group."""
    now, partition = vault.now, holder.partition
    expiry = Expiry(
        holder.kind,
        holder.name,
        (),
        one.sha1_thumbprint,
        one.sha256_thumbprint,
        one.starts,
        one.not_after,
        Fate.ROLLS,
        "",
        partition=partition,
    )

    def comes_to(fate: Fate, why: str, at: datetime | None = None) -> Expiry:
        return replace(expiry, fate=fate, why=why, due_at=at)

    if holder.not_ours:
        return comes_to(Fate.OTHERS, holder.not_ours)
    rollover = vault.survey.open.get(partition)
    if rollover is not None and _replaces(rollover, one):
        why = f"{rollover.id} is {rollover.status}"
        return replace(comes_to(Fate.ROLLING, why), certificate_name=rollover.certificate_name, rollover_id=rollover.id)
    if not holder.enabled:
        return comes_to(Fate.IDLE, "it is disabled; nothing is rolled until it is enabled")
    listed = vault.rolls(partition, held)
    if listed is None:
        return comes_to(*_without_vault(one, held, holder, vault))
    expiry = replace(expiry, certificate_name=listed.name)
    if reason := vault.refused.get(listed.name):
        return comes_to(Fate.UNCOVERED, reason)
    if listed.sha1_thumbprint == one.sha1_thumbprint:
        at = due_at(listed, vault.due) or now
        if rollover is None and min(at + PATIENCE, one.not_after) <= now:
            return comes_to(Fate.UNCOVERED, f"due since {at:%Y-%m-%d %H:%M:%SZ}, and no rollover is open")
        return comes_to(Fate.ROLLS, "it is the latest version of its vault certificate", at)
    if any(other.sha1_thumbprint == listed.sha1_thumbprint for other in held):
        return comes_to(
            Fate.ROLLS, "beside the vault's latest version; retired at its end at the latest", one.not_after
        )
    if listed.ends is not None and (listed.ends <= now or listed.ends <= one.not_after):
        return comes_to(
            Fate.UNCOVERED, f"the vault's latest version ends on {listed.ends:%Y-%m-%d}, no later than this"
        )
    return comes_to(Fate.ROLLS, "the vault has another version; the next sweep begins", now)


def _replaces(rollover: Rollover, one: Enrolled) -> bool:
    """Whether this open rollover is there to replace it: not, if it brings it."""
    replaces = rollover.plan.expires or rollover.plan.replaces
    return replaces and not (rollover.incoming is not None and is_same(rollover.incoming, one))


def _without_vault(one: Enrolled, held: Sequence[Enrolled], holder: _Holder, vault: _Vault) -> tuple[Fate, str]:
    if Source.VAULT in vault.survey.missing:
        return Fate.UNKNOWN, f"the {Source.VAULT} could not be read"
    tag = "rollover-group" if holder.kind is Kind.GROUP else "rollover-enrollment"
    if one.not_after <= vault.now and any(other.not_after > vault.now for other in held):
        return Fate.UNCOVERED, f"expired beside one that lives; take it out, or tag a vault certificate with {tag}"
    named = "" if holder.kind is Kind.GROUP else " or known by its common name"
    return Fate.UNCOVERED, f"no certificate of the vault is tagged for it ({tag}){named}"


def _dangling(group: Group, name: str) -> Expiry:
    why = f"it names the CA certificate {name!r}, which the DPS does not have: nobody gets in by it"
    fate = Fate.UNCOVERED if group.enabled else Fate.IDLE
    return Expiry(Kind.GROUP, group.enrollment_group_id, (), "", "", None, None, fate, why, used_by=(name,))


def _of_authority(one: DpsCertificate, groups: Sequence[_Holder], vault: _Vault) -> Expiry:
    """A CA certificate of the DPS: of its users' fates the worst."""
    enrolled, survey = one.as_enrolled, vault.survey
    expiry = Expiry(
        Kind.AUTHORITY,
        one.name,
        (),
        one.sha1_thumbprint,
        one.sha256_thumbprint,
        one.certificate.not_before if one.certificate else None,
        one.certificate.not_after if one.certificate else one.expires,
        Fate.IDLE,
        "no group names it, or trusts a certificate that it issued",
        verified=one.verified,
    )
    if Source.GROUPS in survey.missing:
        expiry = replace(expiry, fate=Fate.UNKNOWN, why=f"the {Source.GROUPS} could not be read")
    naming = [g for g in groups if one.name.lower() in (n.lower() for n in survey.groups[g.partition].ca_references)]
    above = [g for g in groups if g not in naming and _issued_one_of(enrolled, g)]
    fates = [_fate(enrolled, [held for slot in Slot if (held := group.slots[slot])], group, vault) for group in naming]
    fates += [
        replace(
            expiry,
            fate=Fate.UNCOVERED,
            why=f"above what the group {g.name} trusts; no plan rolls it: upload its successor",
        )
        for g in above
        if g.enabled
    ]
    worst = min(fates, key=lambda found: list(Fate).index(found.fate), default=None)
    used_by = tuple(sorted(g.name for g in (*naming, *above)))
    if worst is not None:
        expiry = replace(
            expiry,
            fate=worst.fate,
            why=worst.why,
            certificate_name=worst.certificate_name,
            due_at=worst.due_at,
            rollover_id=worst.rollover_id,
            partition=worst.partition,
        )
    if not one.verified and any(g.enabled for g in (*naming, *above)):
        expiry = replace(expiry, fate=Fate.UNCOVERED, why="not verified: DPS admits nobody by it", due_at=None)
    return replace(expiry, used_by=used_by)


def _issued_one_of(ca: Enrolled, group: _Holder) -> bool:
    held = [one for slot in Slot if (one := group.slots[slot]) is not None]
    return ca.subject is not None and any(one.issuer == ca.subject and not is_same(one, ca) for one in held)
