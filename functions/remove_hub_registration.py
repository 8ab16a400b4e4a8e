"""Step: the hub accepts no compromised certificate, and has no session from before.

DPS changes nothing at the hub, which goes on accepting the thumbprints of the device identity until that is
deleted, disabled or registered anew. What is decided when is in ``shared.decide_breach``.
"""

import azure.functions as func

from shared import group_effects, hub_effects
from shared.errors import NotFound
from shared.fleet_work import take_turn
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services, invoked
from shared.settings import STORAGE
from shared.stepping import carry_out
from shared.verdict import Act

bp = func.Blueprint()


@bp.function_name("remove_hub_registration")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.REMOVE_HUB_REGISTRATION.queue, connection=STORAGE)
def remove_hub_registration(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names, or one turn of its work on a group's devices."""
    with invoked(context) as ports:
        if not take_turn(Step.REMOVE_HUB_REGISTRATION, nudge.get_body(), ports):
            carry_out(Step.REMOVE_HUB_REGISTRATION, nudge.get_body(), ports, effect=evict)


def evict(rollover: Rollover, seen: Observation, act: Act, services: Services) -> None:
    """Disable, remove, enable or rewrite the identity, as was decided. Of a group, the batches are begun."""
    if rollover.plan.of_group:
        group_effects.begin_work(rollover, act, services)
        return
    if seen.identity is None or act.ask is None:
        raise NotFound("the hub identity that was just read")
    match act.ask["do"]:
        case "disable":
            hub_effects.disable(rollover, seen.identity, services)
        case "remove":
            hub_effects.remove(rollover, seen.identity, services)
        case "enable":
            hub_effects.enable(seen.identity, services)
        case "replace":
            hub_effects.replace_compromised(rollover, seen.identity, services)
