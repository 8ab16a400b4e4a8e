"""Escape routes of a compromised CA: by which enabled ways devices under it would still be let in. Pure.

DPS walks a chain from the leaf to the root and the first entry found decides, enabled or disabled (azure-docs
how-to-revoke-device-access-portal). So while a disabled group holds the compromised certificate it keeps out whoever
shows it in his chain, even where a group above trusts the root; when it is out of the group, what is above decides.

Who has a CA's key can issue leaves of any name under any certificate of that key: so other certificates of the same key
are compromised as well. He cannot issue another certificate's signature: a certificate that the CA has issued before
keeps its own key. It is named all the same, uncertain, for nothing that is under a compromised CA can be vouched for.
"""

from collections.abc import Iterator, Sequence

from shared.authority import DpsCertificate, keys_in
from shared.certificate import Certificate, Outgoing, Thumbprints, is_among, is_same
from shared.enrollment import Enrolled
from shared.escape import Route
from shared.group import Group, distinct

SHOWN = 5


def routes_of_ca(
    compromised: Sequence[Outgoing],
    *,
    group: Group | None,
    others: Sequence[Group],
    authorities: Sequence[DpsCertificate],
    latest: Certificate | None,
    good: Thumbprints | None,
    by_authority: Sequence[str],
    about_to_go: bool,
) -> list[Route]:
    """Every entry that would admit a device under one of the CA certificates, certain ones first.

    Args:
        group: the target, which is or will be disabled; what else it trusts counts once the compromised one is out.
        others: every other group.
        latest: the vault's latest version, whose key is known though DPS does not tell it.
        good: the incoming certificate, whose key was compared when it was chosen.
        by_authority: device IDs of hub identities that take any leaf of a CA that the hub knows.
        about_to_go: the compromised certificates leave the group's slots now; else they count as out where they are.
    """
    keys = keys_in(authorities)
    if latest is not None:
        keys[latest.sha1_thumbprint] = latest.public_key_sha256
    held = distinct(group.anchors(authorities)) if group else []
    found: dict[str, Route] = {}
    for one in compromised:
        out = about_to_go or not is_among(one, held)
        look = _Look(one, keys, authorities, good, above=out)
        for other in others:
            if other.enabled:
                _keep(found, other, look.reasons(other, blocked=_blocked(one, others, authorities)))
        if group is not None and out:
            own = [reason for reason in look.reasons(group, blocked=False) if not is_among(reason[0], compromised)]
            _keep(found, group, own)
    if by_authority:
        found["hub identities by CA"] = _at_hub(by_authority)
    return sorted(found.values(), key=lambda route: (not route.certain, route.name))


def users_of(
    leaving: Sequence[Outgoing], others: Sequence[Group], authorities: Sequence[DpsCertificate]
) -> tuple[str, ...]:
    """The groups, in words, that need one of these CA certificates of the DPS: by its name, or as a CA above."""
    gone = [one for one in authorities if is_among(one, leaving)]
    names = {one.name.lower() for one in gone}
    subjects = {one.certificate.subject for one in gone if one.certificate}
    found = []
    for group in others:
        if any(name.lower() in names for name in group.ca_references):
            found.append(f"group {group.enrollment_group_id} names it")
        elif any(one.issuer in subjects and not is_among(one, leaving) for one in distinct(group.signing)):
            found.append(f"group {group.enrollment_group_id} trusts a certificate that it issued")
    return tuple(found)


Reason = tuple[Enrolled, bool, str]
"""The trusted certificate, whether it is certain, and why it lets in."""


class _Look:
    """One compromised certificate, and what is known of the others."""

    def __init__(
        self,
        one: Outgoing,
        keys: dict[str, str],
        authorities: Sequence[DpsCertificate],
        good: Thumbprints | None,
        *,
        above: bool,
    ) -> None:
        self._one, self._keys, self._good, self._above = one, keys, good, above
        self._authorities = authorities
        self._issuers = {one.certificate.subject: one.certificate for one in authorities if one.certificate}

    def reasons(self, group: Group, *, blocked: bool) -> Iterator[Reason]:
        """Why this group would let in; ``blocked``: a disabled group may be found before it."""
        if group.attestation != "x509":
            return
        for anchor in distinct(group.anchors(self._authorities)):
            reason = self._direct(anchor) or (self._from_above(anchor, blocked=blocked) if self._above else None)
            if reason is not None:
                yield anchor, *reason

    def _is_good(self, anchor: Enrolled) -> bool:
        return self._good is not None and is_same(anchor, self._good)

    def _direct(self, anchor: Enrolled) -> tuple[bool, str] | None:
        one, key = self._one, self._keys.get(anchor.sha1_thumbprint)
        if is_same(anchor, one):
            return True, "it trusts the compromised CA certificate itself"
        if key is not None and key == one.public_key_sha256:
            return True, f"it trusts another certificate of the compromised key, {anchor.subject}"
        if one.subject is None or anchor.subject is None:
            return False, "the names of what it trusts are not known"
        if anchor.subject == one.subject:
            known = key is not None and one.public_key_sha256 is not None
            known = known or self._is_good(anchor)
            doubt = f"it trusts a certificate of the same name, {anchor.subject}, perhaps of its key"
            return None if known else (False, doubt)
        if anchor.issuer == one.subject and not self._is_good(anchor):
            return False, f"it trusts {anchor.subject}, which the compromised CA issued"
        return None

    def _from_above(self, anchor: Enrolled, *, blocked: bool) -> tuple[bool, str] | None:
        one = self._one
        if one.self_issued or anchor.subject is None or self._is_good(anchor):
            return None
        doubt = "; whether a disabled group that holds it is found first cannot be told" if blocked else ""
        seen, name = set(), one.issuer
        while name is not None and name not in seen:
            if name == anchor.subject:
                return not blocked, f"it trusts {anchor.subject}, which is above the compromised CA{doubt}"
            seen.add(name)
            issuer = self._issuers.get(name)
            if issuer is None:
                return False, f"it trusts {anchor.subject}, which may be above the compromised CA{doubt}"
            if issuer.subject == issuer.issuer:
                return None  # followed to its root, and not by this one
            name = issuer.issuer
        return False, f"it trusts {anchor.subject}, which may be above the compromised CA{doubt}"


def _blocked(one: Outgoing, others: Sequence[Group], authorities: Sequence[DpsCertificate]) -> bool:
    """Whether another, disabled group holds it, and so may keep it out though another one above would not."""
    disabled = [group for group in others if not group.enabled and group.attestation == "x509"]
    held = [anchor for group in disabled for anchor in distinct(group.anchors(authorities))]
    return is_among(one, held)


def _keep(found: dict[str, Route], group: Group, reasons: Sequence[Reason] | Iterator[Reason]) -> None:
    name = f"group {group.enrollment_group_id}"
    for _, certain, why in reasons:
        if name not in found or (certain and not found[name].certain):
            found[name] = Route(name, certain, why)


def _at_hub(device_ids: Sequence[str]) -> Route:
    shown = ", ".join(device_ids[:SHOWN]) + (" and more" if len(device_ids) > SHOWN else "")
    return Route(
        "hub identities by CA",
        False,
        f"{len(device_ids)} authenticate by any certificate of their name under a CA that the hub knows: {shown}",
    )
