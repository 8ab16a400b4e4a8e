"""The story that tests of groups share: ``line-1`` trusts an intermediate, or a root by its name, that ends in 30 days.

Its devices ``pump-1`` to ``pump-3`` are at the hub. ROOT is verified in the DPS; it issued OLD_CA, which ends in 30
days, and NEW_CA, which takes over. OLD_ROOT and NEW_ROOT are the same for a group that names its CA.
"""

from collections.abc import Mapping
from datetime import timedelta

from functions.delete_primary import retire_outgoing
from functions.disable_enrollment import shut_door
from functions.enable_enrollment import let_in_again
from functions.invoke_reprovision_job import start_job
from functions.issue_certificate import ask_for_version
from functions.remove_hub_registration import evict
from functions.restore_twin import put_back
from functions.upload_secondary import fill_standby_slot
from functions.verify_containment import begin_check
from shared.certificate import Certificate, parse_certificate
from shared.enrollment import Slot
from shared.errors import NotFound
from shared.nudges import encode_nudge
from shared.rollover import Act, Rollover, Step
from shared.seen import Observation
from shared.services import Services
from shared.starting import start_rollover
from shared.stepping import Effect, carry_out
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
NEW_ROOT = parse_certificate(a_ca("Line Root", **LATER).der)


def add_ca(rollover: Rollover, seen: Observation, act: Act, services: Services) -> None:
    """Upload, or prove: what becomes of the two is told by the effect's own tests."""
    if act.ask is None or seen.latest is None:
        raise NotFound("the certificate")
    read = next((one for one in seen.authorities if one.name == act.ask["name"]), None)
    services.authorities.put(act.ask["name"], seen.latest.certificate, verified=act.ask["do"] == "prove", read=read)


def delete_ca(rollover: Rollover, seen: Observation, act: Act, services: Services) -> None:
    """Delete what was named."""
    read = next(one for one in seen.authorities if act.ask and one.name == act.ask["name"])
    services.authorities.delete(read)


EFFECTS: Mapping[Step, Effect] = {
    Step.ISSUE_CERTIFICATE: ask_for_version,
    Step.UPLOAD_SECONDARY: fill_standby_slot,
    Step.INVOKE_REPROVISION_JOB: start_job,
    Step.DELETE_PRIMARY: retire_outgoing,
    Step.DISABLE_ENROLLMENT: shut_door,
    Step.REMOVE_HUB_REGISTRATION: evict,
    Step.VERIFY_CONTAINMENT: begin_check,
    Step.ENABLE_ENROLLMENT: let_in_again,
    Step.RESTORE_TWIN: put_back,
    Step.ADD_CA_CERTIFICATE: add_ca,
    Step.DELETE_CA_CERTIFICATE: delete_ca,
}


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
    world.vault.kept[CERTIFICATE] = Kept([old], {"rollover-group": GROUP})
    world.vault.issues = lambda _: new
    world.dps.members[GROUP] = list(DEVICES)
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
    for _ in range(100):
        rollover = the_rollover(world)
        if rollover.next_step is None or rollover.due_at is None or rollover.due_at > world.clock.time + until:
            return rollover
        world.clock.time = max(world.clock.time, rollover.due_at)
        deliver(world, rollover.next_step)
    raise AssertionError(f"the rollover does not come to rest: {the_rollover(world).waiting_for}")


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
