"""Certificate chains as a device shows them, followed towards a root."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

LONGEST = 10


@lru_cache(maxsize=4096)
def load(der: bytes) -> x509.Certificate:
    """The parsed certificate; ValueError if it is none."""
    return x509.load_der_x509_certificate(der)


def path(presented: Sequence[bytes], known: Iterable[bytes]) -> list[bytes]:
    """The leaf, then each one's issuer, as far as it can be followed.

    Issuers are taken from what was presented, in the order it was presented, and where that ends from
    `known`. A wrong order breaks the chain (AzureIoTDPSCertificates#3, azure-iot-sdk-java#573). ValueError
    for an unreadable certificate.
    """
    found, rest, known = [presented[0]], list(presented[1:]), list(known)
    while not self_issued(found[-1]) and len(found) < LONGEST:
        if rest and issued_by(found[-1], rest[0]):
            found.append(rest.pop(0))
            continue
        rest = []
        issuer = next((one for one in known if issued_by(found[-1], one)), None)
        if issuer is None:
            break
        found.append(issuer)
    return found


def self_issued(der: bytes) -> bool:
    """Whether subject and issuer are the same name."""
    certificate = load(der)
    return certificate.subject == certificate.issuer


def issued_by(der: bytes, issuer: bytes) -> bool:
    """Whether a CA certificate signed this one: name, signature and the CA flag."""
    try:
        constraints = load(issuer).extensions.get_extension_for_class(x509.BasicConstraints)
        load(der).verify_directly_issued_by(load(issuer))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    return bool(constraints.value.ca)
