"""Whether a group admits a device by its certificate: the chain reaches what it trusts, or the link is named."""

from datetime import timedelta

import pytest

from shared.authority import DpsCertificate
from shared.certificate import Certificate, parse_certificate
from shared.chain_of_trust import Trust, path_of, problems_of_chain
from shared.enrollment import Enrolled
from tests.certificates import NOW, Made, a_ca

DAY = timedelta(days=1)
ROOT = a_ca("Root", ends=NOW + 3650 * DAY)
LINE, OTHER_LINE = a_ca("Line CA", ROOT), a_ca("Line CA", ROOT)
SITE = a_ca("Site CA", LINE)
DEAD = a_ca("Site CA", LINE, starts=NOW - 30 * DAY, ends=NOW - DAY)


def parsed(made: Made) -> Certificate:
    return parse_certificate(made.der)


def enrolled(made: Made) -> Enrolled:
    one = parsed(made)
    return Enrolled(one.sha1_thumbprint, one.sha256_thumbprint, one.not_after, one.subject, one.issuer)


def problems(issuer: Made, known: tuple[Made, ...], *, verified: bool = True, by_reference: bool = False) -> list[str]:
    """Of a leaf by ``issuer``, where the group trusts LINE."""
    there = (DpsCertificate("line" if by_reference else "root", parsed(LINE if by_reference else ROOT), verified, "e"),)
    trust = Trust(there, by_reference, NOW, timedelta(minutes=5))
    leaf = parsed(a_ca("pump-1", issuer, ca=False))
    return problems_of_chain(leaf, [parsed(one) for one in known], [enrolled(LINE)], trust)


@pytest.mark.parametrize("by_reference", [False, True])
def test_a_leaf_under_the_anchor_gets_in_also_through_another_ca_between(by_reference):
    assert problems(LINE, (LINE,), by_reference=by_reference) == []
    assert problems(SITE, (SITE, LINE), by_reference=by_reference) == []


def test_a_name_alone_is_no_link():
    """Same subject, another key."""
    assert "issued it" in problems(OTHER_LINE, (LINE,))[0]


@pytest.mark.parametrize(
    ("issuer", "known", "options", "said"),
    [
        (OTHER_LINE, (OTHER_LINE,), {}, "the group trusts CN=Line CA, and not the CA certificate CN=Line CA (SHA-256"),
        (SITE, (SITE,), {}, "and not the CA certificate CN=Site CA"),
        (DEAD, (DEAD, LINE), {}, "of CN=Site CA above it: it expired on"),
        (LINE, (LINE,), {"verified": False}, "of CN=Line CA, which the group trusts: its issuer CN=Root"),
        (LINE, (LINE,), {"verified": False, "by_reference": True}, "it is not verified in the DPS"),
        (LINE, (), {}, "no CA certificate that issued it"),
    ],
)
def test_the_missing_link_is_named(issuer, known, options, said):
    found = problems(issuer, known, **options)
    assert len(found) == 1
    assert said in found[0]


def test_a_path_goes_as_far_as_is_known_and_a_root_ends_it():
    known = [parsed(one) for one in (ROOT, LINE, SITE, OTHER_LINE)]
    leaf = parsed(a_ca("pump-1", SITE, ca=False))
    assert path_of(leaf, known) == [parsed(SITE), parsed(LINE), parsed(ROOT)]
