"""What is read of a certificate, and every reason why one may not take over from another."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from shared.certificate import (
    Certificate,
    is_near_expiry,
    normalize_thumbprint,
    parse_certificate,
    problems_of_successor,
)
from tests.builders import DEVICE, NEW, OLD, as_outgoing
from tests.certificates import NOW, a_certificate, generation

SKEW = timedelta(minutes=5)


def made(**how: object) -> Certificate:
    """A certificate that may take over from OLD, but for what ``how`` changes."""
    values = {"starts": NOW - timedelta(days=1), "ends": NOW + timedelta(days=365), **how}
    return parse_certificate(a_certificate(**values).der)  # type: ignore[arg-type]


def weak_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose


def problems(incoming: Certificate, *, registration_id: str = DEVICE, key_known: bool = True) -> list[str]:
    outgoing = as_outgoing(OLD, key_known=key_known)
    return problems_of_successor(incoming, registration_id=registration_id, outgoing=outgoing, now=NOW, skew=SKEW)


def test_a_newer_certificate_with_a_new_key_and_the_same_name_may_take_over():
    assert problems(NEW) == []


REFUSALS: dict[str, tuple[Callable[[], Certificate], str]] = {
    "no common name": (lambda: made(common_name=None), "no common name"),
    "another common name": (lambda: made(common_name="dev-02"), "'dev-02', not the registration ID 'dev-01'"),
    "a common name that only begins alike": (lambda: made(common_name="dev-011"), "'dev-011'"),
    "the outgoing certificate's key": (lambda: made(key=generation(0).key), "a rollover needs a new key"),
    "an RSA key of 1024 bits": (lambda: made(key=weak_key()), "smaller than RSA-2048"),
    "an Ed25519 key": (lambda: made(key=ed25519.Ed25519PrivateKey.generate()), "its key type is EdDSA"),
    "a curve that Key Vault does not issue": (
        lambda: made(key=ec.generate_private_key(ec.SECP256K1())),
        "its key is on curve secp256k1",
    ),
    "a CA certificate": (lambda: made(ca=True), "a CA certificate"),
    "a certificate for servers only": (lambda: made(server_only=True), "does not allow client authentication"),
    "not yet valid beyond what clocks may differ": (
        lambda: made(starts=NOW + SKEW + timedelta(seconds=1)),
        "not valid before 2026-11-24 12:05:01Z",
    ),
    "expired": (lambda: made(ends=NOW - timedelta(days=2), starts=NOW - timedelta(days=9)), "expired on 2026-11-22"),
    "expired at this very second": (lambda: made(ends=NOW), "it expired on 2026-11-24 12:00:00Z"),
    "ends before the outgoing one": (
        lambda: made(ends=OLD.not_after - timedelta(days=1)),
        "not later than the outgoing",
    ),
    "ends with the outgoing one": (lambda: made(ends=OLD.not_after), "not later than the outgoing one"),
}


@pytest.mark.parametrize(("build", "said"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_successor_is_refused_when_it_is_or_has(build, said):
    found = problems(build())
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize("case", [key for key in REFUSALS if not key.startswith("expired")])
def test_a_single_fault_gives_a_single_reason(case):
    assert len(problems(REFUSALS[case][0]())) == 1


def test_all_faults_are_named_at_once():
    """An operator mends a certificate policy once, not once for each fault."""
    key = weak_key()
    start, end = NOW + timedelta(days=1), NOW + timedelta(days=2)
    bad = made(common_name="other", key=key, ca=True, server_only=True, starts=start, ends=end)
    found = " | ".join(problems(bad))
    for said in (
        "'other'",
        "RSA-1024",
        "CA certificate",
        "client authentication",
        "not valid before",
        "not later than",
    ):
        assert said in found


GOOD: dict[str, Callable[[], Certificate]] = {
    "the same common name in other letters": lambda: made(common_name="DEV-01"),
    "an RSA key of 2048 bits": lambda: made(key=rsa.generate_private_key(65537, 2048)),
    "P-256": lambda: made(key=ec.generate_private_key(ec.SECP256R1())),
    "P-384": lambda: made(key=ec.generate_private_key(ec.SECP384R1())),
    "P-521": lambda: made(key=ec.generate_private_key(ec.SECP521R1())),
    "no basic constraints": lambda: made(ca=None),
    "not yet valid within what clocks may differ": lambda: made(starts=NOW + SKEW),
    "one second more than the outgoing one": lambda: made(ends=OLD.not_after + timedelta(seconds=1)),
}


@pytest.mark.parametrize("build", GOOD.values(), ids=GOOD.keys())
def test_a_successor_is_accepted_with(build):
    """Registration IDs and common names are compared without case (azure-docs concepts-service: registration ID)."""
    assert problems(build()) == []


def test_a_registration_id_in_other_letters_is_the_same_name():
    assert problems(NEW, registration_id="DEV-01") == []


def test_a_reused_key_cannot_be_seen_when_the_vault_has_lost_the_outgoing_version():
    """DPS gives facts, never the certificate, so without the vault's version there is no key to compare."""
    assert problems(made(key=generation(0).key), key_known=False) == []


@pytest.mark.parametrize("usages", [["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"], ["2.5.29.37.0"]])
def test_extended_key_usage_with_client_auth_among_others_or_with_any_allows_client_authentication(usages):
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in usages])
    assert parse_certificate(_signed(key, usage)).allows_client_auth


def _signed(
    key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType, names: tuple[str, ...] = (DEVICE,)
) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text) for text in names])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=400))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_the_facts_of_a_certificate_are_read():
    der = generation(1).der
    certificate = parse_certificate(der)
    loaded = x509.load_der_x509_certificate(der)
    assert certificate.sha1_thumbprint == loaded.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303
    assert certificate.sha256_thumbprint == loaded.fingerprint(hashes.SHA256()).hex().upper()
    assert certificate.common_name == DEVICE
    assert (certificate.not_before, certificate.not_after) == (loaded.not_valid_before_utc, loaded.not_valid_after_utc)
    assert certificate.not_after.tzinfo is UTC
    assert certificate.key == "EC secp256r1"
    assert certificate.pem == generation(1).pem


def test_the_same_key_in_two_certificates_is_recognised():
    key = ec.generate_private_key(ec.SECP256R1())
    first, second = made(key=key), made(key=key)
    assert first.sha256_thumbprint != second.sha256_thumbprint
    assert first.public_key_sha256 == second.public_key_sha256 != NEW.public_key_sha256


def test_keys_are_described_as_people_say_it():
    assert made(key=rsa.generate_private_key(65537, 2048)).key == "RSA-2048"
    assert parse_certificate(_signed_eddsa()).key == "EdDSA"


def _signed_eddsa() -> bytes:
    key = ed448.Ed448PrivateKey.generate()
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    return builder.sign(key, None).public_bytes(Encoding.DER)


THUMBPRINTS = {
    "SHA-256 in upper case": lambda c: c.sha256_thumbprint,
    "SHA-256 in lower case": lambda c: c.sha256_thumbprint.lower(),
    "SHA-1": lambda c: c.sha1_thumbprint,
    "SHA-1 with colons": lambda c: ":".join(c.sha1_thumbprint[i : i + 2] for i in range(0, 40, 2)),
    "SHA-1 with blanks, as portals copy it": lambda c: " ".join(c.sha1_thumbprint[i : i + 2] for i in range(0, 40, 2)),
}


@pytest.mark.parametrize("write", THUMBPRINTS.values(), ids=THUMBPRINTS.keys())
def test_a_certificate_knows_its_thumbprint_written_as(write):
    assert normalize_thumbprint(write(OLD)) in (OLD.sha1_thumbprint, OLD.sha256_thumbprint)
    assert normalize_thumbprint(write(OLD)) not in (NEW.sha1_thumbprint, NEW.sha256_thumbprint)


WINDOW, SHARE = timedelta(days=30), 0.34
LIFETIMES = {
    "a year's certificate 31 days before its end is not": (365, timedelta(days=31), False),
    "a year's certificate 30 days before its end is": (365, timedelta(days=30), True),
    "an expired certificate is": (365, -timedelta(days=1), True),
    "a week's certificate at birth is not, although it ends within the window": (7, timedelta(days=7), False),
    "a week's certificate in its last third is": (7, timedelta(days=2), True),
    "an hour's certificate at birth is not": (1 / 24, timedelta(hours=1), False),
    "an hour's certificate with 20 minutes left is": (1 / 24, timedelta(minutes=20), True),
}


@pytest.mark.parametrize(("days", "left", "near"), LIFETIMES.values(), ids=LIFETIMES.keys())
def test_near_its_expiry(days, left, near):
    """A certificate that would be near expiry when it is issued would be rolled for ever."""
    end = NOW + left
    assert is_near_expiry(end - timedelta(days=days), end, NOW, window=WINDOW, share=SHARE) is near


def test_the_last_of_several_common_names_counts():
    """The most specific name stands last in a subject (RFC 4514 reads it from the end)."""
    key = ec.generate_private_key(ec.SECP256R1())
    assert parse_certificate(_signed(key, names=("fleet", DEVICE))).common_name == DEVICE


def test_a_certificate_is_compared_by_content():
    assert replace(OLD) == OLD != NEW
