"""Whatever bytes come, reading a certificate gives one or raises BadInput: nothing else, ever."""

import base64
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from shared.certificate import Certificate, parse_certificate
from shared.errors import BadInput
from tests.certificates import NOW, a_certificate, generation

DER = generation(0).der


pytestmark = pytest.mark.filterwarnings("ignore:Parsed a:UserWarning")


def read(der: bytes) -> Certificate | None:
    """The certificate, or None where BadInput was raised; any other exception fails the test."""
    try:
        return parse_certificate(der)
    except BadInput:
        return None


def a_request() -> bytes:
    key = generation(0).key
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dev-01")])
    builder = x509.CertificateSigningRequestBuilder(name)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def with_extension(oid: x509.ObjectIdentifier, value: bytes) -> bytes:
    """A certificate that loads, and fails when its extensions are read."""
    key = generation(0).key
    builder = x509.CertificateBuilder(x509.Name([]), x509.Name([]), key.public_key(), 1, NOW, NOW + timedelta(days=1))
    builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


ODD: dict[str, bytes] = {
    "nothing": b"",
    "one zero": b"\0",
    "a text": b"certificate",
    "a PEM, where DER is meant": generation(0).pem.encode(),
    "base64 of DER": base64.b64encode(DER),
    "a private key": generation(0).key_pem.encode(),
    "a public key": generation(0).key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "a signing request": a_request(),
    "a certificate cut short": DER[:-1],
    "half of a certificate": DER[: len(DER) // 2],
    "a certificate with something behind it": DER + b"\0",
    "two certificates": DER + generation(1).der,
    "a length that lies": b"\x30\x84\xff\xff\xff\xff" + DER[4:],
    "an unknown curve": DER.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030177")),
    "a key point that is not on the curve": DER.replace(
        generation(0).key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        b"\x04" + b"\x01" * 64,
    ),
    "version 9": DER.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020109"), 1),
    "a date that there is not": DER.replace(b"261224", b"269924"),
    "basic constraints that are no sequence": with_extension(ExtensionOID.BASIC_CONSTRAINTS, b"\x04\x00"),
    "extended key usage that is no sequence": with_extension(ExtensionOID.EXTENDED_KEY_USAGE, b"\xff\xff"),
    "an alternative name that is none": with_extension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x03\x99"),
}


@pytest.mark.parametrize("der", ODD.values(), ids=ODD.keys())
def test_is_no_certificate(der):
    assert der != DER
    with pytest.raises(BadInput):
        parse_certificate(der)


def test_what_is_wrong_is_said_without_showing_the_bytes():
    with pytest.raises(BadInput, match=r"not a readable X\.509 certificate") as caught:
        parse_certificate(generation(0).key_pem.encode())
    assert "BEGIN" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.binary(max_size=600))
@example(DER)
def test_random_bytes_give_a_certificate_or_bad_input(der):
    read(der)


@given(st.data())
def test_a_certificate_with_a_few_bytes_changed_gives_a_certificate_or_bad_input(data):
    """Some such certificates load, and fail only when a field is read."""
    der = bytearray(DER)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(der))


def test_a_certificate_without_subject_is_read():
    assert parse_certificate(a_certificate(None).der).common_name is None
