"""Certificates that a CA in the vault issues; its key signs there and never leaves.

For a certificate with issuer "Unknown" the vault makes a key and a signing request (azure-docs
create-certificate-signing-request); here the request is checked, signed by the CA's key and merged, which completes the
version. The tag ``rollover-ca`` of a certificate names the vault certificate of its CA. Nothing is kept anywhere else,
so that whatever dies in between, the next look finds the request still waiting, or the version there.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from shared.certificate import Certificate
from shared.errors import BadInput, Conflict, NotFound
from shared.issuing import (
    SERIAL_BYTES,
    Wanted,
    certificate_of,
    hash_of,
    is_root,
    issued_by,
    problems_of_issuing,
    proof_of,
    serial_of,
)
from shared.ports import Tagged, Vault
from shared.seen import VaultVersion
from shared.services import Services
from shared.tags import CA_TAG, LONGEST_CHAIN, group_of


@dataclass(frozen=True)
class Issued:
    """The version that counts."""

    latest: VaultVersion


@dataclass(frozen=True)
class Waiting:
    """There is no such version yet; to be called again."""

    why: str


def issue_leaf(
    certificate_name: str,
    ca_certificate_name: str,
    services: Services,
    *,
    common_name: str,
    instead_of: Collection[str] = (),
    outlives: bool = True,
) -> Issued | Waiting:
    """See to it that the latest version was issued by the CA's latest version.

    ``instead_of`` are SHA-256 thumbprints of versions that do not count, whoever issued them; ``outlives`` as in
    ``sign_request``. May be called again at
    any time, and one version comes of it: what is complete stays, what waits is signed and merged, and only where
    nothing waits is a version begun.

    Raises:
        BadInput: it must not be issued, with every reason.
        ServiceUnavailable, ServiceRefused: the vault did not do it.
    """
    vault = services.vault
    ca = _ca(certificate_name, ca_certificate_name, vault)
    if (found := _counting(certificate_name, ca, instead_of, vault)) is not None:
        return Issued(found)
    if vault.request(certificate_name) is None:
        pending = vault.issuance(certificate_name)
        if pending is not None and pending.in_progress:
            return Waiting("the vault is issuing the new version by itself")
        try:
            vault.issue(certificate_name)
        except Conflict:
            return Waiting("somebody else has just begun a new version")
    try:
        sign_request(certificate_name, ca_certificate_name, services, common_name=common_name, outlives=outlives)
    except (Conflict, NotFound):
        return Waiting("the signing request is gone: somebody else signs it, or took it back")
    found = _counting(certificate_name, ca, instead_of, vault)
    return Issued(found) if found is not None else Waiting("the new version does not show yet")


def _counting(name: str, ca: Tagged, instead_of: Collection[str], vault: Vault) -> VaultVersion | None:
    tagged = vault.latest(name)
    if tagged is None or tagged.latest.certificate.sha256_thumbprint in instead_of:
        return None
    return tagged.latest if issued_by(tagged.latest.certificate, ca.latest.certificate) else None


def sign_request(
    name: str, ca_name: str, services: Services, *, common_name: str, ca: bool = False, outlives: bool = True
) -> None:
    """Sign the vault's waiting request with the CA's key, and merge: a leaf, or another CA certificate. It must end
    later than the version before, unless that one is compromised (``outlives``).

    Raises:
        NotFound: no request waits (any more).
        Conflict: somebody merged first.
        BadInput: it must not be signed, with every reason.
        ServiceUnavailable, ServiceRefused: the vault did not do it.
    """
    vault, now = services.vault, services.now()
    request = vault.request(name)
    if request is None:
        raise NotFound(f"no signing request of the vault's certificate {name!r} waits")
    issuer = _ca(name, ca_name, vault)
    current = vault.latest(name)
    wanted = Wanted(common_name, ca, current.latest.certificate if current else None, outlives)
    problems = [] if issuer.latest.enabled else ["the issuer is disabled in the vault"]
    if _reported(issuer, services):
        problems.append(
            f"version {issuer.latest.version} was reported compromised: what it signs lets nobody in; its group's"
            " breach has to end first"
        )
    problems += problems_of_issuing(request, wanted, issuer.latest.certificate, now)
    if problems:
        raise BadInput(f"the vault's certificate {ca_name!r} must not issue {name!r}: {'; '.join(problems)}")
    builder = certificate_of(request, wanted, issuer.latest.certificate, now, _serial())
    key = vault.signing_key(ca_name, issuer.latest.version)
    signed = builder.sign(key, hash_of(issuer.latest.certificate)).public_bytes(Encoding.DER)
    vault.merge(name, [signed, *(one.der for one in _above(issuer, vault))])


def common_name_of(name: str, services: Services) -> str:
    """Whom the latest version is for; a new version keeps that name, for devices may depend on it.

    Raises:
        BadInput: there is none, or it has none.
    """
    tagged = services.vault.latest(name)
    found = tagged.latest.certificate.common_name if tagged else None
    if found is None:
        raise BadInput(f"the vault's certificate {name!r} has no version with a common name")
    return found


def proof_of_possession(code: str, ca_name: str, version: str, services: Services) -> str:
    """A certificate for a verification code, signed by the CA's key, PEM. The key it certifies is thrown away.

    Raises:
        BadInput: the vault's certificate cannot be used so.
        ServiceUnavailable, ServiceRefused: the vault did not sign.
    """
    vault = services.vault
    issuer = vault.certificate(ca_name, version)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    builder = proof_of(code, key, issuer, services.now(), _serial())
    proof = builder.sign(vault.signing_key(ca_name, version), hash_of(issuer))
    return proof.public_bytes(Encoding.PEM).decode("ascii")


def _ca(name: str, ca_name: str, vault: Vault) -> Tagged:
    tagged = vault.latest(ca_name)
    if tagged is None:
        raise BadInput(f"the vault holds no certificate {ca_name!r}, which is to issue {name!r}")
    return tagged


def _reported(ca: Tagged, services: Services) -> bool:
    """Whether a breach call named this CA certificate: what it signs now would be as good as a thief's."""
    group_id, latest = group_of(ca), ca.latest.certificate
    reported = services.ledger.compromised_of_group(group_id) if group_id else set()
    return not reported.isdisjoint((latest.sha256_thumbprint, latest.sha1_thumbprint))


def _above(issuer: Tagged, vault: Vault) -> list[Certificate]:
    """What a device sends along with its certificate: the issuer and what is above it, without a root."""
    chain: list[Certificate] = []
    above: Tagged | None = issuer
    while above is not None and not is_root(above.latest.certificate) and len(chain) < LONGEST_CHAIN:
        chain.append(above.latest.certificate)
        parent = above.tags.get(CA_TAG, "").strip()
        above = vault.latest(parent) if parent else None
        if above is not None and not issued_by(chain[-1], above.latest.certificate):
            above = None  # a version of the parent that has not issued it: nothing true could follow
    return chain


def _serial() -> int:
    return serial_of(secrets.token_bytes(SERIAL_BYTES))
