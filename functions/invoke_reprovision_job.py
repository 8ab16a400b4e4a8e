"""Step: the device has registered with the incoming certificate, seen at the hub identity.

A hub job calls the device's reprovision method while the outgoing certificate still connects. The job is a
request, never a proof: only the hub identity is. What is decided when is in ``shared.decide``.
"""

import azure.functions as func

from shared import group_effects
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


@bp.function_name("invoke_reprovision_job")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.INVOKE_REPROVISION_JOB.queue, connection=STORAGE)
def invoke_reprovision_job(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names, or one turn of its work on a group's devices."""
    with invoked(context) as ports:
        if not take_turn(Step.INVOKE_REPROVISION_JOB, nudge.get_body(), ports):
            carry_out(Step.INVOKE_REPROVISION_JOB, nudge.get_body(), ports, effect=start_job)


def start_job(rollover: Rollover, _seen: Observation, act: Act, services: Services) -> None:
    """Start the job; the payload tells the device which certificate to look for. Of a group, the waves are begun."""
    if rollover.plan.of_group:
        group_effects.begin_work(rollover, act, services)
        return
    incoming, job_id = rollover.incoming, rollover.job_id
    if incoming is None or job_id is None:
        raise NotFound("the incoming certificate that was just chosen")
    payload = {
        "rollover_id": rollover.id,
        "sha256_thumbprint": incoming.sha256_thumbprint,
        "certificate_id": services.vault.versioned_id(rollover.certificate_name, incoming.version),
        **(act.ask or {}),
    }
    method = services.settings.reprovision_method
    services.hub.start_method_job(job_id, rollover.device_id, method, payload)
