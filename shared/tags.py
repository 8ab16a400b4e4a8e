"""Which enrollment a certificate of the vault belongs to: its tag says so, else its common name is tried."""

from shared.seen import Listed
from shared.services import Services, Tagged

ENROLLMENT_TAG = "rollover-enrollment"
"""The vault tag that names the individual enrollment (registration ID) a certificate belongs to."""
CA_TAG = "rollover-ca"
"""The vault tag that names the vault certificate of the CA which signs this certificate's requests (issuer Unknown)."""
GROUP_TAG = "rollover-group"
"""The vault tag that names the enrollment group that trusts this CA certificate."""


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
