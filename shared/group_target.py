"""Whether a rollover of an enrollment group begins, and from which anchor to which slot. Pure.

Which of two anchors a group's devices use, DPS does not show. So the outgoing anchor is the one that ends first, and a
living anchor is never overwritten: with two of them in the slots a rollover begins only towards one of the two.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from shared.authority import DpsCertificate, keys_in
from shared.certificate import is_near_expiry, is_same
from shared.enrollment import Enrolled, Slot
from shared.group import Group, distinct, slots_with, why_group_is_not_ours
from shared.seen import VaultVersion
from shared.target import Begin, CannotBegin, Due, NothingToDo

LONGEST_NAME = 256
"""Of a CA certificate of a DPS (azure-rest-api-specs, provisioningServices/certificates)."""


def reference_name(certificate_name: str, sha1_thumbprint: str) -> str:
    """The name in the DPS of a version of a vault certificate: the same for whoever works it out."""
    tail = f"-{sha1_thumbprint[:8].lower()}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", certificate_name)[: LONGEST_NAME - len(tail)] + tail


def decide_group_start(
    *,
    group: Group,
    authorities: Sequence[DpsCertificate],
    latest: VaultVersion,
    versions: Mapping[str, str],
    now: datetime,
    due: Due,
) -> Begin | NothingToDo | CannotBegin:
    """Whether to begin rolling what ``group`` trusts to (or beyond) the vault's ``latest`` version.

    Args:
        authorities: every CA certificate of the DPS.
        versions: SHA-1 thumbprint of every version of the vault's certificate → SHA-256 of its public key, the latter
            empty when it was not read.
    """
    if reason := why_group_is_not_ours(group):
        return CannotBegin(reason)
    if not group.enabled:
        return NothingToDo("the group is disabled; nothing is rolled until it is enabled")
    if dangling := group.dangling(authorities):
        return CannotBegin(
            f"the group names the CA certificate {dangling[0]!r}, which the DPS does not have; name one that it has"
        )
    anchors = group.anchors(authorities)
    trusted = distinct(anchors)
    if not trusted:
        return CannotBegin("the group trusts no certificate in either slot")
    newest = latest.certificate
    others = [one for one in trusted if not is_same(one, newest)]
    keys = keys_in(authorities)
    keys |= {sha1: key for sha1, key in versions.items() if key}
    keys[newest.sha1_thumbprint] = newest.public_key_sha256
    near = is_near_expiry(newest.not_before, newest.not_after, now, window=due.window, share=due.share)
    if len(others) == len(trusted):
        if not latest.enabled:
            return CannotBegin(f"the latest version of the vault's certificate, {latest.version}, is disabled")
        why = f"the vault has version {latest.version}; the group trusts an older certificate"
        return _roll(others, anchors, versions, keys, why, now)
    retirable = bool(others) and (others[0].sha1_thumbprint in versions or others[0].not_after <= now)
    if retirable and not _dead(others, near, now):
        return _begin(others[0], anchors, keys, "the group still trusts an older certificate beside the latest version")
    if not near:
        ends = f"{newest.not_after:%Y-%m-%d}"
        return NothingToDo(f"the group trusts the vault's latest version, which lives until {ends}")
    in_use = Enrolled(newest.sha1_thumbprint, newest.sha256_thumbprint, newest.not_after, newest.subject, newest.issuer)
    why = f"what the group trusts ends on {newest.not_after:%Y-%m-%d %H:%M:%SZ}"
    return _roll([in_use, *others], anchors, versions, keys, why, now)


def _dead(others: Sequence[Enrolled], near: bool, now: datetime) -> bool:
    """Whether the anchor beside the latest version is of no more use, and the latest itself is to be rolled."""
    return near and others[0].not_after <= now


def _roll(
    trusted: Sequence[Enrolled],
    anchors: Mapping[Slot, Enrolled | None],
    versions: Mapping[str, str],
    keys: Mapping[str, str],
    why: str,
    now: datetime,
) -> Begin | CannotBegin:
    """From the one anchor that may be in use; the other slot must be free or hold what has expired."""
    living = [one for one in trusted if one.not_after > now]
    if len(living) > 1:
        ours = [one for one in living if one.sha1_thumbprint in versions]
        foreign = [one for one in living if one.sha1_thumbprint not in versions]
        if foreign and ours:
            return CannotBegin(
                f"the other slot trusts a certificate that is still valid and not from the vault (SHA-1"
                f" {foreign[0].sha1_thumbprint}); take it out if it is not needed"
            )
        return CannotBegin("both slots trust older certificates that are valid; take out the one that is not needed")
    outgoing = max(living or trusted, key=lambda one: one.not_after)
    return _begin(outgoing, anchors, keys, why)


def _begin(outgoing: Enrolled, anchors: Mapping[Slot, Enrolled | None], keys: Mapping[str, str], why: str) -> Begin:
    return Begin(
        outgoing=outgoing.as_outgoing(keys.get(outgoing.sha1_thumbprint)),
        standby=slots_with(anchors, outgoing)[0].other,
        replaces=None,
        on_incoming_at_start=False,
        why=why,
    )
