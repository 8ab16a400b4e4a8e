"""Small worlds in which a stolen certificate looks for a way in, and an oracle that tells which ways are open.

It shares nothing with the product and knows everything: who signed what, which certificates the thief has, what a
CA reference means. The rule is the documented one: the chain is walked from the leaf to the root, and the first
entry found decides, enabled or disabled (azure-docs how-to-revoke-device-access-portal). Where two entries are found
at the same certificate, either may decide. What nobody could confirm is part of a world: the knobs of the stand-in
(``same_certificate_in_two_enrollments`` is taken as "allow", which only adds worlds), and one reading more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, product

TARGET = "dev-01"


@dataclass(frozen=True)
class Ca:
    """A CA certificate: the names in it, whose key it is, and whose key signed it."""

    subject: str
    issuer: str
    key: str
    signer: str


CAS = {
    "root": Ca("Root", "Root", "root", "root"),
    "root crossed": Ca("Root", "Other", "root", "other"),
    "root below middle": Ca("Root", "Middle", "root", "middle"),
    "middle": Ca("Middle", "Root", "middle", "root"),
    "middle renewed": Ca("Middle", "Root", "middle", "root"),
    "middle crossed": Ca("Middle", "Other", "middle", "other"),
    "other": Ca("Other", "Other", "other", "other"),
    "namesake": Ca("Middle", "Other", "namesake", "other"),
}
BAGS = (
    (),
    ("middle",),
    ("middle renewed", "root crossed"),
    ("middle", "middle renewed", "middle crossed", "root crossed", "root below middle"),
)
"""The CA certificates that the thief can show."""
VERIFIED = ((), ("root",), ("middle", "root"), ("middle", "other", "root"))
"""The CA certificates that the DPS knows as verified."""
EVERYTHING = (BAGS[-1], VERIFIED[-1])
LEAVES = ("itself", "middle", "root")
"""Who signed the stolen certificate."""
COMMON_NAMES = ("Dev-01", "dev-02")


@dataclass(frozen=True)
class Trust:
    """A group: the CA certificates in its slots, or the one that its CA reference means."""

    enabled: bool
    signing: tuple[str, ...] = ()
    reference: str | None = None


SIGNING = (("middle",), ("middle crossed",), ("namesake",), ("root",), ("other",), ("other", "middle"))
TRUSTS = (
    *(Trust(enabled, signing=signing) for enabled in (True, False) for signing in SIGNING),
    *(Trust(enabled, reference=name) for enabled in (True, False) for name in ("root", "middle", "other")),
)
GROUPS = ((), *((one,) for one in TRUSTS), *combinations_with_replacement(TRUSTS, 2))


@dataclass(frozen=True)
class Holder:
    """Another individual enrollment that holds the stolen certificate."""

    registration_id: str
    enabled: bool


HOLDERS = (None, Holder("DEV-02", True), Holder("dev-02", False))


@dataclass(frozen=True)
class Unknown:
    """How DPS might be; the defaults are what the stand-in believes."""

    claims: bool = False
    """``enrollment_claims_registration_id``"""
    needs_ca: bool = False
    """``individual_leaf_needs_verified_ca``"""
    passes_over: bool = False
    """An enrollment that holds the leaf under another ID than its name is passed over, not a refusal."""


UNKNOWNS = tuple(Unknown(*values) for values in product((False, True), repeat=3))


@dataclass(frozen=True)
class AtDps:
    """A world as far as DPS is concerned. The target's enrollment is enabled and holds another certificate."""

    leaf: str
    common_name: str
    groups: tuple[Trust, ...]
    holder: Holder | None
    bag: tuple[str, ...]
    verified: tuple[str, ...]
    unknown: Unknown = Unknown()


def worlds_at_dps() -> Iterator[AtDps]:
    """All of them."""
    for values in product(LEAVES, COMMON_NAMES, GROUPS, HOLDERS, BAGS, VERIFIED, UNKNOWNS):
        yield AtDps(*values)


def open_at_dps(world: AtDps, *, disabled_first: bool = False) -> frozenset[str]:
    """The entries that admit the stolen certificate.

    Of groups found at the same certificate each may decide; ``disabled_first`` asks for what is open even then when
    a disabled one always does.
    """
    holder, name = world.holder, world.common_name.lower()
    if holder is not None and holder.registration_id.lower() == name:
        if not holder.enabled or (world.unknown.needs_ca and not _anchored(world.leaf, world.bag, world.verified)):
            return frozenset()
        return frozenset({f"enrollment {holder.registration_id}"})
    if holder is not None and not world.unknown.passes_over:
        return frozenset()
    if world.unknown.claims and name == TARGET:
        return frozenset()
    return through_groups(world.leaf, world.groups, world.bag, world.verified, disabled_first)


@cache
def _anchored(leaf: str, bag: tuple[str, ...], verified: tuple[str, ...]) -> bool:
    return leaf == "itself" or any(set(chain) & set(verified) for chain in chains(leaf, bag, verified))


@cache
def through_groups(
    leaf: str,
    groups: tuple[Trust, ...],
    bag: tuple[str, ...],
    verified: tuple[str, ...],
    disabled_first: bool,
) -> frozenset[str]:
    """The groups that admit the leaf by some chain that the thief can show."""
    found = set()
    for chain in chains(leaf, bag, verified):
        for position, name in enumerate(chain):
            deciding = [number for number, group in enumerate(groups) if _trusts(group, name, verified)]
            shut = disabled_first and not all(groups[number].enabled for number in deciding)
            if not shut and set(chain[position:]) & set(verified):
                found |= {f"group g{number}" for number in deciding if groups[number].enabled}
            if deciding:
                break
    return frozenset(found)


def shares_a_certificate(world: AtDps) -> bool:
    """Whether two groups are found at the same certificate."""
    return any(sum(_trusts(group, name, world.verified) for group in world.groups) > 1 for name in CAS)


def _trusts(group: Trust, name: str, verified: tuple[str, ...]) -> bool:
    return name in group.signing or (name == group.reference and name in verified)


@cache
def chains(leaf: str, bag: tuple[str, ...], verified: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    """Every chain above the leaf: as far as the thief shows it, then what DPS knows."""
    if leaf == "itself":
        return frozenset({()})
    found: set[tuple[str, ...]] = set()
    start = Ca("leaf", CAS[leaf].subject, "leaf", CAS[leaf].key)
    _follow(start, (), bag, verified, found)
    return frozenset(found)


def _follow(
    last: Ca, chain: tuple[str, ...], bag: tuple[str, ...], verified: tuple[str, ...], found: set[tuple[str, ...]]
) -> None:
    if last.subject == last.issuer:
        found.add(chain)
        return
    shown, known = ([one for one in _issuers(last, among) if one not in chain] for among in (bag, verified))
    for name in shown:
        _follow(CAS[name], (*chain, name), bag, verified, found)
    for name in known:
        _follow(CAS[name], (*chain, name), (), verified, found)
    if not known:
        found.add(chain)


def _issuers(child: Ca, among: tuple[str, ...]) -> list[str]:
    return [name for name in among if (CAS[name].subject, CAS[name].key) == (child.issuer, child.signer)]


# --- the hub ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """A hub identity. ``shows`` is which hash of the stolen certificate it pins, or how else it authenticates."""

    device_id: str
    enabled: bool
    shows: str


IDENTITIES = tuple(
    Identity(*values)
    for values in product((TARGET, "Dev-01", "dev-02"), (True, False), ("sha1", "sha256", "another", "ca"))
)


@dataclass(frozen=True)
class AtHub:
    """A world as far as the hub is concerned."""

    leaf: str
    common_name: str
    identities: tuple[Identity, ...]
    bag: tuple[str, ...]
    trusted: tuple[str, ...]
    """CA certificates that the hub knows as verified."""
    ignores_case: bool
    """Whether the hub ignores case where it compares a CA-signed certificate's name with the device ID."""


def worlds_at_hub() -> Iterator[AtHub]:
    """All with up to two identities."""
    lists = ((), *((one,) for one in IDENTITIES), *combinations_with_replacement(IDENTITIES, 2))
    some = [one for one in lists if len({identity.device_id for identity in one}) == len(one)]
    for values in product(LEAVES, COMMON_NAMES, some, BAGS, VERIFIED, (False, True)):
        yield AtHub(*values)


def open_at_hub(world: AtHub) -> frozenset[str]:
    """The identities, other than the target's, as which the hub accepts the stolen certificate."""
    found = set()
    for one in world.identities:
        if one.device_id == TARGET or not one.enabled:
            continue
        same = one.device_id == world.common_name
        if world.ignores_case:
            same = one.device_id.lower() == world.common_name.lower()
        chained = any(set(chain) & set(world.trusted) for chain in chains(world.leaf, world.bag, world.trusted))
        if one.shows in ("sha1", "sha256") or (one.shows == "ca" and same and chained):
            found.add(f"hub identity {one.device_id}")
    return frozenset(found)
