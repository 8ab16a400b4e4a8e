"""How an entry says who may register: certificates in two slots, CA names, or keys.

The rules of a PUT are here, the surprising ones above all: a slot sent as `info` alone keeps what is stored,
a slot that is absent or null is cleared, and a lone primary comes back in both slots.
"""

import base64
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from local.azure import x509
from local.azure.dps.refusals import BadRequest
from local.azure.knobs import Knobs

SLOTS = ("primary", "secondary")
CERTIFICATE_MEMBERS = ("clientCertificates", "signingCertificates")
X509_MEMBERS = (*CERTIFICATE_MEMBERS, "caReferences")


@dataclass(frozen=True)
class StoredCertificate:
    """A certificate that DPS keeps and never shows again, but for `info` (C#: X509CertificateWithInfo)."""

    der: bytes
    info: dict[str, Any]

    @property
    def sha256(self) -> str:
        """SHA-256 thumbprint, upper-case hex."""
        return str(self.info["sha256Thumbprint"])


@dataclass(frozen=True)
class Attestation:
    """What an entry trusts.

    `member` tells which part of `x509` is used; it is empty for tpm and symmetricKey.
    """

    type: str
    member: str = ""
    certificates: dict[str, StoredCertificate] = field(default_factory=dict)
    ca_names: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def thumbprints(self) -> set[str]:
        """SHA-256 of every stored certificate."""
        return {one.sha256 for one in self.certificates.values()}

    def as_json(self, *, nulls: bool, keys: bool = True) -> dict[str, Any]:
        """The attestation as the API shows it.

        `keys` False hides symmetric keys, as GET and query do (azure-iot-cli-extension live tests).
        """
        if self.type != "x509":
            shown = self.keys if keys or self.type == "tpm" else {}
            hidden = dict.fromkeys(self.keys) if nulls else {}
            others = {"x509": None, "tpm": None, "symmetricKey": None} if nulls else {}
            return {"type": self.type, **others, self.type: {**hidden, **shown}}
        slots: dict[str, Any] = {name: {"info": one.info} for name, one in self.certificates.items()}
        slots.update(self.ca_names)
        if not nulls:
            return {"type": "x509", "x509": {self.member: slots}}
        filled = {**dict.fromkeys(X509_MEMBERS), self.member: {**dict.fromkeys(SLOTS), **slots}}
        return {"type": "x509", "tpm": None, "symmetricKey": None, "x509": filled}


@dataclass(frozen=True)
class Rules:
    """What a PUT is judged by: the parts of `x509` it may have, CA names there are in lower case, knobs, time."""

    members: tuple[str, ...]
    ca_names: Collection[str]
    verified_ca_names: Collection[str]
    knobs: Knobs
    now: datetime


def replaced(sent: object, current: Attestation | None, rules: Rules) -> Attestation:
    """The attestation after a PUT of `sent` on an entry that has `current`. BadRequest when a rule is broken."""
    if not isinstance(sent, dict):
        raise BadRequest("Enrollment attestation must be specified.")
    match sent.get("type"):
        case "x509":
            return _x509(sent.get("x509"), current, rules)
        case "symmetricKey":
            return _symmetric(sent.get("symmetricKey"))
        case "tpm":
            return _tpm(sent.get("tpm"))
        case other:
            raise BadRequest(f"Attestation type {other!r} is not valid.")


def _x509(sent: object, current: Attestation | None, rules: Rules) -> Attestation:
    if not isinstance(sent, dict):
        raise BadRequest("X509 attestation must be specified.")
    given = [name for name in X509_MEMBERS if sent.get(name) is not None]
    if len(given) != 1 or given[0] not in rules.members:
        raise BadRequest(f"X509 attestation must have exactly one of: {', '.join(rules.members)}.")
    member, slots = given[0], sent[given[0]]
    if not isinstance(slots, dict) or not any(slots.get(slot) is not None for slot in SLOTS):
        raise BadRequest(f"{member} must have a primary or a secondary.")
    if member == "caReferences":
        return Attestation("x509", member, ca_names=_ca_names(slots, rules))
    stored = current.certificates if current is not None and current.member == member else {}
    return Attestation("x509", member, _mirrored(_slots(slots, stored, rules), rules.knobs))


def _ca_names(slots: dict[str, Any], rules: Rules) -> dict[str, str]:
    names = {slot: slots[slot] for slot in SLOTS if slots.get(slot)}
    for name in names.values():
        if not isinstance(name, str):
            raise BadRequest("A CA reference is a name.")
        if rules.knobs.unknown_ca_reference == "refuse" and name.lower() not in rules.ca_names:
            raise BadRequest("The referenced CA certificate does not exist.")
        if rules.knobs.unverified_ca_reference == "refuse" and name.lower() not in rules.verified_ca_names:
            raise BadRequest("The referenced CA certificate is not verified.")
    if not names:
        raise BadRequest("caReferences must have a primary or a secondary.")
    return names


def _slots(sent: dict[str, Any], stored: dict[str, StoredCertificate], rules: Rules) -> dict[str, StoredCertificate]:
    kept = {}
    for slot, other in (SLOTS, SLOTS[::-1]):
        if sent.get(slot) is None:
            continue
        if not isinstance(sent[slot], dict):
            raise BadRequest(f"The {slot} certificate is not an object.")
        if sent[slot].get("certificate") is not None:
            kept[slot] = _parsed(sent[slot]["certificate"], rules)
        else:
            kept[slot] = _known(sent[slot].get("info"), stored.get(slot), stored.get(other), rules.knobs)
    return kept


def _parsed(text: object, rules: Rules) -> StoredCertificate:
    if not isinstance(text, str):
        raise BadRequest("The certificate is not text.")
    try:
        der = x509.parse_certificate(text)
        expired = x509.validity(der)[1] < rules.now
    except ValueError as error:
        raise BadRequest(f"The certificate is invalid: {error}.") from None
    if expired and rules.knobs.expired_certificate_at_put == "refuse":
        raise BadRequest("The certificate has expired.")
    return StoredCertificate(der, x509.certificate_info(der))


def _known(
    info: object, same_slot: StoredCertificate | None, other_slot: StoredCertificate | None, knobs: Knobs
) -> StoredCertificate:
    """The stored certificate that an `info` without certificate stands for."""
    if not isinstance(info, dict):
        raise BadRequest("A slot must have a certificate.")
    if same_slot is not None and _describes(info, same_slot):
        return same_slot
    if other_slot is not None and _describes(info, other_slot) and knobs.promote_by_info_swap:
        return other_slot
    if same_slot is not None and knobs.info_mismatch_at_put == "keep":
        return same_slot
    raise BadRequest("The certificate info is not that of the stored certificate.")


def _describes(info: dict[str, Any], certificate: StoredCertificate) -> bool:
    return str(info.get("sha256Thumbprint", "")).upper() == certificate.sha256


def _mirrored(slots: dict[str, StoredCertificate], knobs: Knobs) -> dict[str, StoredCertificate]:
    if list(slots) == ["primary"] and knobs.mirror_lone_primary:
        return {**slots, "secondary": slots["primary"]}
    if list(slots) == ["secondary"] and knobs.mirror_lone_secondary:
        return {"primary": slots["secondary"], **slots}
    return slots


def _symmetric(sent: object) -> Attestation:
    given = sent if isinstance(sent, dict) else {}
    # Keys that are not given are made by the service (recorded: null keys come back filled).
    made = {name: given.get(name) or _new_key() for name in ("primaryKey", "secondaryKey")}
    return Attestation("symmetricKey", keys=made)


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


def _tpm(sent: object) -> Attestation:
    if not isinstance(sent, dict) or not isinstance(sent.get("endorsementKey"), str):
        raise BadRequest("The TPM endorsement key must be specified.")
    return Attestation(
        "tpm", keys={name: sent[name] for name in ("endorsementKey", "storageRootKey") if sent.get(name)}
    )
