"""What a CA of ours issues, and what it must not: nothing that DPS, a device or the next rollover would choke on."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from shared.certificate import Certificate
from shared.errors import BadInput
from shared.issuing import (
    BACKDATED,
    SERIAL_BYTES,
    SigningRequest,
    Wanted,
    certificate_of,
    ends,
    hash_of,
    months_later,
    problems_of_issuing,
    serial_of,
)
from tests.certificates import NOW
from tests.own_ca import made, p256

KEY = p256()
CA = made("Fleet CA", KEY)
DEVICE_KEY = p256()
LEAF = Wanted("dev-01", ca=False, before=None)
CA_WANTED = Wanted("dev-01", ca=True, before=None)


def a_request(common_name: str | None = "dev-01", key=DEVICE_KEY, months: int = 12) -> SigningRequest:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, algorithm)
    return SigningRequest(csr.public_bytes(Encoding.DER), months)


def issued(wanted: Wanted = LEAF, request: SigningRequest | None = None, issuer: Certificate = CA) -> x509.Certificate:
    return certificate_of(request or a_request(), wanted, issuer, NOW, 7).sign(KEY, hashes.SHA256())


def problems(wanted: Wanted = LEAF, request: SigningRequest | None = None, issuer: Certificate = CA) -> list[str]:
    return problems_of_issuing(request or a_request(), wanted, issuer, NOW)


def test_a_request_that_is_in_order_may_be_signed():
    assert problems() == []
    assert problems(LEAF, a_request("DEV-01")) == [], "DPS ignores the case of registration IDs"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (a_request("dev-02"), "for the common name 'dev-02', not for 'dev-01'"),
        (a_request(None), "for the common name None"),
        (
            a_request(key=rsa.generate_private_key(65537, 1024)),  # noqa: S505 - that is the point
            "smaller than RSA-2048",
        ),
        (a_request(key=ec.generate_private_key(ec.SECP256K1())), "curve secp256k1"),
        (a_request(key=ed25519.Ed25519PrivateKey.generate()), "EdDSA"),
    ],
)
def test_a_request_for_something_else_is_not_signed(request_, said):
    assert said in "; ".join(problems(request=request_))


def test_a_request_that_nobody_signed_is_not_signed():
    der = a_request().csr
    broken = der[:-4] + bytes([der[-4] ^ 1]) + der[-3:]
    assert problems(request=SigningRequest(broken, 12)) == ["the request is not signed by its own key"]


def test_a_request_that_cannot_be_read_is_said_to_be_so():
    with pytest.raises(BadInput, match="cannot be read"):
        problems(request=SigningRequest(b"nothing", 12))


def test_the_key_of_the_version_before_is_not_certified_again():
    before = made("dev-01", DEVICE_KEY, ca=False, ends=NOW + timedelta(days=30))
    assert "must not reuse keys" in problems(Wanted("dev-01", ca=False, before=before))[0]


@pytest.mark.parametrize(
    ("issuer", "wanted", "said"),
    [
        (made("x", KEY, ca=False), LEAF, "no CA certificate"),
        (made("x", KEY, usage=False), LEAF, "does not allow to sign certificates"),
        (made("x", KEY, ends=NOW), LEAF, "is valid from"),
        (made("x", KEY, starts=NOW + timedelta(days=1)), LEAF, "is valid from"),
        (made("x", KEY, length=0), CA_WANTED, "path length 0"),
    ],
)
def test_an_issuer_that_must_not_is_told_why(issuer, wanted, said):
    assert said in "; ".join(problems(wanted, issuer=issuer))


def test_an_issuer_of_end_entity_certificates_issues_a_leaf():
    assert problems(issuer=made("x", KEY, length=0, usage=True)) == []


def test_nothing_is_issued_that_would_end_before_what_it_takes_the_place_of():
    """Else the vault would get a version that the rollover then refuses, again and again."""
    before = made("dev-01", p256(), ca=False, ends=NOW + timedelta(days=30))
    short = made("x", KEY, ends=NOW + timedelta(days=29))
    assert "ends too soon" in problems(Wanted("dev-01", ca=False, before=before), issuer=short)[0]
    assert problems(Wanted("dev-01", ca=False, before=before)) == []
    compromised = Wanted("dev-01", ca=False, before=before, outlives=False)
    assert problems(compromised, issuer=short) == [], "what is compromised is replaced all the same"


def test_a_certificate_ends_after_the_months_of_its_policy_or_with_its_issuer():
    assert ends(a_request(months=2), CA, NOW) == datetime(2027, 1, 24, 12, tzinfo=UTC)
    short = made("x", KEY, ends=NOW + timedelta(days=10))
    assert issued(issuer=short).not_valid_after_utc == short.not_after


@pytest.mark.parametrize(
    ("when", "months", "later"),
    [
        (datetime(2026, 1, 31, tzinfo=UTC), 1, datetime(2026, 2, 28, tzinfo=UTC)),
        (datetime(2027, 12, 31, tzinfo=UTC), 2, datetime(2028, 2, 29, tzinfo=UTC)),
        (datetime(2026, 11, 30, tzinfo=UTC), 13, datetime(2027, 12, 30, tzinfo=UTC)),
        (datetime(2026, 12, 1, tzinfo=UTC), 12, datetime(2027, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_month_later_is_the_same_day_or_the_last(when, months, later):
    assert months_later(when, months) == later


def test_a_certificate_begins_a_little_early_but_not_before_its_issuer():
    assert issued().not_valid_before_utc == NOW - BACKDATED
    young = made("x", KEY, starts=NOW - timedelta(minutes=1))
    assert issued(issuer=young).not_valid_before_utc == NOW - timedelta(minutes=1)


def length_of(certificate: x509.Certificate) -> int | None:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


@pytest.mark.parametrize(
    ("issuers", "had", "gets"),
    [
        (None, None, 0),  # nothing says that more than leaves are to be issued: the narrowest
        (None, 2, 2),  # what it had, so that the chains below stay good
        (1, 2, 0),  # never as much as the issuer
        (3, 2, 2),
    ],
)
def test_an_intermediate_gets_the_path_length_that_it_had_but_less_than_its_issuers(issuers, had, gets):
    before = None if had is None else made("dev-01", p256(), length=had, ends=NOW + timedelta(days=9))
    made_now = issued(Wanted("dev-01", ca=True, before=before), issuer=made("x", KEY, length=issuers))
    assert length_of(made_now) == gets


def test_an_intermediate_without_a_limit_stays_so_where_its_issuer_has_none():
    before = made("dev-01", p256(), length=None, ends=NOW + timedelta(days=9))
    wanted = Wanted("dev-01", ca=True, before=before)
    assert length_of(issued(wanted, issuer=made("x", KEY, length=None))) is None
    assert length_of(issued(wanted, issuer=made("x", KEY, length=4))) == 3


def test_serial_numbers_are_positive_and_as_long_as_allowed():
    """RFC 5280 4.1.2.2: positive, at most 20 octets."""
    assert serial_of(b"\xff" * SERIAL_BYTES) == 2**159 - 1
    assert issued().serial_number == 7


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "sha256"),
        (ec.generate_private_key(ec.SECP384R1()), "sha384"),
        (ec.generate_private_key(ec.SECP521R1()), "sha512"),
    ],
)
def test_each_curve_has_its_hash(key, name):
    """docs about-keys-details: ES256, ES384, ES512."""
    assert hash_of(made("x", key)).name == name
