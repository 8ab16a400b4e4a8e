"""Reading certificates: what is accepted, how it is described, and that nothing but ValueError comes out."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from local.azure import x509
from tests.contract.core_certificates import self_signed
from tests.contract.reasons import OURS

pytestmark = OURS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """A key with its certificate as PEM text, and the certificate's DER."""
    path, der = self_signed("device-1", tmp_path_factory.mktemp("odd"))
    return path.read_text(), der


def pem(der: bytes) -> str:
    return library.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def named(*rdns: list[library.NameAttribute[str]]) -> bytes:
    """A certificate with this subject, valid for a day from the first of 2026."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = library.Name([library.RelativeDistinguishedName(rdn) for rdn in rdns])
    start, end = datetime(2026, 1, 1, 10, 30, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    builder = library.CertificateBuilder(name, name, key.public_key(), 0x0ABC, start, end)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def cn(text: str) -> list[library.NameAttribute[str]]:
    return [library.NameAttribute(NameOID.COMMON_NAME, text)]


def test_every_spelling_of_a_certificate_gives_its_der(made: tuple[str, bytes]) -> None:
    """What clients of DPS send: PEM text (az), base64 of DER (azure-iot-sdk-csharp), base64 of PEM."""
    der = made[1]
    text = pem(der)
    for spelling in (
        text,
        text.strip(),
        text.replace("\n", "\r\n"),
        "\ufeff" + text,
        "subject=CN = device-1\nissuer=CN = device-1\n" + text,
        text + text,
        base64.b64encode(der).decode(),
        base64.encodebytes(der).decode(),
        base64.b64encode(text.encode()).decode(),
        base64.b64encode(b"\xef\xbb\xbf" + text.encode()).decode(),
    ):
        assert x509.parse_certificate(spelling) == der


def test_of_two_certificates_the_first_is_taken(made: tuple[str, bytes]) -> None:
    assert x509.parse_certificate(pem(made[1]) + pem(named(cn("other")))) == made[1]


def broken(der: bytes) -> dict[str, str]:
    text = pem(der)
    armour = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----"
    return {
        "nothing": "",
        "white space": " \r\n\t",
        "garbage": "not a certificate",
        "garbage that is base64": base64.b64encode(b"x" * 500).decode(),
        "DER as text": der.decode("latin-1"),
        "a cut PEM": text[:-40],
        "a cut DER": base64.b64encode(der[:-10]).decode(),
        "DER with a tail": base64.b64encode(der + b"\0").decode(),
        "an empty block": armour.format(""),
        "garbage in a block": armour.format("!!!!"),
        "base64 of a half PEM": base64.b64encode(text[:100].encode()).decode(),
        "a megabyte": armour.format("QUJD" * 262_144),
        "PKCS#7": pkcs7.serialize_certificates([library.load_der_x509_certificate(der)], Encoding.PEM).decode(),
        # Parses, and fails when the subject is read: UTF8String that is none.
        "a name that is not UTF-8": base64.b64encode(der.replace(b"device-1", b"\xff\xfe\xff\xfe1234")).decode(),
    }


@pytest.mark.parametrize("kind", list(broken(named(cn("device-1")))))
def test_what_is_no_certificate_is_a_value_error(made: tuple[str, bytes], kind: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        x509.parse_certificate(broken(made[1])[kind])


def test_text_that_also_holds_a_key_is_refused_without_showing_it(made: tuple[str, bytes]) -> None:
    with pytest.raises(ValueError, match="not a certificate") as refused:
        x509.parse_certificate(made[0])
    assert "PRIVATE" not in str(refused.value)


@given(st.one_of(st.text(max_size=300), st.binary(max_size=300).map(lambda raw: base64.b64encode(raw).decode())))
def test_no_text_gives_anything_but_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        x509.parse_certificate(text)


DER = named(cn("device-1"))


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_one_changed_byte_gives_a_certificate_or_a_value_error(position: int, byte: int) -> None:
    changed = DER[:position] + bytes([byte]) + DER[position + 1 :]
    try:
        der = x509.parse_certificate(base64.b64encode(changed).decode())
    except ValueError:
        return
    assert x509.validity(der)[0] <= datetime.max.replace(tzinfo=UTC)
    x509.common_name(der)


def test_info_has_the_recorded_members_and_forms() -> None:
    """Recorded from DPS: upper-case hex without colons, UTC without fraction, version as number."""
    info = x509.certificate_info(DER)
    assert info == {
        "subjectName": "CN=device-1",
        "sha1Thumbprint": x509.sha1_thumbprint(DER),
        "sha256Thumbprint": x509.sha256_thumbprint(DER),
        "issuerName": "CN=device-1",
        "notBeforeUtc": "2026-01-01T10:30:00Z",
        "notAfterUtc": "2026-01-02T00:00:00Z",
        "serialNumber": "0ABC",
        "version": 3,
    }
    assert (len(info["sha1Thumbprint"]), len(info["sha256Thumbprint"])) == (40, 64)
    assert info["sha256Thumbprint"] == info["sha256Thumbprint"].upper()


@pytest.mark.parametrize(
    ("rdns", "text"),
    [
        (
            [
                [library.NameAttribute(NameOID.COUNTRY_NAME, "DE")],
                [library.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Hessen")],
                [library.NameAttribute(NameOID.ORGANIZATION_NAME, "Contoso, Ltd.")],
                cn("device-1"),
            ],
            'CN=device-1, O="Contoso, Ltd.", S=Hessen, C=DE',
        ),
        ([cn('say "hi"')], 'CN="say ""hi"""'),
        ([[*cn("a"), library.NameAttribute(NameOID.USER_ID, "b")]], "CN=a + UID=b"),
        ([[library.NameAttribute(NameOID.PSEUDONYM, "p")]], "OID.2.5.4.65=p"),
        ([], ""),
    ],
)
def test_names_are_written_as_dotnet_writes_them(rdns: list[list[library.NameAttribute[str]]], text: str) -> None:
    """X500DistinguishedName.Name of .NET, in which DPS is written: the most specific part first."""
    name = library.Name([library.RelativeDistinguishedName(rdn) for rdn in rdns])
    assert x509.net_name(name) == text


def test_the_common_name_may_be_missing(tmp_path: Path) -> None:
    unnamed = named([library.NameAttribute(NameOID.ORGANIZATION_NAME, "Contoso")])
    assert x509.common_name(unnamed) is None
    assert x509.common_name(DER) == "device-1"
