"""An enrollment group as a value. Pure.

The words: a *group* admits every device whose certificate chain leads to a certificate that the group trusts: one
of its own *signing* certificates, or a CA certificate of the DPS that it names (a *CA reference*). DPS never gives
the certificates back; of a CA reference there is only the name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.enrollment import Enrolled, Slot, parse_slot
from shared.errors import BadInput


@dataclass(frozen=True)
class Group:
    """An enrollment group as read."""

    enrollment_group_id: str
    enabled: bool
    attestation: str
    """``x509``, ``tpm`` or ``symmetricKey``."""
    signing: Mapping[Slot, Enrolled | None]
    ca_references: tuple[str, ...]
    """Names of CA certificates of this DPS, not names in certificates."""
    etag: str
    body: Mapping[str, Any]


def parse_group(body: Mapping[str, Any]) -> Group:
    """Read the JSON of an enrollment group (data plane 2021-10-01; later fields are kept, unread).

    Unset members come as null or not at all, depending on the call; both mean unset. A null status is shown for a
    group that was made with one (recorded) and means enabled.

    Raises:
        BadInput: it lacks what every group has.
    """
    try:
        attestation = body["attestation"]
        x509 = attestation.get("x509") or {}
        signing = x509.get("signingCertificates") or {}
        references = x509.get("caReferences") or {}
        return Group(
            enrollment_group_id=body["enrollmentGroupId"],
            enabled=(body.get("provisioningStatus") or "enabled") == "enabled",
            attestation=attestation["type"],
            signing={slot: parse_slot(signing.get(slot.value)) for slot in Slot},
            ca_references=tuple(references[slot.value] for slot in Slot if references.get(slot.value)),
            etag=body["etag"],
            body=body,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(f"not an enrollment group: {type(error).__name__} {error}") from None
