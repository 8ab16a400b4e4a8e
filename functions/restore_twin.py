"""Step: the device is back, and its twin has the tags and desired properties that it had.

Deleting an identity deletes its twin (azure-docs#75861), and DPS makes the new one from the enrollment's initial
twin. What is decided when is in ``shared.decide_recovery``.
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


@bp.function_name("restore_twin")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.RESTORE_TWIN.queue, connection=STORAGE)
def restore_twin(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names, or one turn of its work on a group's devices."""
    with invoked(context) as ports:
        if not take_turn(Step.RESTORE_TWIN, nudge.get_body(), ports):
            carry_out(Step.RESTORE_TWIN, nudge.get_body(), ports, effect=put_back)


def put_back(rollover: Rollover, seen: Observation, act: Act, services: Services) -> None:
    """Write the tags and desired properties that were kept, over those just read; of a group, begin the batches."""
    if rollover.plan.of_group:
        group_effects.begin_work(rollover, act, services)
        return
    if seen.twin is None or seen.removed is None:
        raise NotFound("the twin that was just read")
    services.hub.replace_twin(rollover.device_id, seen.twin, seen.removed.twin)
