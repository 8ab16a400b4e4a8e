"""Step: the outgoing CA certificate is not in DPS.

Only where the group names its CA; what is decided when is in ``shared.decide_group``.
"""

import azure.functions as func

from shared.rollover import Step
from shared.services import services
from shared.settings import STORAGE
from shared.stepping import carry_out, only_looks

bp = func.Blueprint()


@bp.function_name("delete_ca_certificate")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.DELETE_CA_CERTIFICATE.queue, connection=STORAGE)
def delete_ca_certificate(nudge: func.QueueMessage) -> None:
    """Carry out the step for the rollover that the message names."""
    carry_out(Step.DELETE_CA_CERTIFICATE, nudge.get_body(), services(), effect=only_looks)
