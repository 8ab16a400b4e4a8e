"""Timer triggers: NCRONTAB with six fields, seconds first, in UTC.

An occurrence that is overdue, because the clock was moved or the host was late, fires at once and only once.
"""

import asyncio
import json
import logging
import time
from datetime import datetime, timedelta

from croniter import CroniterBadDateError, croniter  # type: ignore[import-untyped]

from local.host.clock import now
from local.host.protos import TypedData
from local.host.settings import BadSetting, resolve
from local.host.waiting import rest
from local.host.worker import Function, Worker

log = logging.getLogger("host")
LOOK_S = 0.1
LATE_S = 1.0  # from here on an occurrence counts as past due


class Timer:
    """Runs one function on its schedule, which never runs it twice at once (a timer is a singleton on Azure too)."""

    def __init__(self, worker: Worker, function: Function) -> None:
        self._worker = worker
        self._function = function
        self._schedule = resolve(function.trigger["schedule"])
        if not self._comes_due():
            text = f"function {function.name}: {self._schedule!r} is not a schedule of six fields that ever comes due"
            raise BadSetting(text)

    async def run(self, stop: asyncio.Event) -> None:
        """Fire until it is time to stop; what runs then ends first."""
        seen = now()
        due = self._next(seen)
        if self._function.trigger.get("runOnStartup"):
            await self.fire(past_due=False)
        while not await rest(stop, LOOK_S):
            if now() < seen:  # the clock was set back
                due = self._next(now())
            seen = now()
            if seen < due:
                continue
            begun = time.monotonic()
            await self.fire(past_due=(seen - due).total_seconds() > LATE_S)
            # The time that the run took is no reason to fire again, a clock that was moved meanwhile is.
            due = self._next(seen + timedelta(seconds=time.monotonic() - begun))

    async def fire(self, *, past_due: bool) -> bool:
        """Run the function now, with its ``@retry`` policy; whether it went well."""
        moment = now()
        status = {"Last": moment.isoformat(), "Next": self._next(moment).isoformat(), "LastUpdated": moment.isoformat()}
        data = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        return (await self._worker.insist(self._function, TypedData(json=json.dumps(data)))).ok

    def _comes_due(self) -> bool:
        try:
            self._next(now())
        except (ValueError, CroniterBadDateError):
            return False
        return len(self._schedule.split()) == 6

    def _next(self, after: datetime) -> datetime:
        # Day of month and day of week must both match, as in NCRONTAB; cron would take either.
        cron = croniter(self._schedule, after, second_at_beginning=True, day_or=False)
        found: datetime = cron.get_next(datetime)
        return found
