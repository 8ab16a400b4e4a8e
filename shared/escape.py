"""Escape routes: by which enabled ways a compromised certificate would still be let in. Pure.

DPS walks the chain that a device shows from the leaf to the root, and the first entry found decides, enabled or
disabled (azure-docs how-to-revoke-device-access-portal, concepts-x509-attestation). So a certificate that is taken
out of its individual enrollment is no longer blocked by it, and a group above may admit it.

What is known are names and thumbprints: DPS gives no certificate back, and of a CA reference not even a name. What
the thief can show is not known at all. A CA certificate may have been renewed or cross-signed under the same name
and key; a chain through that other certificate passes by a disabled group that holds the first one. So a disabled
group never makes another group safe here; it only makes a certain route uncertain. A name proves no signature
either, so "certain" means: as far as names tell, by what is believed of DPS, and with a chain that DPS verified.

Two things rule a route out. A self-issued leaf has no chain that a group could be found in. And DPS takes a leaf
only under the registration ID that is its common name, ignoring case (azure-docs concepts-x509-attestation), the
hub a CA-signed one only under the device ID that is (azure-docs authenticate-x509); it is not checked when the
certificate is put into an enrollment, so an enrollment may well hold one that can never use it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shared.certificate import Outgoing
from shared.enrollment import Enrolled, Enrollment, HubIdentity
from shared.group import Group


@dataclass(frozen=True)
class Route:
    """One entry that would let a compromised certificate in."""

    name: str
    """``group <id>``, ``enrollment <registration ID>`` or ``hub identity <device ID>``"""
    certain: bool
    """Whether it would as far as names tell; else it may."""
    why: str


Compromised = Outgoing | Enrolled
"""A compromised certificate: as the ledger keeps it, or as an enrollment shows it."""


def holding(enrollments: Iterable[Enrollment], compromised: Sequence[Compromised]) -> Iterator[Enrollment]:
    """Of many enrollments, those that matter here: with one of the certificates in a slot."""
    thumbprints = [one.sha256_thumbprint for one in compromised]
    return (one for one in enrollments if any(one.holds(thumbprint) for thumbprint in thumbprints))


def escape_routes(
    compromised: Sequence[Compromised],
    *,
    registration_id: str,
    enrollments: Iterable[Enrollment],
    groups: Iterable[Group],
    identities: Iterable[HubIdentity] = (),
    device_id: str,
) -> list[Route]:
    """Every entry that would admit one of the certificates under any ID, certain ones first.

    Pre: the answer is for the world after the certificates were taken out of both slots of the target's own
    enrollment (``registration_id``) and its hub identity (``device_id``), whatever those two hold now. ``enrollments``
    are at least those that hold one (``holding``), ``groups`` are all there are. Of ``identities`` those matter that
    show one of the thumbprints, or whose device ID is a certificate's common name.
    """
    others = [one for one in enrollments if one.registration_id.lower() != registration_id.lower()]
    x509_groups = [one for one in groups if one.attestation == "x509"]
    devices = [one for one in identities if one.enabled and one.device_id != device_id]
    found: dict[str, Route] = {}
    for certificate in compromised:
        for route in (*_at_dps(certificate, others, x509_groups), *_at_hub(certificate, devices)):
            if route.name not in found or route.certain:
                found[route.name] = route
    return sorted(found.values(), key=lambda route: (not route.certain, route.name))


def _at_dps(leaf: Compromised, others: Sequence[Enrollment], groups: Sequence[Group]) -> Iterator[Route]:
    names = common_names(leaf.subject)
    holders = [one for one in others if one.holds(leaf.sha256_thumbprint)]
    for enrollment in holders:
        if enrollment.enabled and (not names or enrollment.registration_id.lower() in names):
            unnamed = "" if names else ", whose common name is not known"
            name = f"enrollment {enrollment.registration_id}"
            yield Route(name, _is(names, enrollment), f"it holds the certificate{unnamed}")
    if any(_is(names, one) for one in holders):
        return  # That enrollment is found before any group, and decides.
    # One of another name refuses the certificate or is passed over: no source tells.
    first = [f"enrollment {one.registration_id}" for one in holders]
    first += [f"disabled group {one.enrollment_group_id}" for one in groups if not one.enabled and _near(leaf, one)]
    for group in groups:
        if group.enabled and (reason := _reason_to_admit(leaf, group)):
            certain = _trusts_issuer(leaf, group) and leaf.self_issued is False and not first
            doubt = f"; whether the {first[0]} is found first cannot be told" if first else ""
            yield Route(f"group {group.enrollment_group_id}", certain, reason + doubt)


def _at_hub(leaf: Compromised, devices: Sequence[HubIdentity]) -> Iterator[Route]:
    names = common_names(leaf.subject)
    for identity in devices:
        name = f"hub identity {identity.device_id}"
        if identity.holds(leaf.sha1_thumbprint, leaf.sha256_thumbprint):
            yield Route(name, identity.authentication == "selfSigned", "it accepts the certificate's thumbprint")
        elif (
            identity.authentication == "certificateAuthority"
            and leaf.self_issued is not True
            and (not names or identity.device_id.lower() in names)
        ):
            yield Route(name, False, "it accepts any certificate of that name under a CA that the hub trusts")


def _reason_to_admit(leaf: Compromised, group: Group) -> str | None:
    if _trusts_issuer(leaf, group):
        return f"it trusts a certificate with the name of the issuer, {leaf.issuer}"
    if leaf.self_issued:
        return None
    if leaf.issuer is None:
        return "the certificate's issuer is not known"
    if group.ca_references:
        return f"it trusts the CA certificate {' or '.join(group.ca_references)}, which may be above the certificate"
    return "it trusts a CA that may be above the certificate, through intermediates that the device shows"


def _trusts_issuer(leaf: Compromised, group: Group) -> bool:
    return leaf.issuer is not None and any(one is not None and one.subject == leaf.issuer for one in _signing(group))


def _near(leaf: Compromised, group: Group) -> bool:
    """Whether the group may be found at the leaf's issuer, before or instead of one that trusts the issuer."""
    unknown = any(one is not None and one.subject is None for one in _signing(group))
    return _trusts_issuer(leaf, group) or bool(group.ca_references) or unknown


def _signing(group: Group) -> Iterator[Enrolled | None]:
    yield from group.signing.values()


def _is(names: frozenset[str], enrollment: Enrollment) -> bool:
    return names == {enrollment.registration_id.lower()}


_ATTRIBUTE = re.compile(r'\s*([A-Za-z0-9.]+)=\s*("(?:[^"]|"")*"|[^,+="]*?)\s*(?:[,+]|$)')


def common_names(subject: str | None) -> frozenset[str]:
    """The common names in a subject, in lower case; none when the subject is not known or not understood.

    .NET separates attributes by a comma and quotes a value that holds one (X500DistinguishedName.Name).
    """
    found, at, text = set(), 0, subject or ""
    while at < len(text):
        attribute = _ATTRIBUTE.match(text, at)
        if attribute is None:
            return frozenset()
        label, value = attribute.groups()
        if label.upper() == "CN":
            found.add((value[1:-1].replace('""', '"') if value.startswith('"') else value).lower())
        at = attribute.end()
    return frozenset(found)
