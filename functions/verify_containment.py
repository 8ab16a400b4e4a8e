"""Step: read back, twice: neither DPS nor the hub accepts a compromised certificate, and no session lives.

It never acts. What is decided when is in ``shared.decide_breach``, what counts as exposed in ``shared.exposure``.
"""

import azure.functions as func

from shared.fleet_work import take_turn
from shared.rollover import Step
from shared.services import services
from shared.settings import STORAGE
from shared.stepping import carry_out, only_looks

bp = func.Blueprint()


@bp.function_name("verify_containment")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.VERIFY_CONTAINMENT.queue, connection=STORAGE)
def verify_containment(nudge: func.QueueMessage) -> None:
    """Carry out the step for the rollover that the message names, or one turn of its work on a group's devices."""
    if not take_turn(Step.VERIFY_CONTAINMENT, nudge.get_body(), services()):
        carry_out(Step.VERIFY_CONTAINMENT, nudge.get_body(), services(), effect=only_looks)
