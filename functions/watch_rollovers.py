"""Timer: says which rollovers wait too long, and what is not as a rollover left it. It begins nothing and changes
nothing of DPS, hub or vault.

What nothing happens to makes no noise by itself; this does, in its place. Every five minutes.
"""

import azure.functions as func

from shared.comparing import compare_some
from shared.services import invoked
from shared.timers import Timer, completing
from shared.watching import tell_overdue

bp = func.Blueprint()


@bp.function_name("watch_rollovers")
@bp.timer_trigger(arg_name="timer", schedule="40 */5 * * * *", run_on_startup=False, use_monitor=True)
def watch_rollovers(timer: func.TimerRequest, context: func.Context) -> None:
    """Look and tell."""
    with invoked(context) as ports, completing(Timer.WATCH, ports):
        tell_overdue(ports)
        compare_some(ports)
