"""Step: the incoming CA certificate is in DPS, and verified.

Only where the group names its CA; what is decided when is in ``shared.decide_group``. It is verified by proof of
possession: DPS gives a code, and the CA's key, which stays in the vault, signs a certificate for it (azure-docs
how-to-verify-certificates); or, where the platform team says so, vouched for on upload.
"""

import azure.functions as func

from shared.errors import Conflict, NotFound
from shared.own_ca import proof_of_possession
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services, invoked
from shared.settings import STORAGE
from shared.stepping import carry_out
from shared.verdict import Act

bp = func.Blueprint()


@bp.function_name("add_ca_certificate")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.ADD_CA_CERTIFICATE.queue, connection=STORAGE)
def add_ca_certificate(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names."""
    with invoked(context) as ports:
        carry_out(Step.ADD_CA_CERTIFICATE, nudge.get_body(), ports, effect=upload_or_prove)


def upload_or_prove(rollover: Rollover, _seen: Observation, act: Act, services: Services) -> None:
    """Upload the incoming certificate, or prove that its key is ours, as was decided.

    The code is asked for anew each time: one that was given before is replaced by it, so that a proof cut off between
    code and answer is simply done again.

    Raises:
        Conflict: another certificate has the name; it is never overwritten.
    """
    incoming = rollover.incoming
    if incoming is None or act.ask is None:
        raise NotFound("the incoming certificate that was just chosen")
    name, vouched = act.ask["name"], services.settings.ca_verified_on_upload
    certificate = services.vault.certificate(rollover.certificate_name, incoming.version)
    read = services.authorities.get(name)
    if read is not None and not read.is_(certificate):
        raise Conflict(f"the CA certificate {name!r} of the DPS is not the incoming one")
    if act.ask["do"] == "upload" and read is None:
        services.authorities.put(name, certificate, verified=vouched, read=None)
    elif read is None:
        raise NotFound(f"the CA certificate {name!r} of the DPS")
    elif read.verified:
        return
    elif vouched:
        services.authorities.put(name, certificate, verified=True, read=read)
    else:
        code, coded = services.authorities.verification_code(read)
        proof = proof_of_possession(code, rollover.certificate_name, incoming.version, services)
        services.authorities.verify(coded, proof)
