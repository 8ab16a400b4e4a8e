"""The story that tests of groups share: ``line-1`` trusts an intermediate, or a root by its name, that ends in 30 days.

Its devices ``pump-1`` to ``pump-3`` are at the hub. ROOT is verified in the DPS; it issued OLD_CA, which ends in 30
days, and NEW_CA, which takes over. OLD_ROOT and NEW_ROOT are the same for a group that names its CA.
"""

from datetime import timedelta

from shared.certificate import Certificate, parse_certificate
from shared.enrollment import Slot
from shared.nudges import encode_nudge
from shared.plans import Step
from shared.rollover import Rollover
from shared.starting import start_rollover
from shared.stepping import carry_out
from tests.builders import EFFECTS, carry_on
from tests.certificates import NOW, a_ca
from tests.fakes import Kept, World, a_world

GROUP = "line-1"
CERTIFICATE = "line-1-ca"
DEVICES = ("pump-1", "pump-2", "pump-3")
YEARS = timedelta(days=3650)
LATER = {"starts": NOW - timedelta(days=10), "ends": NOW + timedelta(days=355)}

THE_ROOT = a_ca("Root", ends=NOW + YEARS)
ROOT = parse_certificate(THE_ROOT.der)
OLD_CA = parse_certificate(a_ca("Line CA", THE_ROOT).der)
NEW_CA = parse_certificate(a_ca("Line CA", THE_ROOT, **LATER).der)
OLD_ROOT = parse_certificate(a_ca("Line Root").der)
_NEW_ROOT = a_ca("Line Root", **LATER)
NEW_ROOT = parse_certificate(_NEW_ROOT.der)


def a_group_story(*, by_reference: bool = False, **policy: object) -> World:
    """Everything in place for a rollover of the group."""
    world = a_world(**policy)
    old, new = (OLD_ROOT, NEW_ROOT) if by_reference else (OLD_CA, NEW_CA)
    if by_reference:
        world.authorities.add("line-root", old)
        world.dps.enroll_group(GROUP, ca_references=["line-root"])
    else:
        world.authorities.add("root", ROOT)
        world.dps.enroll_group(GROUP, old)
    world.vault.kept[CERTIFICATE] = Kept(
        [old], {"rollover-group": GROUP}, keys={NEW_ROOT.sha256_thumbprint: _NEW_ROOT.key}
    )
    world.vault.issues = lambda _: new
    world.dps.members_of[GROUP] = list(DEVICES)
    for device_id in DEVICES:
        world.dps.registered(device_id)
        world.hub.provision(device_id, device_id.upper())
    return world


def the_rollover(world: World) -> Rollover:
    """The group's latest rollover as it lies in the ledger."""
    rollover = world.services.ledger.last_of_group(GROUP)
    assert rollover is not None
    return rollover


def begin(world: World) -> Rollover:
    """Begin the story's rollover as the sweep would."""
    started = start_rollover(CERTIFICATE, "sweep", world.services)
    assert started.what == "begun", started
    return the_rollover(world)


def deliver(world: World, step: Step, rollover_id: str | None = None) -> Rollover:
    """One run of a step's function with a nudge."""
    message = encode_nudge(rollover_id or the_rollover(world).id).encode()
    carry_out(step, message, world.services, EFFECTS[step])
    return the_rollover(world)


def go_on(world: World, until: timedelta = timedelta(minutes=10)) -> Rollover:
    """Carry out whatever is due, moving the clock over waits of up to ``until``."""
    return carry_on(world, the_rollover, until)


def trusted(world: World) -> dict[Slot, Certificate | str | None]:
    """SHA-256 of what the group trusts by each slot."""
    group = world.dps.group(GROUP)
    assert group is not None
    return {
        slot: one.sha256_thumbprint if one else None for slot, one in group.anchors(world.authorities.all()).items()
    }  # type: ignore[return-value]


def reasons(world: World) -> list[tuple[str, str]]:
    """What happened and why, oldest first."""
    return [(record.what, record.why) for record in world.services.ledger.history(the_rollover(world))]
