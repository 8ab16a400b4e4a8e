"""Jobs: one act on many devices, and what the hub says came of it."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.iot.device import IoTHubDeviceClient, MethodRequest, MethodResponse
from azure.iot.hub import IoTHubJobManager
from azure.iot.hub.models import CloudToDeviceMethod, JobRequest, Twin

from tests.contract.iothub_parts import Rest, certificate, device_client, job_manager, until
from tests.contract.reasons import CLOCK, JOBS, KNOBS, QUOTAS
from tests.contract.target import Target
from tests.standin import StandIn

METHOD = {"methodName": "reprovision", "payload": {}, "responseTimeoutInSeconds": 5}
TWIN_JOB = {"type": "scheduleUpdateTwin", "updateTwin": {"etag": "*", "tags": {"wave": 1}}, "queryCondition": "*"}
Connect = Callable[..., IoTHubDeviceClient]


@pytest.fixture
def rest(target: Target) -> Rest:
    target.hurry(job_start_delay_s=0.05)
    return Rest(target)


@pytest.fixture
def jobs(azure: StandIn) -> IoTHubJobManager:
    return job_manager(azure)


@pytest.fixture
def connect(azure: StandIn, rest: Rest, tmp_path: Path) -> Iterator[Connect]:
    """Creates a device, connects it, and lets it answer methods with a status."""
    clients: list[IoTHubDeviceClient] = []

    def connected(device_id: str, status: int = 200) -> IoTHubDeviceClient:
        made = certificate(device_id)
        rest.create(device_id, made)
        client = device_client(azure, device_id, made, tmp_path)
        client.connect()
        clients.append(client)

        def answer(call: MethodRequest) -> None:
            client.send_method_response(MethodResponse.create_from_method_request(call, status, {"at": device_id}))

        client.on_method_request_received = answer
        return client

    yield connected
    for client in clients:
        client.shutdown()


def put(rest: Rest, job_id: str = "job", **changes: Any) -> requests.Response:
    return rest.call("PUT", f"/jobs/v2/{job_id}", TWIN_JOB | {"jobId": job_id} | changes)


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def reached(rest: Rest, status: str, job_id: str = "job") -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = rest.call("GET", f"/jobs/v2/{job_id}").json()
        return job if job["status"] == status else None

    found: dict[str, Any] = until(look, f"job {status}")
    return found


def rows(rest: Rest, job_id: str = "job") -> dict[str, dict[str, Any]]:
    answer = rest.query(f"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '{job_id}'")  # noqa: S608  not SQL
    assert answer.headers["x-ms-item-type"] == "DeviceJob"
    return {row["deviceId"]: row for row in answer.json()}


@JOBS
def test_a_job_is_completed_although_devices_failed(rest: Rest, jobs: IoTHubJobManager, connect: Connect) -> None:
    """docs: "Schedule jobs on multiple devices" and "Queries for IoT Hub jobs": look at statistics and rows."""
    connect("good", 200)
    connect("unwilling", 409)
    rest.create("away", certificate())
    request = JobRequest(
        job_id="job",
        type="scheduleDeviceMethod",
        cloud_to_device_method=CloudToDeviceMethod(
            method_name="reprovision", payload={}, response_timeout_in_seconds=5
        ),
        query_condition="deviceId IN ['good', 'unwilling', 'away']",
        start_time=datetime.now(UTC),
        max_execution_time_in_seconds=60,
    )
    assert jobs.create_scheduled_job("job", request).status == "queued"
    done = until(lambda: (job := jobs.get_scheduled_job("job")).status == "completed" and job, "completion")
    counts = done.device_job_statistics
    assert (counts.device_count, counts.succeeded_count, counts.failed_count) == (3, 2, 1)
    by_device = rows(rest)
    # A device that answered is completed, whatever it answered.
    assert by_device["unwilling"]["status"] == "completed"
    assert by_device["unwilling"]["outcome"] == {
        "deviceMethodResponse": {"status": 409, "payload": {"at": "unwilling"}}
    }
    assert (by_device["away"]["status"], by_device["away"]["error"]["code"]) == ("failed", "404103")
    assert done.end_time is not None


@JOBS
def test_a_job_updates_twins(rest: Rest, jobs: IoTHubJobManager) -> None:
    """docs: "Schedule jobs on multiple devices", scheduleUpdateTwin; `*` means every device."""
    rest.create("a", certificate())
    rest.create("b", certificate())
    request = JobRequest(
        job_id="job",
        type="scheduleUpdateTwin",
        update_twin=Twin(etag="*", tags={"wave": 1}),
        query_condition="*",
        start_time=datetime.now(UTC),
    )
    jobs.create_scheduled_job("job", request)
    reached(rest, "completed")
    assert [rest.call("GET", f"/twins/{name}").json()["tags"] for name in "ab"] == [{"wave": 1}] * 2


@JOBS
def test_a_stale_etag_fails_the_device_and_not_the_job(rest: Rest) -> None:
    """docs: "Schedule jobs on multiple devices", updateTwin with an etag."""
    rest.create("device", certificate())
    put(rest, updateTwin={"etag": "stale", "tags": {}})
    assert reached(rest, "completed")["deviceJobStatistics"]["failedCount"] == 1
    assert rows(rest)["device"]["error"]["code"] == "412001"


@KNOBS
def test_a_job_goes_from_queued_over_scheduled_to_running(azure: StandIn, rest: Rest, connect: Connect) -> None:
    """docs: "Schedule jobs on multiple devices", job status; azure-iot-cli-extension's live tests wait for it."""
    client = connect("slow")
    client.on_method_request_received = lambda _call: None
    azure.control.patch("/knobs", {"job_start_delay_s": 0.4})
    assert put(rest, type="scheduleDeviceMethod", cloudToDeviceMethod=METHOD).json()["status"] == "queued"
    assert rest.call("GET", "/jobs/v2/job").json()["status"] == "queued"
    reached(rest, "scheduled")
    assert reached(rest, "running")["deviceJobStatistics"]["runningCount"] == 1
    client.disconnect()
    reached(rest, "completed")
    assert rows(rest)["slow"]["error"] == {"code": "404103", "description": "Device unavailable"}


@CLOCK
def test_a_job_for_later_waits_on_the_services_clock(azure: StandIn, rest: Rest) -> None:
    """docs: "Schedule jobs on multiple devices", startTime."""
    rest.create("device", certificate())
    put(rest, startTime=in_an_hour())
    reached(rest, "scheduled")
    time.sleep(0.3)
    assert rest.call("GET", "/jobs/v2/job").json()["status"] == "scheduled"
    azure.control.put("/clock", {"advance_s": 3700})
    assert reached(rest, "completed")["deviceJobStatistics"]["succeededCount"] == 1


@CLOCK
def test_the_devices_are_chosen_when_the_job_starts(azure: StandIn, rest: Rest, connect: Connect) -> None:
    """docs: "Schedule jobs on multiple devices": the condition is evaluated at the start, and never again."""
    put(rest, "wave", type="scheduleDeviceMethod", cloudToDeviceMethod=METHOD, startTime=in_an_hour())
    reached(rest, "scheduled", "wave")
    client = connect("before")  # created after the job, but before its start
    client.on_method_request_received = lambda _call: None
    azure.control.put("/clock", {"advance_s": 3700})
    reached(rest, "running", "wave")
    rest.create("after", certificate())
    until(lambda: rows(rest, "wave"))
    assert set(rows(rest, "wave")) == {"before"}
    client.disconnect()
    reached(rest, "completed", "wave")
    assert set(rows(rest, "wave")) == {"before"}


@JOBS
def test_only_a_scheduled_job_can_be_cancelled(rest: Rest, jobs: IoTHubJobManager) -> None:
    """azure-iot-cli-extension's live tests wait for "scheduled" before they cancel."""
    put(rest, startTime=in_an_hour())
    reached(rest, "scheduled")
    assert jobs.cancel_scheduled_job("job").status == "cancelled"
    assert rest.call("POST", "/jobs/v2/job/cancel").status_code == 400
    put(rest, "other")
    reached(rest, "completed", "other")
    assert rest.call("POST", "/jobs/v2/other/cancel").headers["iothub-errorcode"] == "InvalidOperation"


@QUOTAS
@pytest.mark.parametrize(("tier", "most"), [("S1", 1), ("S2", 5), ("S3", 10)])
def test_a_tier_allows_so_many_active_jobs(azure: StandIn, rest: Rest, tier: str, most: int) -> None:
    """docs: quotas and throttling; 429004 ThrottlingMaxActiveJobCountExceeded."""
    azure.control.patch("/throttles", {"hub_tier": tier})
    for number in range(most):
        assert put(rest, f"job-{number}", startTime=in_an_hour()).status_code == 200
    answer = put(rest, "one-more")
    assert (answer.status_code, answer.headers["iothub-errorcode"]) == (429, "ThrottlingMaxActiveJobCountExceeded")
    reached(rest, "scheduled", "job-0")
    rest.call("POST", "/jobs/v2/job-0/cancel")
    assert put(rest, "one-more").status_code == 200


@JOBS
def test_a_job_id_is_used_once(rest: Rest) -> None:
    """docs: a job ID is unique; the conflict's own number is not documented."""
    put(rest)
    reached(rest, "completed")
    assert put(rest).status_code == 409


def test_an_unknown_job_is_not_found(target: Target, rest: Rest) -> None:
    """ErrorCode.cs: 404002 JobNotFound."""
    none = target.device_id("job")
    for answer in (rest.call("GET", f"/jobs/v2/{none}"), rest.call("POST", f"/jobs/v2/{none}/cancel")):
        assert (answer.status_code, answer.headers["iothub-errorcode"]) == (404, "JobNotFound")


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "scheduleReboot"},
        {"updateTwin": None},
        {"queryCondition": None},
        {"queryCondition": "deviceId LIKE 'x'"},
        {"startTime": "tomorrow"},
        {"type": "scheduleDeviceMethod", "cloudToDeviceMethod": {"methodName": "m", "responseTimeoutInSeconds": 1}},
    ],
)
def test_a_job_that_is_not_understood_is_refused(target: Target, rest: Rest, wrong: dict[str, Any]) -> None:
    """REST: Jobs - Create Scheduled Job."""
    job = target.device_id("job")
    nobody = {"queryCondition": f"deviceId = '{job}'"}  # should it be taken after all, it finds no device
    assert put(rest, job, **nobody | wrong).status_code == 400
    assert rest.call("GET", f"/jobs/v2/{job}").status_code == 404


@JOBS
def test_the_list_is_a_bare_array_narrowed_by_type_and_status(rest: Rest) -> None:
    """azure-iot-sdk-python#423: an array, which azure-iot-hub cannot read and az can."""
    put(rest, "later", startTime=in_an_hour())
    put(rest, "now")
    reached(rest, "completed", "now")

    def listed(query: str) -> list[str]:
        return [job["jobId"] for job in rest.call("GET", f"/jobs/v2/query{query}").json()]

    assert listed("") == ["later", "now"]
    assert listed("?jobType=scheduleUpdateTwin&jobStatus=completed") == ["now"]
    assert listed("?jobType=scheduleDeviceMethod") == []
    assert rest.call("GET", "/jobs").json() == []


@QUOTAS
def test_devices_are_reached_at_the_tiers_pace(azure: StandIn, rest: Rest) -> None:
    """docs: quotas and throttling, "jobs device operations": 10 a second on S1."""
    for number in range(4):
        rest.create(f"device-{number}", certificate())
    azure.control.patch("/throttles", {"limits": {"iothub/job_devices": {"amount": 2, "per_s": 0.4}}})
    started = time.monotonic()
    put(rest)
    assert reached(rest, "completed")["deviceJobStatistics"]["succeededCount"] == 4
    assert time.monotonic() - started >= 0.4


@CLOCK
def test_a_job_ends_when_its_time_is_up(azure: StandIn, rest: Rest, connect: Connect) -> None:
    """docs: "Schedule jobs on multiple devices", maxExecutionTimeInSeconds."""
    client = connect("silent")
    client.on_method_request_received = lambda _call: None
    slow = METHOD | {"responseTimeoutInSeconds": 300}
    put(rest, type="scheduleDeviceMethod", cloudToDeviceMethod=slow, maxExecutionTimeInSeconds=600)
    reached(rest, "running")
    azure.control.put("/clock", {"advance_s": 601})
    assert reached(rest, "completed")["deviceJobStatistics"]["failedCount"] == 1


@JOBS
def test_rows_of_a_job_can_be_filtered_by_the_documented_names(rest: Rest) -> None:
    """docs: "Queries for IoT Hub jobs": it filters by createdTimeUtc although rows say createdDateTimeUtc."""
    rest.create("device", certificate())
    put(rest)
    reached(rest, "completed")
    text = (
        "SELECT * FROM devices.jobs WHERE devices.jobs.deviceId = 'device' AND devices.jobs.status = 'completed' "
        "AND devices.jobs.jobType = 'scheduleUpdateTwin' AND devices.jobs.createdTimeUtc > '2016-09-01'"
    )
    (row,) = rest.query(text).json()
    assert row["outcome"] == {"deviceMethodResponse": None}
    assert rest.query("SELECT * FROM devices.jobs WHERE status = 'failed'").json() == []
