"""Step: the hub identity accepts the outgoing and the incoming certificate.

DPS writes one thumbprint into both hub slots (azure-iot-sdk-java#1220), so the enrollment's second slot alone
gives overlap at DPS only; this gives it at the hub. What is decided when is in ``shared.decide``.
"""

from dataclasses import replace

import azure.functions as func

from shared.errors import NotFound
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services, invoked
from shared.settings import STORAGE
from shared.stepping import carry_out
from shared.verdict import Act

bp = func.Blueprint()


@bp.function_name("stage_hub_thumbprint")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.STAGE_HUB_THUMBPRINT.queue, connection=STORAGE)
def stage_hub_thumbprint(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names."""
    with invoked(context) as ports:
        carry_out(Step.STAGE_HUB_THUMBPRINT, nudge.get_body(), ports, effect=accept_both)


def accept_both(rollover: Rollover, seen: Observation, _act: Act, services: Services) -> None:
    """Write the thumbprint that the hub holds of the outgoing certificate, and the incoming one's SHA-256."""
    if seen.identity is None or rollover.incoming is None:
        raise NotFound("the hub identity that was just read")
    outgoing = rollover.outgoing
    held = (outgoing.sha1_thumbprint, outgoing.sha256_thumbprint)
    kept = next((t for t in seen.identity.thumbprints() if t in held), outgoing.sha256_thumbprint)
    services.hub.rewrite(replace(seen.identity, primary=kept, secondary=rollover.incoming.sha256_thumbprint))
