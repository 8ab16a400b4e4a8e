"""The PKI of a rehearsal: what it signs would hold outside of it, too."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from OpenSSL import crypto

from local.rehearse.desk import Desk, DeskSource
from local.rehearse.moving import MovedClock
from local.rehearse.operator import Operator
from local.rehearse.pki import CertificateAuthority, make_root, signing_request, thumbprint
from tests.rehearsal.yard import valid
from tests.standin import StandIn

NAME = "meter-001"


@pytest.fixture
def issuer() -> CertificateAuthority:
    return make_root("Root", valid()).subordinate("Middle", valid(60)).subordinate("Intermediate", valid(30))


@pytest.fixture
def desk(issuer: CertificateAuthority) -> Desk:
    one = Desk(lambda: datetime.now(UTC))
    one.appoint(issuer)
    return one


def verify(chain: bytes, root: x509.Certificate) -> None:
    """OpenSSL, strict (RFC 5280), for TLS clients; X509StoreContextError if the chain does not hold."""
    leaf, *between = (crypto.X509.from_cryptography(one) for one in x509.load_pem_x509_certificates(chain))
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(root))
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    crypto.X509StoreContext(store, leaf, between).verify_certificate()


def test_a_leaf_and_what_is_sent_along_reach_the_root_and_no_other(desk: Desk, issuer: CertificateAuthority) -> None:
    chain = desk.enroll(NAME, signing_request(NAME)[1])
    verify(chain, issuer.above[-1])
    assert chain.count(b"BEGIN") == 3, "two intermediates; the root stays at home"
    with pytest.raises(crypto.X509StoreContextError):
        verify(chain, make_root("Root", valid()).certificate)


def test_no_leaf_outlives_the_ca_that_signed_it(desk: Desk, issuer: CertificateAuthority) -> None:
    leaf = x509.load_pem_x509_certificate(desk.enroll(NAME, signing_request(NAME)[1]))
    assert leaf.not_valid_after_utc == issuer.validity.ends
    above = (issuer.certificate, *issuer.above)
    assert desk.issued == {thumbprint(leaf): tuple(map(thumbprint, above))}


def test_nobody_gets_a_certificate_in_anothers_name(desk: Desk) -> None:
    with pytest.raises(ValueError, match="nothing is signed here for meter-001"):
        desk.enroll(NAME, signing_request("meter-002")[1])


def test_a_device_makes_one_key_for_each_ca_that_signs(desk: Desk, issuer: CertificateAuthority) -> None:
    source = DeskSource(desk, NAME)
    first = source.newest(None)
    assert first is not None
    assert source.newest(None) is first
    desk.appoint(issuer.subordinate("Below", valid()))
    second = source.newest(None)
    assert second is not None
    assert second.sha256 != first.sha256
    assert len(desk.issued) == 2


def test_while_nobody_signs_there_is_nothing_to_be_had() -> None:
    desk = Desk(lambda: datetime.now(UTC))
    assert DeskSource(desk, NAME).newest(None) is None


def test_the_vault_takes_a_ca_with_its_key_and_a_new_version_of_it(
    azure: StandIn, issuer: CertificateAuthority
) -> None:
    clock = MovedClock(azure.endpoints["control"]["url"])
    operator = Operator(azure.endpoints, clock)
    operator.import_ca("meters-ca", issuer, "meters")
    assert operator.latest("meters-ca").sha256 == issuer.sha256
    renewed = make_root("Root", valid()).subordinate("Intermediate", valid())
    operator.import_ca("meters-ca", renewed, "meters")
    assert operator.latest("meters-ca").der == renewed.der
