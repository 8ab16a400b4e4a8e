"""The host is killed after each external write of a rollover, and every answer is lost once: same end, every time.

An external write is a request of the app that changed something at DPS, hub, vault, table, queue or topic.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.plant import Host, Plant, until

# Everything is always due, and retired as soon as the device moved, so that one rollover takes seconds.
SETTINGS = {"RETIRE_WHEN": "moved", "ROLL_DAYS_BEFORE_EXPIRY": "4000", "ROLL_LIFETIME_SHARE": "0.999999"}
SAMPLE = 3
SEED = 20261124


@pytest.fixture(scope="session")
def base(plant: Plant) -> str:
    """The time at which every run starts: well after the sweep's minute, so that no sweep mixes in."""
    now = plant.standin.control.get("/clock")["now"]
    return f"{now[:11]}{(int(now[11:13]) + 1) % 24:02}:20:00Z" if int(now[11:13]) < 23 else f"{now[:11]}23:20:00Z"


def _end(plant: Plant, host: Host, name: str) -> dict[str, Any]:
    """How it ended: the rollover, DPS, the vault and, with repeats taken out, the lifecycle events."""
    found = host.rollovers(name)
    events = [e for e in plant.standin.control.get("/topic-events") if e["subject"] == name]
    kinds = {(e["id"], e["type"]) for e in events}
    return {
        "rollovers": [r["status"] for r in found],
        **plant.end_state(name),
        "events": sorted(kind for _, kind in kinds),
    }


ENDS = ("Rollover.Completed", "Rollover.Refused", "Rollover.NeedsPerson")


def _done(host: Host, name: str) -> bool:
    """Whether it has ended, and the topic was told: the timer sees to that when a crash came in between."""
    found = host.rollovers(name)
    ended = bool(found) and all(r["status"] in ("done", "refused", "needs_person") for r in found)
    told = host.plant.standin.control.get("/topic-events") if ended else []
    return any(event["subject"] == name and event["type"] in ENDS for event in told)


def _roll(plant: Plant, name: str, base: str, folder: Path, *mishap: str) -> tuple[dict[str, Any], list[str], bool]:
    """One rollover with a mishap: its end, the writes of the last host, whether the host was killed."""
    plant.standin.control.put("/clock", {"set": base})
    device = plant.install(name, folder).live()
    host = plant.host(*mishap, **SETTINGS)
    killed = False
    try:
        event = plant.event(name)
        taken = host.deliver(event) or (host.alive and host.deliver(event))  # Event Grid tries again
        _give_time(plant, lambda: not host.alive or (taken and _done(host, name)), f"{name}: killed or done", host)
        if not host.alive:
            killed = True
            assert host.process.returncode == 137, host.tail()
            host = plant.host(**SETTINGS)
            taken = taken or host.deliver(event)
            assert taken, host.tail()
            _give_time(plant, lambda: _done(host, name), f"{name}: done after the kill", host)
        return _end(plant, host, name), host.writes(), killed
    finally:
        device.stop()
        host.stop()


def _give_time(plant: Plant, look: Callable[[], bool], what: str, host: Host) -> None:
    """Wait a little; then let three minutes pass, for what was under way is leased for two; then wait again."""
    try:
        until(look, what, host.tail, within_s=9)
    except AssertionError:
        plant.move_clock(minutes=3)
        until(look, what, host.tail)


@pytest.fixture(scope="session")
def reference(plant: Plant, base: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """A rollover to which nothing happens: its end and its writes."""
    # The first ever run makes table and queues; the second is the measure.
    _roll(plant, "first", base, tmp_path_factory.mktemp("first"))
    end, writes, _ = _roll(plant, "reference", base, tmp_path_factory.mktemp("reference"))
    return end, writes


def _numbers(count: int, whole: bool, salt: int) -> Iterator[int]:
    every = list(range(1, count + 1))
    yield from every if whole else sorted(random.Random(SEED + salt).sample(every, SAMPLE))


def test_the_reference_rollover_ends_done_and_nothing_holds_the_outgoing_certificate(
    reference: tuple[dict[str, Any], list[str]],
) -> None:
    """The end that every run with a mishap must reach too."""
    end, writes = reference
    assert end["rollovers"] == ["done"]
    assert end["versions"] == 2
    assert set(end["slots"].values()) == {1}
    assert end["events"] == ["Rollover.Completed", "Rollover.DeviceMoved", "Rollover.Started"]
    assert len(writes) > 20


@pytest.mark.proof
def test_a_kill_after_any_write_leads_to_the_same_end(
    plant: Plant, base: str, reference: tuple[dict[str, Any], list[str]], whole: bool, tmp_path: Path
) -> None:
    """Design: whatever dies between two writes costs time, nothing else."""
    expected, writes = reference
    covered = 0
    for number in _numbers(len(writes), whole, 1):
        end, _, killed = _roll(plant, f"kill-{number}", base, tmp_path, "--die-after-write", str(number))
        assert end == expected, f"killed after write {number}"
        covered += killed
    print(f"\nkilled after {covered} of {len(writes)} writes of a rollover; the same end each time")
    # Polls come and go with timing, so the last few numbers may not be reached in a run.
    assert covered >= (len(writes) - 3 if whole else 1)


@pytest.mark.proof
def test_a_lost_answer_to_any_write_leads_to_the_same_end(
    plant: Plant, base: str, reference: tuple[dict[str, Any], list[str]], whole: bool, tmp_path: Path
) -> None:
    """The write is applied and the app does not learn it; the SDK may send it again and meet a conflict."""
    expected, writes = reference
    numbers = list(_numbers(len(writes), whole, 2))
    for number in numbers:
        end, _, _ = _roll(plant, f"lost-{number}", base, tmp_path, "--lose-reply-of-write", str(number))
        assert end == expected, f"lost the answer to write {number}"
    print(f"\nlost the answer to {len(numbers)} of {len(writes)} writes of a rollover; the same end each time")


# Every write of a rollover to DPS, hub, vault and topic, in order: (service, operation, how many of its kind before).
SERVICE_WRITES = [
    ("eventgrid", "PublishEvents", 0),
    ("keyvault", "CreateCertificate", 0),
    ("dps", "PutEnrollment", 0),
    ("iothub", "PutDevice", 0),
    ("iothub", "PutJob", 0),
    ("eventgrid", "PublishEvents", 1),
    ("dps", "PutEnrollment", 1),
    ("eventgrid", "PublishEvents", 2),
]


@pytest.mark.proof
def test_a_connection_cut_after_any_write_to_a_service_leads_to_the_same_end(
    plant: Plant, base: str, reference: tuple[dict[str, Any], list[str]], whole: bool, tmp_path: Path
) -> None:
    """The real thing, over TLS: the service has written, the connection is reset, the SDK does what it does."""
    expected, writes = reference
    sent = [w for w in writes if f"http://{plant.address}:" not in w]
    assert len(sent) == len(SERVICE_WRITES), sent
    chosen = SERVICE_WRITES if whole else random.Random(SEED).sample(SERVICE_WRITES, SAMPLE)
    for number, (service, operation, skip) in enumerate(chosen):
        name = f"cut-{number}"
        plant.standin.control.put("/clock", {"set": base})
        device = plant.install(name, tmp_path).live()
        fault = {"kind": "lost_reply", "service": service, "operation": operation, "skip": skip}
        host = plant.host(**SETTINGS)
        try:
            plant.standin.control.post("/faults", fault)
            assert host.deliver(plant.event(name)) or host.deliver(plant.event(name))
            _give_time(plant, lambda host=host, name=name: _done(host, name), f"{name}: done", host)
            struck = plant.standin.control.get("/faults")
            assert not struck or struck[0].get("times") == 0, f"{service} {operation} was not struck"
            assert _end(plant, host, name) == expected, f"cut after {service} {operation} {skip}"
        finally:
            plant.standin.control.delete("/faults")
            device.stop()
            host.stop()
    print(f"\nconnection cut after {len(chosen)} of {len(SERVICE_WRITES)} service writes; the same end each time")
