"""Jobs: one method call or one twin update, on every device that a condition finds when the job starts.

docs, "Schedule jobs on multiple devices". A job ends as `completed` although devices failed; only its statistics and
the rows of devices.jobs tell.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from local.azure.clock import Clock, iso, parse_iso
from local.azure.iothub.job_work import DeviceWork
from local.azure.iothub.methods import check_call
from local.azure.iothub.queries import read_condition
from local.azure.iothub.query_language import Query, Row
from local.azure.iothub.refusals import (
    ArgumentInvalid,
    ArgumentNull,
    JobAlreadyExists,
    JobNotCancellable,
    JobNotFound,
    TooManyActiveJobs,
)
from local.azure.iothub.store import Json, Store
from local.azure.knobs import Knobs
from local.azure.throttle import Throttles

TYPES = {"scheduleDeviceMethod": "cloudToDeviceMethod", "scheduleUpdateTwin": "updateTwin"}
DEFAULT_LIMIT_S = 3600
LOOK_S = 0.2  # how often a waiting job looks at the clock, which may be moved


@dataclass
class Job:
    """`shown` is the JSON of GET /jobs/v2/{id}; `rows` holds one row of devices.jobs for each device."""

    shown: Json
    target: Query
    start: datetime
    limit: timedelta
    rows: dict[str, Json] = field(default_factory=dict)
    runner: "asyncio.Task[None] | None" = None

    def as_json(self) -> Json:
        """The job with its statistics as of now."""
        states = [row["status"] for row in self.rows.values()]
        counts = {
            "deviceCount": len(states),
            "failedCount": states.count("failed"),
            "succeededCount": states.count("completed"),
            "runningCount": states.count("running"),
            "pendingCount": states.count("pending"),
        }
        return self.shown | {"deviceJobStatistics": counts}


class Jobs:
    """All jobs by ID; nothing is ever deleted (the hub keeps a history of 30 days)."""

    def __init__(self, store: Store, work: DeviceWork, clock: Clock, knobs: Knobs, throttles: Throttles) -> None:
        self._store = store
        self._work = work
        self._clock = clock
        self._knobs = knobs
        self._throttles = throttles
        self._jobs: dict[str, Job] = {}

    def create(self, job_id: str, body: Json) -> Json:
        """Queue a job (REST: Jobs - Create Scheduled Job). ArgumentInvalid, JobAlreadyExists, TooManyActiveJobs."""
        job = self._checked(job_id, body)
        if job_id in self._jobs:
            raise JobAlreadyExists(f"The job {job_id} exists already.")
        # A job that waits for its start counts, which is the careful reading of "active".
        active = sum(one.runner is not None and not one.runner.done() for one in self._jobs.values())
        if active >= self._throttles.active_jobs:
            raise TooManyActiveJobs
        self._jobs[job_id] = job
        job.runner = asyncio.create_task(self._run(job), name=f"job {job_id}")
        return job.as_json()

    def _checked(self, job_id: str, body: Json) -> Job:
        kind = body.get("type")
        if kind not in TYPES:
            raise ArgumentInvalid(f"The type is none of {', '.join(TYPES)}.")
        content = body.get(TYPES[kind])
        if not isinstance(content, dict):
            raise ArgumentNull(f"{TYPES[kind]} is missing.")
        if kind == "scheduleDeviceMethod":
            check_call(content)
        condition = body.get("queryCondition")
        if not condition:
            raise ArgumentNull("The queryCondition is missing.")
        target = read_condition(condition)
        now = self._clock.now()
        try:
            start = parse_iso(body["startTime"]) if body.get("startTime") else now
            limit = int(body.get("maxExecutionTimeInSeconds") or DEFAULT_LIMIT_S)
        except (TypeError, ValueError):
            raise ArgumentInvalid("startTime or maxExecutionTimeInSeconds cannot be read.") from None
        shown: Json = {
            "jobId": job_id,
            "queryCondition": condition,
            "createdTime": iso(now),
            "startTime": iso(start),
            "endTime": None,
            "maxExecutionTimeInSeconds": limit,
            "type": kind,
            TYPES[kind]: content,
            "status": "queued",
        }
        return Job(shown, target, start, timedelta(seconds=limit))

    def get(self, job_id: str) -> Json:
        """The job; JobNotFound without it."""
        return self._get(job_id).as_json()

    def _get(self, job_id: str) -> Job:
        if job_id not in self._jobs:
            raise JobNotFound(job_id)
        return self._jobs[job_id]

    def list(self, kind: str | None, status: str | None) -> list[Json]:
        """All jobs, newest last, narrowed to a type and a status."""
        return [
            job.as_json()
            for job in self._jobs.values()
            if kind in (None, job.shown["type"]) and status in (None, job.shown["status"])
        ]

    def cancel(self, job_id: str) -> Json:
        """Stop a job that is scheduled and does not run yet; JobNotCancellable in any other state."""
        job = self._get(job_id)
        if job.shown["status"] != "scheduled" or job.runner is None:
            raise JobNotCancellable(f"The job is {job.shown['status']}; only a scheduled job can be cancelled.")
        job.runner.cancel()
        self._finish(job, "cancelled")
        return job.as_json()

    def rows(self) -> Iterator[tuple[str, Row]]:
        """The rows of devices.jobs with their keys, in order."""
        for job_id, job in sorted(self._jobs.items()):
            for device_id, row in sorted(job.rows.items()):
                yield f"{job_id}/{device_id}", row

    async def _run(self, job: Job) -> None:
        await asyncio.sleep(self._knobs.job_start_delay_s / 2)
        job.shown["status"] = "scheduled"
        await asyncio.sleep(self._knobs.job_start_delay_s / 2)
        while self._clock.now() < job.start:  # noqa: ASYNC110  nothing to wait on: the clock may be moved
            await asyncio.sleep(LOOK_S)
        job.shown["status"] = "running"
        # Who is meant is decided now, once: a device that comes later is not in it.
        for device_id, twin in self._store.visible():
            if job.target.finds(twin):
                job.rows[device_id] = self._work.new_row(job.shown, device_id)
        work = asyncio.create_task(self._work.do_all(job.shown, job.rows))
        deadline = self._clock.now() + job.limit
        try:
            while not work.done() and self._clock.now() < deadline:
                await asyncio.wait({work}, timeout=LOOK_S)
        finally:
            work.cancel()
        self._work.fail_the_rest(job.rows)
        self._finish(job, "completed")

    def _finish(self, job: Job, status: str) -> None:
        job.shown |= {"status": status, "endTime": iso(self._clock.now())}

    def clear(self) -> None:
        """Stop and forget every job."""
        for job in self._jobs.values():
            if job.runner is not None:
                job.runner.cancel()
        self._jobs.clear()
