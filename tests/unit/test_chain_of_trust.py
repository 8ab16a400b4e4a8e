"""What a group may trust: every chain that DPS would refuse is refused before anything is written, with the missing
link named; and none that DPS takes is refused without a reason.
"""

import itertools
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from local.azure.dps.admission import Admissions
from local.azure.dps.ca_certificates import CaCertificate, CaCertificates
from local.azure.dps.refusals import Unauthorized
from local.azure.knobs import Knobs
from local.azure.x509 import sha256_thumbprint
from shared.authority import DpsCertificate
from shared.certificate import Certificate, Outgoing, parse_certificate
from shared.chain_of_trust import Trust, problems_of_anchor
from tests.builders import as_outgoing
from tests.certificates import NOW, Made, a_ca, a_certificate

YEARS = timedelta(days=3650)
THE_ROOT = a_ca("Root", ends=NOW + YEARS)
OTHER_ROOT = a_ca("Root", ends=NOW + YEARS)
MIDDLE = a_ca("Middle", THE_ROOT, ends=NOW + YEARS)
OLD = a_ca("Line CA", THE_ROOT)


def parsed(made: Made) -> Certificate:
    return parse_certificate(made.der)


def in_dps(made: Made, name: str = "ca", *, verified: bool = True, shown: bool = True) -> DpsCertificate:
    certificate = parsed(made)
    hidden = {"thumbprint": certificate.sha1_thumbprint, "common_name": str(certificate.common_name)}
    return DpsCertificate(name, certificate if shown else None, verified, "e1", **({} if shown else hidden))


def outgoing(made: Made = OLD) -> Outgoing:
    return replace(as_outgoing(parsed(made)), subject=parsed(made).subject)


def problems(made: Made, *there: DpsCertificate, by_reference: bool = False, leaving: Made = OLD) -> list[str]:
    trust = Trust(there, by_reference, NOW, timedelta(minutes=5))
    return problems_of_anchor(parsed(made), (outgoing(leaving),), trust)


def test_an_intermediate_under_a_verified_root_may_take_over():
    assert problems(a_ca("Line CA", THE_ROOT), in_dps(THE_ROOT)) == []


def test_one_that_is_itself_verified_may():
    made = a_ca("Line CA", THE_ROOT)
    assert problems(made, in_dps(made)) == []


def test_a_root_that_is_named_needs_nobody_above():
    assert problems(a_ca("Line Root"), by_reference=True) == []
    assert problems(a_ca("Line CA", THE_ROOT), by_reference=True) == []


WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
REFUSED: dict[str, tuple[Made, list[DpsCertificate], str]] = {
    "its issuer is not in the DPS": (
        a_ca("Line CA", THE_ROOT),
        [],
        "its issuer CN=Root is not among the verified CA certificates of the DPS: upload and verify",
    ),
    "a link is missing between it and the root": (
        a_ca("Line CA", MIDDLE),
        [in_dps(THE_ROOT)],
        "its issuer CN=Middle is not among the verified",
    ),
    "its issuer is not verified": (
        a_ca("Line CA", THE_ROOT),
        [in_dps(THE_ROOT, "plant-root", verified=False)],
        "its issuer CN=Root, in the DPS as 'plant-root', is not verified: verify it",
    ),
    "it is in the DPS itself and not verified": (OLD, [in_dps(OLD, verified=False)], "not verified: verify it"),
    "another CA of the issuer's name is there": (
        a_ca("Line CA", THE_ROOT),
        [in_dps(OTHER_ROOT, "plant-root")],
        "'plant-root' of the DPS has its issuer's name, CN=Root, and did not sign it",
    ),
    "a root of its own": (a_ca("New Root"), [in_dps(THE_ROOT)], "it is a root of its own (CN=New Root)"),
    "a leaf": (a_ca("dev-01", THE_ROOT, ca=False), [in_dps(THE_ROOT)], "it is not a CA certificate"),
    "without basic constraints": (a_ca("x", THE_ROOT, ca=None), [in_dps(THE_ROOT)], "no basic constraints"),
    "a CA that may not sign": (a_ca("x", THE_ROOT, signs=False), [in_dps(THE_ROOT)], "lacks keyCertSign"),
    "expired": (a_ca("x", THE_ROOT, ends=NOW - timedelta(days=1)), [in_dps(THE_ROOT)], "it expired on"),
    "not valid yet": (
        a_ca("x", THE_ROOT, starts=NOW + timedelta(days=1), ends=NOW + timedelta(days=9)),
        [in_dps(THE_ROOT)],
        "it is not valid before",
    ),
    "a weak key": (a_ca("x", THE_ROOT, key=WEAK), [in_dps(THE_ROOT)], "its key is RSA-1024"),
    "the outgoing key under another name": (
        a_ca("New name", THE_ROOT, key=OLD.key),
        [in_dps(THE_ROOT)],
        "the devices' certificates name the old one as their issuer",
    ),
}
SHORT = a_ca("Short", ends=NOW + YEARS, path_length=0)
DEAD = a_ca("Dead", starts=NOW - YEARS, ends=NOW - timedelta(days=1))
MUTE = a_ca("Mute", ends=NOW + YEARS, signs=False)
FRAIL = a_ca("Frail", ends=NOW + YEARS, key=WEAK)
REFUSED |= {
    "under a CA of path length 0": (
        a_ca("x", SHORT),
        [in_dps(SHORT)],
        "its issuer CN=Short, in the DPS as 'ca', allows no CA certificate below it (path length 0)",
    ),
    "under an expired root": (a_ca("x", DEAD), [in_dps(DEAD)], "in the DPS as 'ca', expired on"),
    "under a root with a weak key": (a_ca("x", FRAIL), [in_dps(FRAIL)], "in the DPS as 'ca', its key is RSA-1024"),
    "under a root that may not sign": (a_ca("x", MUTE), [in_dps(MUTE)], "may not sign certificates"),
}


@pytest.mark.parametrize(("made", "there", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_and_the_refusal_names_what_is_wrong(made, there, said):
    assert said in "; ".join(problems(made, *there))


def test_a_named_ca_is_refused_for_what_it_is_itself():
    for kind in ("a leaf", "a CA that may not sign", "expired", "a weak key"):
        made, _, said = REFUSED[kind]
        assert said in "; ".join(problems(made, by_reference=True))


def test_a_ca_that_resource_manager_does_not_show_counts_by_its_name():
    """Recorded of azure-cli, 2021 and 2022: properties.certificate is null. A signature cannot be checked then."""
    made = a_ca("Line CA", THE_ROOT)
    assert problems(made, in_dps(THE_ROOT, shown=False)) == []
    assert problems(made, in_dps(MIDDLE, shown=False)) != []
    assert problems(made, in_dps(THE_ROOT, shown=False, verified=False)) != []
    assert problems(made, in_dps(made, shown=False)) == []


# --- against the stand-in's rules -------------------------------------------------------------------------------

KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]


@dataclass(frozen=True)
class World:
    """A CA above, perhaps one between, and the anchor."""

    root: Made
    middle: Made | None
    anchor: Made


@cache
def world(kind: str, at: str) -> World:
    """One where ``kind`` is the matter with the certificate ``at`` root, middle or anchor."""
    wrong: dict[str, Any] = {
        "good": {},
        "no CA": {"ca": False},
        "no constraints": {"ca": None},
        "expired": {"starts": NOW - YEARS, "ends": NOW - timedelta(days=1)},
        "may not sign": {"signs": False},
        "path length 0": {"path_length": 0},
        "path length 1": {"path_length": 1},
        "self-signed": {},
    }[kind]
    made: list[Made] = []
    for number, where in enumerate(("root", "middle", "anchor")):
        parts = {"ends": NOW + YEARS, **(wrong if where == at else {})}
        issuer = None if not made or (kind == "self-signed" and where == at) else made[-1]
        made.append(a_ca(where.title(), issuer, key=KEYS[number], **parts))
    return World(*made)


KINDS = ("good", "no CA", "no constraints", "expired", "may not sign", "path length 0", "path length 1", "self-signed")
STRICTER = ("path length", "keyCertSign", "smaller than")
"""What DPS is not known to look at, and OpenSSL, on devices and elsewhere, does."""


def admits(chain: World, there: list[tuple[Made, bool]]) -> bool:
    """Whether the stand-in lets in a device under the anchor that shows its leaf and the anchor."""
    authorities = CaCertificates()
    for number, (made, verified) in enumerate(there):
        authorities.put(CaCertificate(f"ca-{number}", made.der, verified))
    thumbprint = sha256_thumbprint(chain.anchor.der)
    entry = SimpleNamespace(id="line-1", enabled=True)
    groups: Any = SimpleNamespace(kind="group", trusting=lambda found, *_: [entry] if found == thumbprint else [])
    enrollments: Any = SimpleNamespace(kind="enrollment", find=lambda *_: None, holding=lambda *_: [])
    leaf = a_ca("dev-01", chain.anchor, ca=False)
    try:
        Admissions(enrollments, groups, authorities, Knobs()).admit("dev-01", [leaf.der, chain.anchor.der], NOW)
    except Unauthorized:
        return False
    return True


def test_whatever_dps_would_refuse_is_refused_before_anything_is_written():
    """And what it takes is refused only for what it is not known to look at. Seeded, over small hierarchies."""
    chance = random.Random(20261125)
    kinds = (
        "good",
        "no CA",
        "no constraints",
        "expired",
        "may not sign",
        "path length 0",
        "path length 1",
        "self-signed",
    )
    cases = list(itertools.product(kinds, ("root", "middle", "anchor"), range(9)))
    taken = refused = 0
    for kind, at, which in chance.sample(cases, 120):
        chain = world(kind, at)
        uploaded = [[], [chain.root], [chain.middle], [chain.anchor], [chain.root, chain.middle]][which % 5]
        there = [(made, which < 7) for made in uploaded]
        found = problems(chain.anchor, *(in_dps(made, f"ca-{n}", verified=v) for n, (made, v) in enumerate(there)))
        if admits(chain, there):
            taken += 1
            assert all(any(word in one for word in STRICTER) for one in found), (kind, at, which, found)
        else:
            refused += 1
            assert found, (kind, at, which)
    assert taken > 15
    assert refused > 40


def test_a_certificate_that_is_no_ca_at_all_is_refused():
    assert "it is not a CA certificate" in "; ".join(problems(a_certificate("dev-01"), in_dps(THE_ROOT)))
