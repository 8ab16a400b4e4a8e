"""By which other ways devices under a compromised CA would get in."""

from dataclasses import replace
from typing import Any

from shared.authority import DpsCertificate
from shared.certificate import Certificate, Outgoing, parse_certificate
from shared.enrollment import Enrolled, Slot
from shared.escape_ca import routes_of_ca, users_of
from shared.group import Group
from tests.builders import as_outgoing
from tests.certificates import a_ca
from tests.group_story import NEW_CA, OLD_CA, ROOT, THE_ROOT

RENEWED = parse_certificate(a_ca("Line CA", THE_ROOT, key=(_key := a_ca()).key).der)
STOLEN = parse_certificate(a_ca("Line CA", THE_ROOT, key=_key.key).der)
OTHER = parse_certificate(a_ca("Line CA", THE_ROOT).der)
BELOW = parse_certificate(a_ca("Cell CA", replace(_key, der=STOLEN.der)).der)
STRANGER = parse_certificate(a_ca("Elsewhere").der)


def enrolled(one: Certificate) -> Enrolled:
    return Enrolled(one.sha1_thumbprint, one.sha256_thumbprint, one.not_after, one.subject, one.issuer)


def a_group(name: str, *signing: Certificate, names: tuple[str, ...] = (), enabled: bool = True) -> Group:
    slots = dict(zip(Slot, [*map(enrolled, signing), None, None], strict=False))
    references = dict(zip(Slot, [*names, None, None], strict=False))
    return Group(name, enabled, "x509", slots, references, "e", {})


def known(name: str, one: Certificate) -> DpsCertificate:
    return DpsCertificate(name, one, verified=True, etag="e")


def stolen() -> Outgoing:
    return replace(as_outgoing(STOLEN), subject=STOLEN.subject, issuer=STOLEN.issuer)


TARGET = a_group("line-1", STOLEN)
DPS = (known("root", ROOT), known("elsewhere", STRANGER))


def routes(*others: Group, group: Group = TARGET, **parts: Any) -> dict[str, bool]:
    how = {"authorities": DPS, "latest": None, "good": None, "by_authority": (), "about_to_go": False, **parts}
    return {one.name: one.certain for one in routes_of_ca((stolen(),), group=group, others=others, **how)}


def test_a_group_that_trusts_the_ca_itself_lets_in():
    assert routes(a_group("g", STOLEN)) == {"group g": True}
    assert routes(a_group("g", names=("line",)), authorities=(*DPS, known("line", STOLEN))) == {"group g": True}


def test_a_disabled_group_and_a_group_of_another_ca_do_not():
    assert routes(a_group("g", STOLEN, enabled=False), a_group("h", STRANGER), a_group("i", names=("elsewhere",))) == {}


def test_another_certificate_of_the_same_key_lets_in_and_one_of_the_same_name_may():
    """Who has the key can issue under every certificate of it. DPS tells no keys, only names."""
    assert routes(a_group("g", names=("renewed",)), authorities=(*DPS, known("renewed", RENEWED))) == {"group g": True}
    assert routes(a_group("g", RENEWED)) == {"group g": False}
    assert routes(a_group("g", OTHER)) == {"group g": False}
    assert routes(a_group("g", OTHER), latest=OTHER) == {}, "the vault knows that its key is another"
    assert routes(a_group("g", OTHER), good=OTHER) == {}, "it was compared when it was chosen"


def test_a_certificate_that_the_ca_issued_may_not_be_vouched_for():
    assert routes(a_group("g", BELOW)) == {"group g": False}


def test_a_group_above_lets_in_only_when_the_ca_is_out_of_the_disabled_group():
    """azure-docs how-to-revoke-device-access-portal: the first entry found decides, enabled or disabled."""
    above = a_group("g", names=("root",))
    assert routes(above) == {}
    assert routes(above, about_to_go=True) == {"group g": True}
    assert routes(above, group=a_group("line-1", NEW_CA), latest=NEW_CA) == {"group g": True}
    blocking = a_group("blocked", STOLEN, enabled=False)
    assert routes(above, blocking, about_to_go=True) == {"group g": False}, "which is found first cannot be told"


def test_a_ca_whose_issuer_is_not_known_may_be_under_any_group_s_root():
    assert routes(a_group("g", names=("elsewhere",)), authorities=DPS[1:], about_to_go=True) == {"group g": False}


def test_the_group_itself_may_let_in_by_its_other_slot():
    itself = a_group("line-1", STOLEN, ROOT)
    assert routes(group=itself) == {}
    assert routes(group=itself, about_to_go=True) == {"group line-1": True}


def test_identities_that_any_certificate_opens_are_a_way_at_the_hub():
    assert routes(by_authority=("a", "b")) == {"hub identities by CA": False}


def test_who_needs_a_ca_certificate_of_the_dps():
    there = (known("line", STOLEN), *DPS)
    others = (a_group("g", names=("LINE",)), a_group("h", BELOW), a_group("i", STRANGER), a_group("j", STOLEN))
    assert users_of((stolen(),), others, there) == (
        "group g names it",
        "group h trusts a certificate that it issued",
    )
    assert users_of((stolen(),), others, DPS) == ()


def test_the_story_s_ca_is_under_its_root():
    assert (OLD_CA.issuer, ROOT.subject) == ("CN=Root", "CN=Root")
