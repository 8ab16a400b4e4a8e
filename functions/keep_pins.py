"""Timer: looks, in short turns, at the thumbprint that the hub pins to each device, once a day.

What was pinned before a CA's key was stolen tells, afterwards, which identities a thief cannot have made. Only where
devices register through a group. Every five minutes, beside the full minutes of the others.
"""

import azure.functions as func

from shared.keeping_pins import keep_pins as take_turn
from shared.services import invoked

bp = func.Blueprint()


@bp.function_name("keep_pins")
@bp.timer_trigger(arg_name="timer", schedule="30 2-59/5 * * * *", run_on_startup=False, use_monitor=True)
def keep_pins(timer: func.TimerRequest, context: func.Context) -> None:
    """One turn of the look."""
    with invoked(context) as ports:
        take_turn(ports)
