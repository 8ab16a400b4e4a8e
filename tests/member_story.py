"""The story that tests of a group's devices share: ``pump-1`` comes by the group ``line-1``, its leaf ends in 20 days.

The group trusts LINE_CA, whose key is in the vault and which issued the leaf; ROOT, verified in the DPS, is above it.
"""

from datetime import timedelta

from shared.certificate import Certificate
from shared.nudges import encode_nudge
from shared.plans import Step
from shared.rollover import Rollover
from shared.starting import start_rollover
from shared.stepping import carry_out
from shared.tags import LEAVES_TAG
from tests.builders import EFFECTS, carry_on
from tests.certificates import NOW
from tests.fakes import InMemoryHub, Kept, World, a_world
from tests.own_ca import keep, made, p256

GROUP, CA, DEVICE, CERTIFICATE = "line-1", "line-1-ca", "pump-1", "leaf-pump-1"
DAY = timedelta(days=1)
ROOT_KEY, CA_KEY, LEAF_KEY = p256(), p256(), p256()
ROOT = made("Root", ROOT_KEY)
LINE_CA = made("Line CA", CA_KEY, by=(ROOT, ROOT_KEY), length=0, ends=NOW + 900 * DAY)
LEAF = made(DEVICE, LEAF_KEY, by=(LINE_CA, CA_KEY), ca=False, ends=NOW + 20 * DAY)


def a_member_story(leaf: Certificate = LEAF, **policy: object) -> World:
    """Everything in place: the device registered a year ago with its leaf, and its hub identity shows that."""
    world = a_world(**policy)
    world.authorities.add("root", ROOT)
    world.dps.enroll_group(GROUP, LINE_CA)
    world.dps.members_of[GROUP] = [DEVICE]
    world.clock.time = NOW - 300 * DAY
    world.dps.registered(DEVICE)
    world.clock.time = NOW
    world.hub.provision(DEVICE, leaf.sha256_thumbprint)
    tags = {"rollover-group": GROUP, LEAVES_TAG: "leaf-*"}
    world.vault.kept[CA] = Kept([LINE_CA], tags, keys={LINE_CA.sha256_thumbprint: CA_KEY})
    keep(world, CERTIFICATE, leaf, LEAF_KEY, ca=CA, new=p256)
    return world


def newest(world: World) -> Certificate:
    """The latest version of the device's certificate in the vault."""
    return world.vault.kept[CERTIFICATE].versions[-1]


def device_registers(world: World, with_: Certificate | None = None) -> None:
    """The device registers through its group, with the vault's latest version unless said otherwise."""
    world.clock.advance(timedelta(seconds=1))
    world.dps.registered(DEVICE)
    world.hub.provision(DEVICE, (with_ or newest(world)).sha256_thumbprint)


def moves_when_asked(world: World) -> None:
    """The device fetches its newest certificate when the job reaches it, and registers with it."""
    start = InMemoryHub.start_method_job

    def reached(*arguments):
        start(world.hub, *arguments)
        device_registers(world)

    world.hub.start_method_job = reached


def the_rollover(world: World) -> Rollover:
    """The device's latest rollover as it lies in the ledger."""
    rollover = world.services.ledger.last(DEVICE)
    assert rollover is not None
    return rollover


def begin(world: World, cause: str = "sweep") -> Rollover:
    """Begin the story's rollover as the sweep would."""
    started = start_rollover(CERTIFICATE, cause, world.services)
    assert started.what == "begun", started
    return the_rollover(world)


def deliver(world: World, step: Step) -> Rollover:
    """One run of a step's function with a nudge."""
    carry_out(step, encode_nudge(the_rollover(world).id).encode(), world.services, EFFECTS[step])
    return the_rollover(world)


def go_on(world: World, until: timedelta = timedelta(minutes=10)) -> Rollover:
    """Carry out whatever is due, moving the clock over waits of up to ``until``."""
    return carry_on(world, the_rollover, until)


def until_asked(world: World) -> Rollover:
    """Begun, issued, staged, asked; the device has not come yet."""
    begin(world)
    return go_on(world, until=timedelta(seconds=30))


def reasons(world: World) -> list[tuple[str, str]]:
    """What happened and why, oldest first."""
    return [(record.what, record.why) for record in world.services.ledger.history(the_rollover(world))]
