"""Timer triggers: NCRONTAB with six fields, seconds first, in UTC.

An occurrence that is overdue, because the clock was moved or the host was late, fires at once and only once.
"""

import asyncio
import json
import logging
from datetime import datetime

from croniter import croniter

from local.host.clock import now
from local.host.protos import TypedData
from local.host.settings import BadSetting, resolve
from local.host.worker import Function, Worker

log = logging.getLogger("host")
LOOK_S = 0.1


class Timer:
    """Runs one function on its schedule, never twice at once (a timer is a singleton on Azure too)."""

    def __init__(self, worker: Worker, function: Function) -> None:
        self._worker = worker
        self._function = function
        self._schedule = resolve(function.trigger["schedule"])
        if len(self._schedule.split()) != 6 or not croniter.is_valid(self._schedule, second_at_beginning=True):
            raise BadSetting(f"function {function.name}: {self._schedule!r} is not a schedule of six fields")

    async def run(self) -> None:
        """Fire until cancelled."""
        last = now()
        if self._function.trigger.get("runOnStartup"):
            await self.fire(past_due=False)
        due = self._next(last)
        while True:
            await asyncio.sleep(LOOK_S)
            current = now()
            if current >= due:
                await self.fire(past_due=(current - due).total_seconds() > 1)
                due = self._next(now())

    async def fire(self, *, past_due: bool) -> bool:
        """Run the function now; whether it went well."""
        moment = now()
        status = {"Last": moment.isoformat(), "Next": self._next(moment).isoformat(), "LastUpdated": moment.isoformat()}
        data = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        return (await self._worker.invoke(self._function, TypedData(json=json.dumps(data)))).ok

    def _next(self, after: datetime) -> datetime:
        found: datetime = croniter(self._schedule, after, second_at_beginning=True).get_next(datetime)
        return found
