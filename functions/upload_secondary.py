"""Step: the incoming certificate is in the standby slot of the enrollment or group, and the other slot is kept.

The name is the one that the procedure is known by; which slot is standby was computed when the rollover began,
for the slots swap at every rollover. When it may run, and what makes it refuse, is decided in ``shared.decide``.
"""

import azure.functions as func

from shared import group_effects
from shared.enrollment import Slot
from shared.errors import NotFound
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services, invoked
from shared.settings import STORAGE
from shared.stepping import carry_out
from shared.verdict import Act

bp = func.Blueprint()


@bp.function_name("upload_secondary")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.UPLOAD_SECONDARY.queue, connection=STORAGE)
def upload_secondary(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names."""
    with invoked(context) as ports:
        carry_out(Step.UPLOAD_SECONDARY, nudge.get_body(), ports, effect=fill_standby_slot)


def fill_standby_slot(rollover: Rollover, seen: Observation, act: Act, services: Services) -> None:
    """Put the vault's latest version, which was compared with the incoming one, into the slot that was decided."""
    if rollover.plan.of_group:
        group_effects.fill_slot(seen, act, services)
        return
    if seen.enrollment is None or seen.latest is None or act.ask is None:
        raise NotFound("the enrollment or the certificate that was just read")
    body = seen.enrollment.body_with(Slot(act.ask["slot"]), seen.latest.certificate)
    services.provisioning.replace(seen.enrollment, body)
