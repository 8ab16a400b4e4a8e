"""What the steps do to an enrollment group. The functions of the steps come here when the target is one."""

from contextlib import suppress

from shared.enrollment import Slot
from shared.errors import Conflict, NotFound
from shared.fleet import Work
from shared.fleet_leaves import leaf_names
from shared.group import Group
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services
from shared.verdict import Act


def fill_slot(seen: Observation, act: Act, services: Services) -> None:
    """Let the decided slot trust the incoming certificate: itself, or the CA certificate of the DPS that it is."""
    group = _group(seen)
    if act.ask is None or seen.latest is None:
        raise NotFound("the certificate that was just read")
    slot, name = Slot(act.ask["slot"]), act.ask.get("name")
    body = group.body_naming(slot, name) if name else group.body_with(slot, seen.latest.certificate)
    services.provisioning.replace_group(group, body)


def clear_slots(seen: Observation, act: Act, services: Services) -> None:
    """Take the decided slots' anchors out of the group."""
    group = _group(seen)
    if act.ask is None:
        raise NotFound("the slots that were just decided")
    services.provisioning.replace_group(group, group.body_without(*map(Slot, act.ask["slots"])))


def set_status(seen: Observation, services: Services, *, enabled: bool) -> None:
    """Enable or disable the group; what it trusts stays as it is."""
    group = _group(seen)
    services.provisioning.replace_group(group, group.body_with_status(enabled=enabled))


def begin_work(rollover: Rollover, act: Act, services: Services) -> None:
    """Begin the work on the group's devices that was decided; it goes on by itself, batch by batch. Who is to come back
    also needs a new certificate: they are issued at the same time, where a CA in the vault does that.
    """
    if act.ask is None:
        raise NotFound("the work that was just decided")
    if act.ask["work"] == Work.RESTORE and leaf_names(rollover, services):
        with suppress(Conflict):  # begun by a run that was cut off
            services.fleet.begin(rollover, Work.LEAVES)
    services.fleet.begin(rollover, act.ask["work"])


def _group(seen: Observation) -> Group:
    if seen.group is None:
        raise NotFound("the group that was just read")
    return seen.group
