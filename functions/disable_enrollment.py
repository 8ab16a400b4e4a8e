"""Step: DPS admits the device with no certificate.

One write, whatever the fleet's size, and the first of a breach: it shuts the door. It changes nothing at the hub
(azure-docs how-to-revoke-device-access-portal); the next step does. What is decided when is in
``shared.decide_breach``.
"""

import azure.functions as func

from shared.door import shut_door
from shared.plans import Step
from shared.services import invoked
from shared.settings import STORAGE
from shared.stepping import carry_out

bp = func.Blueprint()


@bp.function_name("disable_enrollment")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.DISABLE_ENROLLMENT.queue, connection=STORAGE)
def disable_enrollment(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names."""
    with invoked(context) as ports:
        carry_out(Step.DISABLE_ENROLLMENT, nudge.get_body(), ports, effect=shut_door)
