"""A CA in the vault issues: one version comes of it, however often it is tried and whatever dies in between."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from cryptography import x509

from shared.errors import BadInput, NotFound
from shared.fleet import Work
from shared.issuing import issued_by
from shared.own_ca import (
    Issued,
    Waiting,
    common_name_of,
    issue_leaf,
    proof_of_possession,
    sign_request,
)
from shared.rows import History
from shared.seen import Issuance
from shared.services import Services
from shared.tags import GROUP_TAG
from tests.builders import as_outgoing
from tests.certificates import NOW
from tests.fakes import World, a_world
from tests.fleet.kit import GROUP, a_breach
from tests.own_ca import ISSUING, LEAF, ROOT, keep, made, p256, rsa_2048, set_up

KINDS = pytest.mark.parametrize("make_key", [p256, rsa_2048], ids=["P-256", "RSA"])


@pytest.fixture
def world() -> World:
    return a_world()


def issue(services: Services, **more: Any) -> Issued | Waiting:
    return issue_leaf(LEAF, ISSUING, services, common_name="dev-01", **more)


@KINDS
def test_a_leaf_is_issued_and_merged_with_what_is_above_it(world, make_key):
    old = set_up(world, make_key)
    found = issue(world.services, instead_of={old.sha256_thumbprint})
    assert isinstance(found, Issued)
    new, issuing = found.latest.certificate, world.vault.kept[ISSUING].versions[-1]
    assert (new.common_name, new.is_ca, new.allows_client_auth) == ("dev-01", False, True)
    assert issued_by(new, issuing)
    assert world.vault.chains[new.sha256_thumbprint] == [issuing.der], "the root is not sent along"
    assert new.public_key_sha256 != old.public_key_sha256


def test_what_the_ca_issued_already_stays(world):
    set_up(world)
    found = issue(world.services)
    assert isinstance(found, Issued)
    assert found.latest.version == "v1"
    assert world.vault.asked == 0


def test_a_leaf_of_a_ca_version_before_is_issued_again(world):
    """So a wave of new leaves follows the roll of their CA."""
    set_up(world)
    root = world.vault.kept[ROOT]
    key = p256()
    new_ca = made("Fleet Issuing CA", key, by=(root.versions[0], root.keys[root.versions[0].sha256_thumbprint]))
    world.vault.kept[ISSUING].versions.append(new_ca)
    world.vault.kept[ISSUING].keys[new_ca.sha256_thumbprint] = key
    found = issue(world.services)
    assert isinstance(found, Issued)
    assert issued_by(found.latest.certificate, new_ca)
    assert issue(world.services) == found


def test_a_request_that_waits_already_is_the_one_that_is_signed(world):
    old = set_up(world)
    world.vault.issue(LEAF)
    assert isinstance(issue(world.services, instead_of={old.sha256_thumbprint}), Issued)
    assert world.vault.asked == 1


def test_a_version_that_the_vault_issues_by_itself_is_waited_for(world):
    old = set_up(world)
    world.vault.kept[LEAF].pending = Issuance(in_progress=True, needs_signing=False, error=None)
    assert isinstance(issue(world.services, instead_of={old.sha256_thumbprint}), Waiting)
    assert world.vault.asked == 0


def test_two_at_once_make_one_version(world):
    old = set_up(world)
    not_old = {"instead_of": {old.sha256_thumbprint}}
    other = world.services

    class Slow(type(world.vault)):
        def merge(self, name, chain):
            assert isinstance(issue(replace(other, vault=world.vault), **not_old), Issued)
            super().merge(name, chain)

    slow = Slow()
    slow.__dict__ = world.vault.__dict__
    assert isinstance(issue(replace(other, vault=slow), **not_old), Waiting)
    assert isinstance(issue(other, **not_old), Issued)
    assert len(world.vault.kept[LEAF].versions) == 2


class Killed(BaseException):
    """The host is gone."""


class Mortal:
    """The vault, and the host dying before or after one of the calls to it."""

    def __init__(self, vault: Any, fatal: int, *, before: bool) -> None:
        self._vault, self._fatal, self._before = vault, fatal, before
        self.calls = count()
        self.reached = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._vault, name)

        def call(*arguments: Any) -> Any:
            fatal = next(self.calls) == self._fatal
            if fatal and self._before:
                self.reached = True
                raise Killed
            result = method(*arguments)
            if fatal:
                self.reached = True
                raise Killed
            return result

        return call


def deaths() -> Iterator[tuple[int, bool]]:
    """Every call to the vault, before and after it; the test says when there are no more."""
    for number in count():
        yield number, True
        yield number, False


def test_whatever_dies_in_between_one_leaf_comes_of_it():
    tried = 0
    for number, before in deaths():
        world = a_world()
        old = set_up(world)
        mortal = Mortal(world.vault, number, before=before)
        with suppress(Killed):
            issue(replace(world.services, vault=mortal), instead_of={old.sha256_thumbprint})
        if not mortal.reached:
            break
        tried += 1
        found = issue(world.services, instead_of={old.sha256_thumbprint})
        assert isinstance(found, Issued), (number, before, found)
        assert len(world.vault.kept[LEAF].versions) == 2
        assert world.vault.asked == 1
        assert world.vault.kept[LEAF].waiting is None
    assert tried >= 16, "the deaths were not met"


def test_a_ca_that_the_vault_does_not_hold_is_named(world):
    old = set_up(world)
    del world.vault.kept[ISSUING]
    with pytest.raises(BadInput, match="holds no certificate 'issuing-ca', which is to issue 'dev-01-cert'"):
        issue(world.services, instead_of={old.sha256_thumbprint})
    assert world.vault.asked == 0, "nothing is begun that cannot be ended"


def test_what_must_not_be_issued_is_not(world):
    set_up(world)
    world.vault.issue(LEAF)
    world.vault.kept[ISSUING].enabled = False
    with pytest.raises(BadInput, match="must not issue 'dev-01-cert': the issuer is disabled in the vault"):
        sign_request(LEAF, ISSUING, world.services, common_name="dev-01")
    world.vault.kept[ISSUING].enabled = True
    with pytest.raises(BadInput, match="not for 'dev-02'"):
        sign_request(LEAF, ISSUING, world.services, common_name="dev-02")
    assert len(world.vault.kept[LEAF].versions) == 1


def test_a_ca_that_was_reported_compromised_signs_nothing_until_it_has_a_new_version(world):
    """Its group lets in nobody with what it signs, and the device would have given up what it had."""
    old = set_up(world)
    world.vault.kept[ISSUING].tags[GROUP_TAG] = GROUP
    stolen = world.vault.kept[ISSUING].versions[-1]
    breach = a_breach(Work.EVICT, outgoing=as_outgoing(stolen))
    breach = replace(breach, incident=replace(breach.incident, compromised=(as_outgoing(stolen),)))
    world.services.ledger.begin(breach, None, History(NOW, "test", "started", "for a test"))
    with pytest.raises(BadInput, match="was reported compromised"):
        issue(world.services, instead_of={old.sha256_thumbprint})
    assert len(world.vault.kept[LEAF].versions) == 1
    world.vault.issue(ISSUING)
    world.clock.advance(timedelta(days=600))
    sign_request(ISSUING, ROOT, world.services, common_name="Fleet Issuing CA", ca=True)
    issued = issue(world.services, instead_of={old.sha256_thumbprint})
    assert isinstance(issued, Issued)
    assert issued_by(issued.latest.certificate, world.vault.kept[ISSUING].versions[-1])


def test_without_a_request_there_is_nothing_to_sign(world):
    set_up(world)
    with pytest.raises(NotFound, match="no signing request"):
        sign_request(LEAF, ISSUING, world.services, common_name="dev-01")


def test_an_intermediate_is_issued_by_the_root(world):
    set_up(world)
    world.vault.issue(ISSUING)
    world.clock.advance(timedelta(days=600))
    sign_request(ISSUING, ROOT, world.services, common_name=common_name_of(ISSUING, world.services), ca=True)
    new = world.vault.kept[ISSUING].versions[-1]
    parsed = x509.load_der_x509_certificate(new.der)
    assert (new.is_ca, new.common_name) == (True, "Fleet Issuing CA")
    assert parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert world.vault.chains[new.sha256_thumbprint] == [], "above it is only the root"


def test_a_parent_that_has_not_issued_the_ca_is_not_sent_along(world):
    """The root was rolled; the issuing CA is still of the root before."""
    old = set_up(world)
    key = p256()
    keep(world, "middle", made("Fleet Root", key, by=(made("Above", key), key)), key, new=p256)
    world.vault.kept[ISSUING].tags = {"rollover-ca": "middle"}
    found = issue(world.services, instead_of={old.sha256_thumbprint})
    assert isinstance(found, Issued)
    assert world.vault.chains[found.latest.certificate.sha256_thumbprint] == [
        world.vault.kept[ISSUING].versions[-1].der
    ]


def test_tags_that_go_round_in_a_circle_end(world):
    old = set_up(world)
    key = p256()
    one, other = made("One", key), made("Other", key)
    crossed = made("One", key, by=(other, key)), made("Other", key, by=(one, key))
    keep(world, ISSUING, crossed[0], key, ca="other", new=p256)
    keep(world, "other", crossed[1], key, ca=ISSUING, new=p256)
    assert isinstance(issue(world.services, instead_of={old.sha256_thumbprint}), Issued)


@KINDS
def test_the_proof_of_possession_is_a_certificate_for_the_code(world, make_key):
    set_up(world, make_key)
    pem = proof_of_possession("7D07A6A51F8AF146", ROOT, "v1", world.services)
    proof = x509.load_pem_x509_certificate(pem.encode())
    root = world.vault.kept[ROOT].versions[0]
    assert proof.subject.rfc4514_string() == "CN=7D07A6A51F8AF146"
    proof.verify_directly_issued_by(x509.load_der_x509_certificate(root.der))
    assert "PRIVATE" not in pem
