"""Step: the outgoing CA certificate is not in DPS.

Only where the group names its CA; what is decided when is in ``shared.decide_group``.
"""

import azure.functions as func

from shared.errors import Conflict, NotFound
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services, invoked
from shared.settings import STORAGE
from shared.stepping import carry_out
from shared.verdict import Act

bp = func.Blueprint()


@bp.function_name("delete_ca_certificate")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.DELETE_CA_CERTIFICATE.queue, connection=STORAGE)
def delete_ca_certificate(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names."""
    with invoked(context) as ports:
        carry_out(Step.DELETE_CA_CERTIFICATE, nudge.get_body(), ports, effect=delete_outgoing)


def delete_outgoing(rollover: Rollover, _seen: Observation, act: Act, services: Services) -> None:
    """Delete the named CA certificate, if it is one that leaves.

    Raises:
        Conflict: another certificate has the name.
    """
    if act.ask is None:
        raise NotFound("the CA certificate that was just decided on")
    read = services.authorities.get(act.ask["name"])
    if read is None:
        return
    if read.sha1_thumbprint not in {one.sha1_thumbprint for one in rollover.leaving}:
        raise Conflict(f"the CA certificate {read.name!r} of the DPS is none of those that leave")
    services.authorities.delete(read)
