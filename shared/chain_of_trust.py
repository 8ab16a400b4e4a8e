"""Whether a group may trust a certificate: a CA able to sign, and one that DPS can follow to a verified CA; and whether
it admits a device by the certificate that the device has. Pure.

DPS admits a device of a group when its chain reaches the group's anchor and, at the anchor or above, a CA certificate
of the DPS that is *verified* (azure-docs#74403, azure-iot-sdk-c#437). Nothing of that is said when the anchor is put
into the group: a chain that does not hold shows only when devices register, and then all at once. So it is found here,
before anything is written. Of what devices will show nothing is known, so a link counts only where DPS has it itself:
the anchor's issuer must be among the CA certificates of the DPS. Sources of the rules: RFC 5280 4.2.1.9 (basic
constraints, path length), 4.2.1.3 (key usage), 6.1 (names chain, signatures, validity).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from shared.authority import DpsCertificate
from shared.certificate import Certificate, Outgoing, is_among, is_same, problems_of_key
from shared.enrollment import Enrolled
from shared.issuing import issued_by

BROKEN_HASHES = (hashes.MD5, hashes.SHA1)
"""Signatures over these can be forged (NIST SP 800-131A); of a self-signed certificate the signature proves nothing."""


@dataclass(frozen=True)
class Trust:
    """What a new anchor is judged by."""

    authorities: Sequence[DpsCertificate]
    """Every CA certificate of the DPS."""
    by_reference: bool
    """The group will name it, so that it is itself uploaded and verified; else it is put into a slot."""
    now: datetime
    skew: timedelta


def problems_of_anchor(incoming: Certificate, leaving: Sequence[Outgoing], trust: Trust) -> list[str]:
    """Every reason why devices could not get in by ``incoming`` once it is what the group trusts; empty when they can.

    ``leaving`` are the certificates whose place it takes; one of them with the same key is a renewal, and then the
    devices' certificates stay good only if the subject stays the same too.
    """
    certificate = x509.load_der_x509_certificate(incoming.der)
    problems = _unable_to_sign(certificate, 0)
    problems += problems_of_key(incoming.key)
    problems += _out_of_date(incoming, trust)
    problems += _weakly_signed(certificate)
    for one in leaving:
        if one.public_key_sha256 == incoming.public_key_sha256 and one.subject not in (None, incoming.subject):
            problems.append(
                f"it has the outgoing certificate's key and another subject, {incoming.subject!r} instead of"
                f" {one.subject!r}: the devices' certificates name the old one as their issuer"
            )
    return problems if trust.by_reference else problems + missing_links(incoming, trust)


def missing_links(anchor: Certificate, trust: Trust) -> list[str]:
    """Why DPS cannot follow a signing certificate to a verified CA certificate of its own; empty when it can."""
    same = [one for one in trust.authorities if is_same(one, anchor)]
    if any(one.verified for one in same):
        return []
    if same:
        return [f"it is among the CA certificates of the DPS as {same[0].name!r}, and not verified: verify it"]
    if anchor.subject == anchor.issuer:
        return [
            f"it is a root of its own ({anchor.subject}), and not among the verified CA certificates of the DPS: upload"
            " and verify it"
        ]
    named = [one for one in trust.authorities if one.certificate and one.certificate.subject == anchor.issuer]
    found = [
        (one, _problems_of_issuer(one, one.certificate, trust))
        for one in named
        if one.certificate and issued_by(anchor, one.certificate)
    ]
    if any(not problems for _, problems in found):
        return []
    if found:
        one, problems = found[0]
        return [f"its issuer {anchor.issuer}, in the DPS as {one.name!r}, {' and '.join(problems)}"]
    if named:
        return [
            f"the CA certificate {named[0].name!r} of the DPS has its issuer's name, {anchor.issuer}, and did not sign"
            " it: upload and verify the one that did"
        ]
    if _unseen_issuer(anchor, trust):
        return []
    return [
        f"its issuer {anchor.issuer} is not among the verified CA certificates of the DPS: upload and verify that CA"
        " certificate"
    ]


def _unseen_issuer(anchor: Certificate, trust: Trust) -> bool:
    """Whether a verified CA certificate whose contents nobody gives may be the issuer, by the name that ARM shows."""
    issuer = x509.load_der_x509_certificate(anchor.der).issuer
    names = {str(one.value) for one in issuer.get_attributes_for_oid(NameOID.COMMON_NAME)}
    return any(one.verified and one.certificate is None and one.common_name in names for one in trust.authorities)


def _problems_of_issuer(issuer: DpsCertificate, certificate: Certificate, trust: Trust) -> list[str]:
    problems = [] if issuer.verified else ["is not verified: verify it"]
    found = _unable_to_sign(x509.load_der_x509_certificate(certificate.der), 1)
    found += problems_of_key(certificate.key) + _out_of_date(certificate, trust)
    return problems + [one.removeprefix("it ") for one in found]


def _unable_to_sign(certificate: x509.Certificate, below: int) -> list[str]:
    """Why it cannot issue leaves through so many CA certificates below it."""
    extensions = certificate.extensions
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return ["it is not a CA certificate: it has no basic constraints"]
    if not constraints.ca:
        return ["it is not a CA certificate"]
    problems = []
    if constraints.path_length is not None and constraints.path_length < below:
        problems.append(f"it allows no CA certificate below it (path length {constraints.path_length})")
    try:
        signs = extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        signs = True  # without the extension any use is allowed
    if not signs:
        problems.append("it may not sign certificates: its key usage lacks keyCertSign")
    return problems


def _out_of_date(certificate: Certificate, trust: Trust) -> list[str]:
    problems = []
    if certificate.not_before > trust.now + trust.skew:
        problems.append(f"it is not valid before {certificate.not_before:%Y-%m-%d %H:%M:%SZ}")
    if certificate.not_after <= trust.now:
        problems.append(f"it expired on {certificate.not_after:%Y-%m-%d %H:%M:%SZ}")
    return problems


def _weakly_signed(certificate: x509.Certificate) -> list[str]:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ["its signature algorithm is not known"]
    if isinstance(algorithm, BROKEN_HASHES) and certificate.subject != certificate.issuer:
        return [f"it is signed over {algorithm.name.upper()}, which can be forged"]
    return []


def path_of(certificate: Certificate, known: Sequence[Certificate]) -> list[Certificate]:
    """The CA certificates above it, the next one first, as far as they are among those that are known."""
    path: list[Certificate] = []
    below = certificate
    while above := next((one for one in known if one not in path and issued_by(below, one)), None):
        path.append(above)
        below = above
    return path


def problems_of_chain(
    leaf: Certificate, known: Sequence[Certificate], anchors: Sequence[Enrolled], trust: Trust
) -> list[str]:
    """Every reason why a group that trusts ``anchors`` would not admit a device by ``leaf``; empty when it would, as
    far as is known. ``known`` are CA certificates that may be above it, for DPS gives none back.
    """
    return problems_of_path(path_of(leaf, known), anchors, trust)


def problems_of_path(path: Sequence[Certificate], anchors: Sequence[Enrolled], trust: Trust) -> list[str]:
    """The same, by the CA certificates above the leaf, the next one first."""
    if not path:
        return ["the vault has no CA certificate that issued it: see the tag rollover-ca"]
    at = next((number for number, one in enumerate(path) if is_among(one, anchors)), None)
    if at is None:
        trusted = " and ".join(one.subject or one.sha1_thumbprint for one in anchors) or "nothing"
        return [
            f"the group trusts {trusted}, and not the CA certificate {path[-1].subject} (SHA-256"
            f" {path[-1].sha256_thumbprint}) above it"
        ]
    dead = [f"of {one.subject} above it: {why}" for one in path[: at + 1] for why in _out_of_date(one, trust)]
    return dead + [f"of {path[at].subject}, which the group trusts: {why}" for why in _unverified(path[at], trust)]


def _unverified(anchor: Certificate, trust: Trust) -> list[str]:
    if not trust.by_reference:
        return missing_links(anchor, trust)
    named = any(one.verified and is_same(one, anchor) for one in trust.authorities)
    return [] if named else ["it is not verified in the DPS: verify it"]


def renews(incoming: Certificate, outgoing: Outgoing) -> bool:
    """Whether certificates that ``outgoing`` issued are good under ``incoming`` as they are: same key, same subject."""
    return outgoing.public_key_sha256 == incoming.public_key_sha256 and outgoing.subject == incoming.subject
