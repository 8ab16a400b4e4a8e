"""The control port: clock, knobs, journal and reset."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from local.azure.clock import Clock
from local.azure.knobs import Knobs
from tests.contract.reasons import OURS
from tests.standin import StandIn

pytestmark = OURS


def test_the_clock_can_be_moved_and_set(azure: StandIn) -> None:
    assert azure.control.put("/clock", {"advance_s": 3600})["offset_s"] == 3600
    shown = azure.control.put("/clock", {"set": "2030-01-01T00:00:00Z"})
    assert shown["now"].startswith("2030-01-01T00:00:00.")
    azure.control.post("/reset")
    assert azure.control.get("/clock")["offset_s"] == 0


def test_the_clock_tells_its_subscribers_how_far_it_moved() -> None:
    clock, distances = Clock(), []
    clock.subscribe(distances.append)
    clock.advance(timedelta(days=60))
    clock.set(clock.now() - timedelta(days=1))
    assert distances[0] == timedelta(days=60)
    assert abs(distances[1] + timedelta(days=1)) < timedelta(seconds=1)


def test_a_client_that_travels_in_time_does_not_move_the_clock() -> None:
    """Tests of the product move the process's wall clock with time-machine."""
    time_machine = pytest.importorskip("time_machine")
    clock = Clock()
    before = clock.now()
    with time_machine.travel(datetime(2040, 1, 1, tzinfo=UTC)):
        assert clock.now() - before < timedelta(seconds=5)


def test_every_knob_can_be_read(azure: StandIn) -> None:
    assert azure.control.get("/knobs") == vars(Knobs())


@pytest.mark.parametrize(
    ("name", "value"), [("mirror_lone_primary", False), ("hub_slots", "enrollment"), ("assign_delay_s", 2)]
)
def test_a_knob_turns_until_the_reset(azure: StandIn, name: str, value: Any) -> None:
    assert azure.control.patch("/knobs", {name: value})[name] == value
    azure.control.post("/reset")
    assert azure.control.get("/knobs")[name] == getattr(Knobs(), name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("no_such_knob", 1), ("hub_slots", "sideways"), ("mirror_lone_primary", "yes"), ("assign_delay_s", -1)],
)
def test_a_knob_takes_only_its_own_values(azure: StandIn, name: str, value: Any) -> None:
    with pytest.raises(AssertionError, match="400"):
        azure.control.patch("/knobs", {"auth_propagation_s": 5, name: value})
    assert azure.control.get("/knobs") == vars(Knobs())


def test_the_journal_is_read_from_a_number_on(azure: StandIn) -> None:
    first = azure.world.journal.append("connect", service="iothub", device_id="a")
    second = azure.world.journal.append("connect", service="iothub", device_id="b")
    [entry] = azure.control.get(f"/journal?since={first}&kind=connect&service=iothub")
    assert (entry["seq"], entry["device_id"]) == (second, "b")
    assert {"at", "wall"} <= set(entry)


def test_a_wrong_request_is_answered_with_the_reason(azure: StandIn) -> None:
    answer = requests.put(f"{azure.endpoints['control']['url']}/clock", json={"set": "soon"}, timeout=5)
    assert (answer.status_code, "soon" in answer.json()["error"]) == (400, True)
