"""Step: DPS admits the device again, and the hub does where its identity was only disabled.

The hub first: a device that finds DPS open and the hub shut would register for nothing. What is decided when is in
``shared.decide_recovery``.
"""

import azure.functions as func

from shared import group_effects, hub_effects
from shared.errors import NotFound
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services, invoked
from shared.settings import STORAGE
from shared.stepping import carry_out
from shared.verdict import Act

bp = func.Blueprint()


@bp.function_name("enable_enrollment")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.ENABLE_ENROLLMENT.queue, connection=STORAGE)
def enable_enrollment(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names."""
    with invoked(context) as ports:
        carry_out(Step.ENABLE_ENROLLMENT, nudge.get_body(), ports, effect=let_in_again)


def let_in_again(rollover: Rollover, seen: Observation, act: Act, services: Services) -> None:
    """Enable the hub identity (with the incoming certificate, if one takes over) or the enrollment."""
    if rollover.plan.of_group:
        group_effects.set_status(seen, services, enabled=True)
        return
    if seen.enrollment is None or act.ask is None:
        raise NotFound("the enrollment that was just read")
    if act.ask["do"] == "enrollment":
        services.provisioning.replace(seen.enrollment, seen.enrollment.body_with_status(enabled=True))
    elif seen.identity is None:
        raise NotFound("the hub identity that was just read")
    elif act.ask["do"] == "replace":
        hub_effects.replace_compromised(rollover, seen.identity, services)
    else:
        hub_effects.enable(seen.identity, services)
