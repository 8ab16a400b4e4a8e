"""Step: neither a slot of the enrollment or group nor the hub identity holds the outgoing certificate.

The name is the one that the procedure is known by; which slot holds the outgoing certificate is looked up, and
it may be both, for DPS mirrors a lone primary. What is decided when is in ``shared.decide``.
"""

from dataclasses import replace

import azure.functions as func

from shared import group_effects
from shared.errors import NotFound
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services, invoked
from shared.settings import STORAGE
from shared.stepping import carry_out
from shared.verdict import Act

bp = func.Blueprint()


@bp.function_name("delete_primary")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.DELETE_PRIMARY.queue, connection=STORAGE)
def delete_primary(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names."""
    with invoked(context) as ports:
        carry_out(Step.DELETE_PRIMARY, nudge.get_body(), ports, effect=retire_outgoing)


def retire_outgoing(rollover: Rollover, seen: Observation, act: Act, services: Services) -> None:
    """Take what leaves out of the enrollment; if it is out, out of the hub identity."""
    if rollover.plan.of_group:
        group_effects.clear_slots(seen, act, services)
        return
    if rollover.incoming is None or (seen.enrollment is None and not rollover.member_of):
        raise NotFound("the enrollment that was just read")
    leaving = [one.sha256_thumbprint for one in rollover.leaving]
    if seen.enrollment is not None and any(seen.enrollment.holds(one) for one in leaving):
        services.provisioning.replace(seen.enrollment, seen.enrollment.body_without(*leaving))
    elif seen.identity is not None:
        incoming = rollover.incoming.sha256_thumbprint
        services.hub.rewrite(replace(seen.identity, primary=incoming, secondary=incoming))
