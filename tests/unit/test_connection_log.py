"""Reading the hub's log: what each record is, taken by itself."""

import json
from datetime import UTC, datetime

import pytest

from shared.connection_log import Kind, Refusal, read_batch
from tests.builders import DEVICE
from tests.unit.hub_log import CLAIMS, HOSTILE, NOISE, REFUSALS, a_record, lines, message


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_connect_is_read_in_whatever_shape_it_comes(name):
    assert list(read_batch([REFUSALS[name]], "hub").refusals) == [DEVICE]


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_no_refusal(name):
    kind, body = NOISE[name]
    reading = read_batch([body], "hub")
    assert (reading.refusals, dict(reading.unreadable)) == ({}, {})
    assert reading.kinds[Kind(kind)]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_read_is_counted_with_a_reason_and_the_rest_is_read(name):
    reading = read_batch([HOSTILE[name], message(a_record())], "hub")
    assert list(reading.refusals) == [DEVICE]
    assert len(reading.unreadable) == 1
    [reason] = reading.unreadable
    assert len(reason) < 80, "reasons are few: nothing of the record is in them"
    assert len(reading.samples[reason]) <= 200


@pytest.mark.parametrize("claim", CLAIMS.values())
def test_a_device_id_is_taken_as_it_is(claim):
    """Letter case counts, and none of its characters means anything here."""
    assert list(read_batch([message(a_record({"deviceId": claim}))], "hub").refusals) == [claim]


def test_of_one_device_the_latest_refusal_is_kept():
    times = ["2026-11-24T12:00:02Z", None, "2026-11-24T12:00:03.1234567Z", "2026-11-24T12:00:01+00:00"]
    reading = read_batch([message(*(a_record(time=time) for time in times))], "hub")
    latest = datetime(2026, 11, 24, 12, 0, 3, 123456, tzinfo=UTC)
    assert reading.refusals == {DEVICE: Refusal(DEVICE, latest)}
    assert reading.kinds[Kind.REFUSED] == 4


def test_the_hub_is_known_by_its_whole_name_in_any_case():
    for name, ours in {"HUB": True, "hub": True, "ub": False, "hub1": False, "": False}.items():
        assert bool(read_batch([message(a_record())], name).refusals) is ours


def test_a_file_of_lines_may_hold_messages_and_ends_of_lines_of_any_kind():
    body = lines(a_record(), json.loads(message(a_record(), a_record()))).replace(b"\r\n", b"\n\n") + b"\n"
    assert read_batch([body], "hub").kinds[Kind.REFUSED] == 3
