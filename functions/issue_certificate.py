"""Step: the vault holds a newer version of the certificate. Already so when the vault renews by itself.

When it may run, and what makes it refuse, is decided in ``shared.decide``.
"""

import azure.functions as func

from shared.own_ca import common_name_of, sign_request
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Observation
from shared.services import Services, invoked
from shared.settings import STORAGE
from shared.stepping import carry_out
from shared.verdict import Act

bp = func.Blueprint()


@bp.function_name("issue_certificate")
@bp.queue_trigger(arg_name="nudge", queue_name=Step.ISSUE_CERTIFICATE.queue, connection=STORAGE)
def issue_certificate(nudge: func.QueueMessage, context: func.Context) -> None:
    """Carry out the step for the rollover that the message names."""
    with invoked(context) as ports:
        carry_out(Step.ISSUE_CERTIFICATE, nudge.get_body(), ports, effect=ask_for_version)


def ask_for_version(rollover: Rollover, _seen: Observation, act: Act, services: Services) -> None:
    """Ask the vault for a new version by the certificate's own policy, which comes in its own time; or sign the request
    that the vault made for it, where a CA in the vault is to."""
    if act.ask is None or act.ask.get("do") != "sign":
        services.vault.issue(rollover.certificate_name)
        return
    group = rollover.plan.of_group
    name = common_name_of(rollover.certificate_name, services) if group else rollover.registration_id
    outlives = not rollover.plan.replaces
    sign_request(rollover.certificate_name, act.ask["ca"], services, common_name=name, ca=group, outlives=outlives)
