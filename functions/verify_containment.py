"""Step: read back, twice: neither DPS nor the hub accepts a compromised certificate, and no session lives.

It changes nothing; of a group, it begins to look at every device again. What is decided when is in
``shared.decide_breach`` and ``shared.decide_group_breach``, what counts as exposed in ``shared.exposure``.
"""

import azure.functions as func

from shared import group_effects
from shared.fleet_work import take_turn
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services, invoked
from shared.settings import STORAGE
from shared.stepping import carry_out
from shared.verdict import Act

bp = func.Blueprint()


@bp.function_name("verify_containment")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.VERIFY_CONTAINMENT.queue, connection=STORAGE)
def verify_containment(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names, or one turn of its work on a group's devices."""
    with invoked(context) as ports:
        if not take_turn(Step.VERIFY_CONTAINMENT, nudge.get_body(), ports):
            carry_out(Step.VERIFY_CONTAINMENT, nudge.get_body(), ports, effect=begin_check)


def begin_check(rollover: Rollover, _seen: Observation, act: Act, services: Services) -> None:
    """Begin to look at the hub identities of all devices of a group."""
    group_effects.begin_work(rollover, act, services)
