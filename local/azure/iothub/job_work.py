"""What a job does on each of its devices, at the pace that the hub's tier allows."""

import asyncio

from local.azure.clock import Clock, iso
from local.azure.iothub.methods import Methods
from local.azure.iothub.refusals import HubRefusal
from local.azure.iothub.store import Json
from local.azure.iothub.twins import Twins
from local.azure.throttle import Throttles


class DeviceWork:
    """Runs the device part of jobs and keeps the rows of devices.jobs up to date."""

    def __init__(self, methods: Methods, twins: Twins, clock: Clock, throttles: Throttles) -> None:
        self._methods = methods
        self._twins = twins
        self._clock = clock
        self._throttles = throttles

    def new_row(self, job: Json, device_id: str) -> Json:
        """The row of a device whose turn has not come (docs, "Queries for IoT Hub jobs")."""
        now = iso(self._clock.now())
        return {
            "deviceId": device_id,
            "jobId": job["jobId"],
            "jobType": job["type"],
            "status": "pending",
            "startTimeUtc": job["startTime"],
            "endTimeUtc": None,
            "createdDateTimeUtc": now,
            "lastUpdatedDateTimeUtc": now,
        }

    async def do_all(self, job: Json, rows: dict[str, Json]) -> None:
        """Every device, many at once, as fast as the quota "jobs device operations" lets them start."""
        async with asyncio.TaskGroup() as group:
            for device_id, row in rows.items():
                await self._turn()
                group.create_task(self._do(job, device_id, row))

    async def _turn(self) -> None:
        while True:
            wait_s = self._throttles.take("iothub", "job_devices")
            if wait_s is None:
                return
            await asyncio.sleep(wait_s)

    async def _do(self, job: Json, device_id: str, row: Json) -> None:
        self._update(row, status="running")
        try:
            if job["type"] == "scheduleDeviceMethod":
                answer = await self._methods.invoke(device_id, job["cloudToDeviceMethod"])
                # The device answered: the row is completed, whatever status it answered with.
                self._update(row, status="completed", outcome={"deviceMethodResponse": answer})
            else:
                update = job["updateTwin"]
                self._twins.patch(device_id, update, update.get("etag"))
                self._update(row, status="completed", outcome={"deviceMethodResponse": None})
        except HubRefusal as refusal:
            self._fail(row, str(refusal.code), str(refusal))

    def fail_the_rest(self, rows: dict[str, Json]) -> None:
        """The job's time is up: devices that are not done have failed."""
        for row in rows.values():
            if row["status"] in ("pending", "running"):
                self._fail(row, "500002", "The job ended before the device was done.")

    def _fail(self, row: Json, code: str, description: str) -> None:
        # DeviceJobError of azure-iot-sdk-csharp has these two members.
        self._update(row, status="failed", error={"code": code, "description": description})

    def _update(self, row: Json, **fields: object) -> None:
        now = iso(self._clock.now())
        ended = {"endTimeUtc": now} if fields["status"] in ("completed", "failed") else {}
        row |= {"lastUpdatedDateTimeUtc": now, **ended, **fields}
