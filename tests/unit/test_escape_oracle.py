"""No open way is missed in any small world: the product, which sees names only, against an oracle that knows all."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from local.azure.clock import Clock
from local.azure.dps import chains
from local.azure.dps.admission import Admissions
from local.azure.dps.ca_certificates import CaCertificate, CaCertificates
from local.azure.dps.enrollments import Enrollments
from local.azure.dps.entries import Surroundings
from local.azure.dps.groups import Groups
from local.azure.dps.refusals import Unauthorized
from local.azure.dps.showing import entry_json
from local.azure.dps.stamps import Stamps
from local.azure.iothub.admission import reason_to_refuse
from local.azure.iothub.identities import authentication
from local.azure.knobs import Knobs
from local.azure.x509 import certificate_info
from shared.certificate import Outgoing
from shared.enrollment import Enrolled, Enrollment, HubIdentity, Slot, parse_enrollment
from shared.escape import Route, escape_routes
from shared.group import Group, parse_group
from tests.certificates import NOW
from tests.unit.escape_worlds import (
    CAS,
    EVERYTHING,
    TARGET,
    AtDps,
    AtHub,
    Holder,
    Identity,
    Trust,
    Unknown,
    open_at_dps,
    open_at_hub,
    shares_a_certificate,
    worlds_at_dps,
    worlds_at_hub,
)

SAMPLE = 300
SHA1, SHA256 = "5" * 40, "A" * 64
KNOWN = (True, False)
"""Whether the names in the stolen certificate are known."""


# --- a world as the product sees it: names, never certificates or signatures ------------------------------------


@cache
def _leaf(signer: str, common_name: str, known: bool) -> Outgoing:
    subject = f"CN={common_name}"
    issuer = subject if signer == "itself" else f"CN={CAS[signer].subject}"
    return Outgoing(SHA1, SHA256, NOW, None, *((subject, issuer) if known else ()))


def _names_of(ca: str) -> Enrolled:
    return Enrolled(ca, ca, NOW, f"CN={CAS[ca].subject}", f"CN={CAS[ca].issuer}")


@cache
def _group(number: int, trust: Trust) -> Group:
    """A CA reference is the same text whatever it means."""
    slots = [*map(_names_of, trust.signing), None, None]
    references = {Slot.PRIMARY: "a-ca" if trust.reference else None, Slot.SECONDARY: None}
    return Group(f"g{number}", trust.enabled, "x509", dict(zip(Slot, slots, strict=False)), references, "etag", {})


def _enrollment(registration_id: str, enabled: bool) -> Enrollment:
    slots = {Slot.PRIMARY: Enrolled(SHA1, SHA256, NOW), Slot.SECONDARY: None}
    return Enrollment(registration_id, registration_id, "etag", enabled, "x509", None, slots, None, {})


OWN = _enrollment(TARGET, True)
"""As it was before the certificate was taken out: the answer must be for the world after."""


@cache
def _held(holder: Holder) -> Enrollment:
    return _enrollment(holder.registration_id, holder.enabled)


@cache
def _identity(identity: Identity) -> HubIdentity:
    kind = "certificateAuthority" if identity.shows == "ca" else "selfSigned"
    pinned = {"sha1": SHA1, "sha256": SHA256, "another": "B" * 64, "ca": None}[identity.shows]
    return HubIdentity(identity.device_id, "etag", identity.enabled, kind, pinned, None)


def _told_at_dps(leaf: Outgoing, trusts: tuple[Trust, ...], holder: Holder | None) -> dict[str, bool]:
    others = [_held(holder)] if holder else []
    groups = [_group(number, trust) for number, trust in enumerate(trusts)]
    return _as_map(
        escape_routes(
            [leaf],
            registration_id="DEV-01",
            enrollments=[OWN, *others],
            groups=groups,
            device_id=TARGET,
        )
    )


@cache
def _told_at_hub(leaf: Outgoing, identities: tuple[Identity, ...]) -> dict[str, bool]:
    return _as_map(
        escape_routes(
            [leaf],
            registration_id=TARGET,
            enrollments=[OWN],
            groups=[],
            identities=map(_identity, identities),
            device_id=TARGET,
        )
    )


def _as_map(routes: Iterable[Route]) -> dict[str, bool]:
    return {route.name: route.certain for route in routes}


# --- the comparison ---------------------------------------------------------------------------------------------


class Tally:
    """What was told against what is open, in every world and in all worlds that look the same."""

    def __init__(self) -> None:
        self.compared = 0
        self.missed: list[Any] = []
        self.told: Counter[bool] = Counter()
        self.false: Counter[bool] = Counter()
        self._views: dict[Any, tuple[dict[str, bool], set[str]]] = {}

    def compare(self, world: Any, view: Any, told: dict[str, bool], really: frozenset[str]) -> None:
        self.compared += 1
        if not really <= told.keys():
            self.missed.append((world, really - told.keys()))
        for name, certain in told.items():
            self.told[certain] += 1
            self.false[certain] += name not in really
        self._views.setdefault(view, (told, set()))[1].update(really)

    def needless(self) -> list[Any]:
        """What was told and is open in no world that looks the same: knowing more of nothing would be needed."""
        return [(view, told) for view, (told, somewhere) in self._views.items() if told.keys() - somewhere]

    def print(self, what: str) -> None:
        rates = ", ".join(
            f"{word} {self.false[certain]:,} of {self.told[certain]:,} ({self.false[certain] / self.told[certain]:.1%})"
            for certain, word in ((True, "certain"), (False, "may"))
        )
        print(
            f"\n{what}: {self.compared:,} configurations, {len(self.missed)} missed; told but closed: {rates};"
            f" {len(self._views):,} different views, in {len(self.needless())} of them something needless is told"
        )


def _seen(trusts: tuple[Trust, ...]) -> tuple[Any, ...]:
    """What can be told of groups without knowing whose key is in a certificate and what a CA reference means."""
    return tuple(
        (trust.enabled, bool(trust.reference), *((CAS[ca].subject, CAS[ca].issuer) for ca in trust.signing))
        for trust in trusts
    )


def _compare_at_dps(tally: Tally, usual: list[tuple[bool, AtDps]]) -> None:
    same, told = None, {}
    for world in worlds_at_dps():
        visible = (world.leaf, world.common_name, world.groups, world.holder)
        if visible != same:
            leaves = [_leaf(world.leaf, world.common_name, known) for known in KNOWN]
            told = {
                (leaf, _seen(world.groups), world.holder): _told_at_dps(leaf, world.groups, world.holder)
                for leaf in leaves
            }
            same = visible
        really = open_at_dps(world)
        for view, routes in told.items():
            tally.compare(world, view, routes, really)
            if _is_usual(world):
                surely = open_at_dps(world, disabled_first=True)
                usual += [(name in surely, world) for name, certain in routes.items() if certain]


def _is_usual(world: AtDps) -> bool:
    """Names tell the truth, the thief has every CA certificate, every CA is verified, DPS is as believed."""
    truthful = not any("namesake" in trust.signing for trust in world.groups)
    return truthful and world.unknown == Unknown() and (world.bag, world.verified) == EVERYTHING


def test_no_way_through_dps_is_missed_in_any_small_world() -> None:
    """And what is told as certain is open wherever names tell the truth; what is told at all could be open."""
    tally, usual = Tally(), []
    _compare_at_dps(tally, usual)
    closed = [world for is_open, world in usual if not is_open]
    tally.print("ways through DPS")
    print(f"certain ones where names tell the truth: {len(usual):,}, of which {len(closed)} closed")
    assert tally.compared >= 10_000
    assert tally.missed[:3] == []
    assert usual
    assert closed[:3] == []
    assert tally.needless()[:3] == []


def test_no_hub_identity_is_missed_in_any_small_world() -> None:
    tally = Tally()
    for world in worlds_at_hub():
        really = open_at_hub(world)
        for known in KNOWN:
            leaf = _leaf(world.leaf, world.common_name, known)
            tally.compare(world, (leaf, world.identities), _told_at_hub(leaf, world.identities), really)
    tally.print("ways at the hub")
    assert tally.compared >= 10_000
    assert tally.missed[:3] == []
    assert tally.false[True] == 0
    assert tally.needless()[:3] == []


# --- the oracle and the product against the stand-in, with real certificates ------------------------------------


@cache
def _keys(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _made(subject: str, issuer: str, key: str, signer: str, *, ca: bool) -> x509.Certificate:
    subject_name, issuer_name = (x509.Name.from_rfc4514_string(f"CN={name}") for name in (subject, issuer))
    now = datetime.now(UTC)
    begins, ends = now - timedelta(hours=1), now + timedelta(days=1)
    public, serial = _keys(key).public_key(), x509.random_serial_number()
    return (
        x509.CertificateBuilder(issuer_name, subject_name, public, serial, begins, ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(_keys(signer), hashes.SHA256())
    )


@cache
def _ca(name: str) -> x509.Certificate:
    ca = CAS[name]
    return _made(ca.subject, ca.issuer, ca.key, ca.signer, ca=True)


@cache
def _real_leaf(signer: str, common_name: str) -> x509.Certificate:
    if signer == "itself":
        return _made(common_name, common_name, "leaf", "leaf", ca=False)
    return _made(common_name, CAS[signer].subject, "leaf", CAS[signer].key, ca=False)


def _pem(certificate: x509.Certificate) -> dict[str, str]:
    return {"certificate": certificate.public_bytes(Encoding.PEM).decode()}


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


class StandInDps:
    """The stand-in's own entries and rules, set up as a world says."""

    def __init__(self, world: AtDps) -> None:
        self.world = world
        self.clock = Clock()
        self.knobs = Knobs(
            same_certificate_in_two_enrollments="allow",
            enrollment_claims_registration_id=world.unknown.claims,
            individual_leaf_needs_verified_ca=world.unknown.needs_ca,
        )
        cas = CaCertificates()
        around = Surroundings(self.clock, self.knobs, Stamps(self.clock), cas, {})
        self.enrollments, self.groups = (kind(around, lambda *_: None) for kind in (Enrollments, Groups))
        self.admissions = Admissions(self.enrollments, self.groups, cas, self.knobs)
        for name in {*world.verified, *(trust.reference for trust in world.groups if trust.reference)}:
            cas.put(CaCertificate(name, _der(_ca(name)), verified=name in world.verified))
        self._enroll(TARGET, _made(TARGET, TARGET, "successor", "successor", ca=False), enabled=True)
        if world.holder:
            self._enroll(world.holder.registration_id, self.leaf, enabled=world.holder.enabled)
        for number, trust in enumerate(world.groups):
            self._put_group(f"g{number}", trust)

    @property
    def leaf(self) -> x509.Certificate:
        return _real_leaf(self.world.leaf, self.world.common_name)

    def _enroll(self, registration_id: str, certificate: x509.Certificate, *, enabled: bool) -> None:
        trusted = {"clientCertificates": {"primary": _pem(certificate)}}
        self.enrollments.put(registration_id, _body("registrationId", registration_id, trusted, enabled), None)

    def _put_group(self, group_id: str, trust: Trust) -> None:
        slots = dict(zip(("primary", "secondary"), (_pem(_ca(name)) for name in trust.signing), strict=False))
        trusted = {"caReferences": {"primary": trust.reference}} if trust.reference else {"signingCertificates": slots}
        self.groups.put(group_id, _body("enrollmentGroupId", group_id, trusted, trust.enabled), None)

    def open(self) -> frozenset[str]:
        """What a thief finds who tries every chain."""
        bag = [_der(_ca(name)) for name in self.world.bag]
        found = set()
        for shown in _orders([_der(self.leaf)], bag):
            try:
                admission = self.admissions.admit(self.world.common_name.upper(), shown, self.clock.now())
            except Unauthorized:
                continue
            if admission.entry.enabled:
                kind = "enrollment" if admission.kind == "Enrollment" else "group"
                found.add(f"{kind} {admission.entry.id}")
        return frozenset(found)

    def told(self) -> dict[str, bool]:
        """What the product makes of what the stand-in's API shows."""
        info = certificate_info(_der(self.leaf))
        compromised = Outgoing(
            info["sha1Thumbprint"], info["sha256Thumbprint"], NOW, None, info["subjectName"], info["issuerName"]
        )
        shown = [
            [entry_json(kind, entry, self.knobs, "2021-10-01", keys=False) for _, entry in kind.all()]
            for kind in (self.enrollments, self.groups)
        ]
        return _as_map(
            escape_routes(
                [compromised],
                registration_id=TARGET,
                enrollments=map(parse_enrollment, shown[0]),
                groups=map(parse_group, shown[1]),
                device_id=TARGET,
            )
        )


def _orders(shown: list[bytes], bag: list[bytes]) -> Iterator[list[bytes]]:
    """Every order of some of the bag that is a chain; in any other the rest is not looked at."""
    if len(chains.path(shown, [])) == len(shown):
        yield shown
        for one in bag:
            yield from _orders([*shown, one], [other for other in bag if other != one])


def _body(member: str, entry_id: str, trusted: dict[str, Any], enabled: bool) -> dict[str, Any]:
    return {
        member: entry_id,
        "attestation": {"type": "x509", "x509": trusted},
        "provisioningStatus": "enabled" if enabled else "disabled",
    }


def test_the_stand_in_agrees_with_the_oracle_and_misses_nothing_by_the_product() -> None:
    """A seeded sample of the same worlds. At a certificate that two groups share, the stand-in asks one of them."""
    believed = [world for world in worlds_at_dps() if not world.unknown.passes_over]
    open_somewhere = [world for world in believed if open_at_dps(world)]
    chosen = random.Random(20261124)
    sample = chosen.sample(believed, SAMPLE // 2) + chosen.sample(open_somewhere, SAMPLE // 2)
    shared = 0
    for world in sample:
        dps = StandInDps(world)
        really = dps.open()
        assert really <= dps.told().keys(), world
        if shares_a_certificate(world):
            shared += 1
            assert really <= open_at_dps(world), world
        else:
            assert really == open_at_dps(world), world
    print(f"\nworlds played on the stand-in: {len(sample)}, of which {shared} with two groups at one certificate")


@pytest.mark.parametrize("shows", ["sha1", "sha256", "another", "ca"])
@pytest.mark.parametrize("enabled", [True, False])
def test_the_stand_in_agrees_with_the_oracle_about_a_hub_identity(shows: str, enabled: bool) -> None:
    """Identities of type certificateAuthority it lets nobody in by; there the oracle has only the documentation."""
    leaf = _der(_real_leaf("middle", "dev-02"))
    info = certificate_info(leaf)
    pinned = {"sha1": info["sha1Thumbprint"], "sha256": info["sha256Thumbprint"], "another": "B" * 64}.get(shows)
    given = {"type": "selfSigned", "x509Thumbprint": {"secondaryThumbprint": pinned}} if pinned else {}
    identity = {
        "status": "enabled" if enabled else "disabled",
        "authentication": authentication(given or {"type": "certificateAuthority"}),
    }
    world = AtHub("middle", "dev-02", (Identity("dev-03", enabled, shows),), (), (), ignores_case=False)
    accepted = reason_to_refuse(identity, [leaf], datetime.now(UTC)) is None
    assert accepted == bool(open_at_hub(world))
