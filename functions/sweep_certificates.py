"""Timer: sees to every certificate of the vault and begins what is due, whether or not an event announced it.

Key Vault's near-expiry event never comes for certificates that live shorter than 30 days or are older than the
subscription, and any event can be lost (azure-docs event-schema-key-vault, event-grid-overview). Every hour.
"""

import azure.functions as func

from shared.services import invoked
from shared.sweeping import sweep
from shared.timers import Timer, completing

bp = func.Blueprint()


@bp.function_name("sweep_certificates")
@bp.timer_trigger(arg_name="timer", schedule="0 17 * * * *", run_on_startup=False, use_monitor=True)
def sweep_certificates(timer: func.TimerRequest, context: func.Context) -> None:
    """Begin every rollover that is due."""
    with invoked(context) as ports, completing(Timer.SWEEP, ports):
        sweep(ports)
