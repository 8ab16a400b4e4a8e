"""Poison queues: a message that failed too often marks its rollover "needs a person" and says so.

One function for each step's poison queue (a function has one trigger), all the same.
"""

from collections.abc import Callable

import azure.functions as func

from shared.plans import Step
from shared.poison import report
from shared.services import invoked
from shared.settings import STORAGE

bp = func.Blueprint()


def _reporter(step: Step) -> Callable[[func.QueueMessage, func.Context], None]:
    def report_poisoned(nudge: func.QueueMessage, context: func.Context) -> None:
        with invoked(context) as ports:
            report(step, nudge.get_body(), ports)

    return report_poisoned


for _step in Step:
    _trigger = bp.queue_trigger(arg_name="nudge", queue_name=f"{_step.queue}-poison", connection=STORAGE)
    bp.function_name(f"report_poisoned_{_step.value}")(_trigger(_reporter(_step)))
