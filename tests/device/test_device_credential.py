"""What counts as a credential, and what is said about one that does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from device.credential import Credential
from device.errors import NotACredential
from tests.device.device_certificates import issue

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CA = issue("Fleet CA", ca=True, now=NOW)
LEAF = issue("dev1", signer=CA, now=NOW)


@pytest.mark.parametrize(
    "pem",
    [
        LEAF.pem,
        LEAF.chain[0].public_bytes(Encoding.PEM) + LEAF.certificate_pem + LEAF.key_pem,
        LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        + LEAF.certificate_pem
        + CA.certificate_pem,
    ],
    ids=["key first", "key last, CA before leaf", "traditional key"],
)
def test_pem_in_any_order_becomes_key_leaf_and_chain(pem: bytes) -> None:
    assert Credential.from_pem(pem).pem == LEAF.pem


def test_pfx_as_key_vault_hands_it_out_becomes_the_same() -> None:
    assert Credential.from_pfx(LEAF.pfx) == LEAF.credential


def test_repr_shows_no_key() -> None:
    assert "PRIVATE KEY" not in repr(LEAF.credential)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"nonsense",
        LEAF.key_pem,
        LEAF.certificate_pem,
        LEAF.key_pem + CA.certificate_pem,
        LEAF.key_pem + CA.key_pem + LEAF.certificate_pem,
        LEAF.pem[:-200],
        LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        + LEAF.certificate_pem,
        LEAF.key_pem.replace(b"M", b"\0", 3) + LEAF.certificate_pem,
    ],
    ids=["empty", "nonsense", "key only", "no key", "another's key", "two keys", "cut off", "encrypted", "broken key"],
)
def test_what_is_no_credential_is_refused_without_quoting_it(pem: bytes) -> None:
    with pytest.raises(NotACredential) as refused:
        Credential.from_pem(pem)
    body = LEAF.key_pem.splitlines()[1].decode()
    assert body not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_pfx_with_a_password_is_refused() -> None:
    locked = pkcs12.serialize_key_and_certificates(
        None, LEAF.key, LEAF.certificate, None, BestAvailableEncryption(b"secret")
    )
    for data in (locked, b"", b"nonsense"):
        with pytest.raises(NotACredential):
            Credential.from_pfx(data)


def test_a_credential_in_its_time_with_the_right_name_has_no_fault() -> None:
    assert LEAF.credential.fault("DEV1", NOW) is None  # registration IDs are compared without regard to case


@pytest.mark.parametrize(
    ("registration_id", "when", "fault"),
    [
        ("dev2", NOW, "its common name 'dev1' is not the registration ID"),
        ("dev1", NOW - timedelta(days=1), "not valid before 2029-12-31T23:00:00Z"),
        ("dev1", NOW + timedelta(days=90), "expired at 2030-03-31T23:00:00Z"),
    ],
)
def test_a_fault_says_what_is_wrong(registration_id: str, when: datetime, fault: str) -> None:
    assert LEAF.credential.fault(registration_id, when) == fault
