"""Timer: nudges every rollover and every work on a fleet that it is time to look at, and publishes what was recorded
and not published.

This is what makes a lost event, a lost message or a host killed at any point cost time and nothing else, and it
is the clock for long waits. Every minute.
"""

import azure.functions as func

from shared.fleet_resuming import resume_works
from shared.resuming import resume_due
from shared.services import invoked
from shared.timers import Timer, completing

bp = func.Blueprint()


@bp.function_name("resume_rollovers")
@bp.timer_trigger(arg_name="timer", schedule="0 * * * * *", run_on_startup=False, use_monitor=True)
def resume_rollovers(timer: func.TimerRequest, context: func.Context) -> None:
    """Nudge what is due."""
    with invoked(context) as ports, completing(Timer.RESUME, ports):
        resume_due(ports)
        resume_works(ports)
