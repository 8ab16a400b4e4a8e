"""Which enrollment a certificate of the vault belongs to: its tag says so, else its common name is tried."""

import re
from collections.abc import Callable

from shared.ports import Tagged
from shared.seen import Listed
from shared.services import Services

ENROLLMENT_TAG = "rollover-enrollment"
"""The vault tag that names the individual enrollment (registration ID) a certificate belongs to."""
CA_TAG = "rollover-ca"
"""The vault tag that names the vault certificate of the CA which signs this certificate's requests (issuer Unknown)."""
GROUP_TAG = "rollover-group"
"""The vault tag that names the enrollment group that trusts this CA certificate."""
LEAVES_TAG = "rollover-leaves"
"""The vault tag of a group's CA certificate that says how the vault certificates of its devices are called: ``*``
stands for the registration ID."""
LONGEST_CHAIN = 5
"""Of CAs above a certificate."""


def enrollment_of(tagged: Tagged) -> tuple[str | None, str]:
    """The registration ID, and how it was found; or None, and why not."""
    if named := tagged.tags.get(ENROLLMENT_TAG, "").strip():
        return named, f"its tag {ENROLLMENT_TAG} says so"
    name = tagged.latest.certificate.common_name
    if name:
        return name, f"it has no tag {ENROLLMENT_TAG}, so its common name was tried as the registration ID"
    return None, f"it has neither a tag {ENROLLMENT_TAG} nor a common name"


def group_of(tagged: Tagged | Listed) -> str | None:
    """The group that a vault certificate is tagged for; such a certificate belongs to no individual enrollment."""
    return tagged.tags.get(GROUP_TAG, "").strip() or None


def leaf_name(names: str, registration_id: str) -> str:
    """The vault certificate of a group's device, by the CA certificate's tag. The vault takes letters, digits and "-"
    in a name; whose certificate it is in the end says its common name."""
    return names.replace("*", re.sub(r"[^A-Za-z0-9-]", "-", registration_id))


def ca_of_leaf[Found: (Tagged, Listed)](leaf: Found, find: Callable[[str], Found | None]) -> Found | None:
    """The vault certificate of the group's CA, if this one is of one of the group's devices; None when it is of none,
    or its own tag names an enrollment. ``find`` gives a vault certificate by its name."""
    above: Found | None = leaf
    for _ in range(0 if leaf.tags.get(ENROLLMENT_TAG, "").strip() else LONGEST_CHAIN):
        name = above.tags.get(CA_TAG, "").strip() if above else ""
        above = find(name) if name else None
        if above is None:
            return None
        before, star, after = above.tags.get(LEAVES_TAG, "").strip().lower().partition("*")
        if star and group_of(above) and leaf.name.lower().startswith(before) and leaf.name.lower().endswith(after):
            return above
    return None


def certificate_for_group(group_id: str, sha1_thumbprints: set[str], services: Services) -> str:
    """The name of the vault certificate that a group's anchor is rolled from; empty when none is known."""
    last = services.ledger.last_of_group(group_id)
    if last is not None and last.certificate_name:
        return last.certificate_name
    return _by_tag(GROUP_TAG, group_id, sha1_thumbprints, services)


def certificate_for(registration_id: str, sha1_thumbprints: set[str], services: Services) -> str:
    """The name of the vault certificate that an enrollment is rolled from; empty when none is known.

    The last rollover knows it; else the vault's list is searched for the tag, then for the certificate in a slot.
    """
    last = services.ledger.last(registration_id)
    if last is not None and last.certificate_name:
        return last.certificate_name
    return _by_tag(ENROLLMENT_TAG, registration_id, sha1_thumbprints, services)


def _by_tag(tag: str, value: str, sha1_thumbprints: set[str], services: Services) -> str:
    held = ""
    for listed in services.vault.certificates():
        if listed.tags.get(tag, "").strip().lower() == value.lower():
            return listed.name
        if listed.sha1_thumbprint in sha1_thumbprints:
            held = held or listed.name
    return held
