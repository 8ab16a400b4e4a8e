"""Queries over devices: the language, the paging, and what is not seen yet."""

from typing import Any

import pytest
from azure.iot.hub.models import QuerySpecification

from local.azure.iothub.query_language import parse, parse_condition
from local.azure.iothub.query_tokens import QueryError
from tests.contract.iothub_parts import Rest, certificate, registry_manager
from tests.contract.reasons import INSIDE, KNOBS, QUERIES
from tests.contract.target import Target
from tests.standin import StandIn

ROW = {
    "deviceId": "dev-1",
    "status": "enabled",
    "x509Thumbprint": {"primaryThumbprint": "AB", "secondaryThumbprint": None},
    "tags": {"site": "a", "floor": 3, "live": True, "odd name": "it's", "empty": {}},
    "properties": {"desired": {"rate": 5}, "reported": {"rate": 2.5, "firmware": {"version": "1.2"}}},
}


@pytest.fixture
def rest(target: Target) -> Rest:
    return Rest(target)


def finds(condition: str) -> bool:
    return parse_condition(condition).finds(ROW)


@INSIDE
@pytest.mark.parametrize(
    "condition",
    [
        "deviceId = 'dev-1'",
        'deviceId = "dev-1"',
        "deviceId IN ['dev-0', 'dev-1']",
        "deviceid = 1 OR deviceId = 'dev-1'",
        "status != 'disabled' AND tags.floor = 3",
        "status <> 'disabled'",
        "tags.floor >= 3 and tags.floor < 4 and tags.floor > -1e3 and tags.floor <= 3.0",
        "NOT status = 'disabled'",
        "NOT (status = 'disabled' OR tags.floor = 4)",
        "tags.live = true",
        "tags.live",
        "x509Thumbprint.secondaryThumbprint = null",
        "x509Thumbprint.primaryThumbprint IN ['AB']",
        "properties.reported.firmware.version = '1.2'",
        "properties.reported.rate = 2.5",
        "is_defined(tags.site)",
        "NOT is_defined(tags.other)",
        "is_defined(tags.empty)",
        "startswith(deviceId, 'dev')",
        "STARTSWITH(deviceId, 'dev') And not startswith(deviceId, 'x')",
        "tags['odd name'] = 'it''s'",
        r"tags['odd name'] = 'it\'s'",
        "properties.desired['rate'] = 5",
        "'a' = tags.site",
    ],
)
def test_a_condition_finds_the_device(condition: str) -> None:
    """docs: "IoT Hub query language - expressions and conditions"."""
    assert finds(condition)


@INSIDE
@pytest.mark.parametrize(
    "condition",
    [
        "deviceId = 'DEV-1'",
        "deviceId IN []",
        "tags.other = 'a'",
        "tags.other != 'a'",  # comparing what is undefined is undefined, and so is its opposite
        "NOT tags.other = 'a'",
        "NOT tags.other IN ['a']",
        "tags.floor = '3'",  # so is comparing different types
        "tags.floor != '3'",
        "x509Thumbprint.secondaryThumbprint != 'AB'",
        "tags.empty > 1",
        "tags.site",
        "startswith(tags.floor, '3')",
        "tags.other = 'a' AND deviceId = 'dev-1'",
        "deviceId.more = 'x'",
    ],
)
def test_a_condition_does_not_find_the_device(condition: str) -> None:
    """docs: "IoT Hub query language - expressions and conditions": Undefined is not true."""
    assert not finds(condition)


@INSIDE
def test_and_binds_closer_than_or() -> None:
    """docs: "IoT Hub query language - expressions and conditions", operators."""
    assert finds("status = 'enabled' OR tags.floor = 0 AND tags.floor = 0")
    assert finds("tags.other = 1 OR status = 'enabled'")
    assert not finds("NOT (tags.other = 1 OR status = 'enabled')")


@INSIDE
@pytest.mark.parametrize(
    ("query", "token"),
    [
        ("SELECT COUNT() AS n FROM devices", "COUNT"),
        ("SELECT TOP 5 * FROM devices", "TOP"),
        ("SELECT * FROM devices GROUP BY status", "GROUP"),
        ("SELECT * FROM devices ORDER BY deviceId", "ORDER"),
        ("SELECT * FROM devices.modules", "devices.modules"),
        ("SELECT * FROM enrollments", "enrollments"),
        ("SELECT * FROM devices WHERE contains(deviceId, 'x')", "contains"),
        ("SELECT * FROM devices WHERE deviceId LIKE 'x'", "LIKE"),
        ("SELECT * FROM devices WHERE deviceId = ", "the end"),
        ("SELECT * FROM devices WHERE deviceId = 'x' x", "x"),
        ("SELECT * FROM devices WHERE (deviceId = 'x'", "the end"),
        ("SELECT * FROM devices WHERE deviceId = 'x", "'x"),
        ("SELECT * FROM devices WHERE deviceId IN ('x')", "("),
        ("SELECT * FROM devices WHERE deviceId + 1 = 2", "+"),
        ("DELETE FROM devices", "DELETE"),
        ("SELECT deviceId FROM devices.jobs", "SELECT *"),
        ("", "the end"),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(query: str, token: str) -> None:
    """A stand-in that guesses would hide a mistake that the real hub, or a later one, would show."""
    with pytest.raises(QueryError, match=token.replace("(", r"\(").replace("+", r"\+").replace("*", r"\*")):
        parse(query)


@QUERIES
def test_a_refused_query_is_a_bad_request(rest: Rest) -> None:
    """ErrorCode.cs: 400004 ArgumentInvalid."""
    answer = rest.query("SELECT * FROM devices HAVING deviceId")
    assert (answer.status_code, answer.headers["iothub-errorcode"]) == (400, "ArgumentInvalid")
    assert "HAVING" in answer.json()["Message"]
    assert rest.query("SELECT * FROM devices WHERE deviceId = '" + "x" * 8192 + "'").status_code == 400
    assert rest.call("POST", "/devices/query", {}).status_code == 400


@QUERIES
def test_the_real_client_reads_twins_and_projections(azure: StandIn, rest: Rest) -> None:
    """azure-iot-hub 2.7.0 reads every row as a Twin; unknown columns land in additional_properties."""
    created = rest.create("device", certificate(), status="disabled")
    registry = registry_manager(azure)
    whole = registry.query_iot_hub(QuerySpecification(query="SELECT * FROM devices WHERE status = 'disabled'"))
    assert (whole.type, whole.continuation_token, len(whole.items)) == ("Twin", None, 1)
    assert whole.items[0].x509_thumbprint.primary_thumbprint in str(created)
    columns = "SELECT deviceId, x509Thumbprint.primaryThumbprint AS leaf, tags.none FROM devices"
    part = registry.query_iot_hub(QuerySpecification(query=columns))
    assert part.type == "Raw"
    assert part.items[0].device_id == "device"
    assert part.items[0].additional_properties == {"leaf": whole.items[0].x509_thumbprint.primary_thumbprint}


@QUERIES
def test_a_result_comes_page_by_page(rest: Rest) -> None:
    """REST: Query - Get Twins, headers x-ms-max-item-count and x-ms-continuation; the last page has no token."""
    made = certificate()
    for number in range(5):
        rest.create(f"device-{number}", made)
    found: list[Any] = []
    headers: dict[str, str] = {}
    for _ in range(3):
        page = rest.query("SELECT deviceId FROM devices", x_ms_max_item_count="2", **headers)
        found.append([row["deviceId"] for row in page.json()])
        headers = {"x_ms_continuation": page.headers.get("x-ms-continuation", "")}
        # A device of an earlier page that goes away must not make the next page skip another.
        rest.call("DELETE", f"/devices/{found[0][0]}", If_Match="*")
    assert found == [["device-0", "device-1"], ["device-2", "device-3"], ["device-4"]]
    assert headers == {"x_ms_continuation": ""}


@QUERIES
def test_a_full_last_page_has_no_continuation(rest: Rest) -> None:
    """REST: Query - Get Twins."""
    for number in range(2):
        rest.create(f"device-{number}", certificate())
    answer = rest.query("SELECT * FROM devices", x_ms_max_item_count="2")
    assert len(answer.json()) == 2
    assert "x-ms-continuation" not in answer.headers


@QUERIES
@pytest.mark.parametrize("headers", [{"x_ms_max_item_count": "0"}, {"x_ms_max_item_count": "1001"}])
def test_a_page_size_out_of_bounds_is_refused(rest: Rest, headers: dict[str, str]) -> None:
    """docs: quotas and throttling."""
    assert rest.query("SELECT * FROM devices", **headers).status_code == 400


@QUERIES
def test_a_continuation_of_another_hub_is_refused(rest: Rest) -> None:
    """REST: Query - Get Twins; the token is opaque."""
    assert rest.query("SELECT * FROM devices", x_ms_continuation="%%%").status_code == 400


@QUERIES
def test_a_query_sees_a_write_at_once_without_lag(rest: Rest) -> None:
    """Knob hub_query_lag_s at 0."""
    rest.create("device", certificate())
    assert len(rest.query("SELECT * FROM devices").json()) == 1


@KNOBS
def test_a_query_lags_behind_the_registry(azure: StandIn, rest: Rest) -> None:
    """Knob hub_query_lag_s: docs call query results eventually consistent; a GET is not."""
    rest.create("old", certificate())
    rest.create("gone", certificate())
    azure.control.patch("/knobs", {"hub_query_lag_s": 60})
    rest.create("new", certificate())
    rest.call("DELETE", "/devices/gone", If_Match="*")
    rest.call("PATCH", "/twins/old", {"tags": {"site": "x"}})
    rest.call("PATCH", "/twins/old", {"tags": {"site": "y"}})

    def seen() -> dict[str, Any]:
        return {row["deviceId"]: row["tags"] for row in rest.query("SELECT * FROM devices").json()}

    assert seen() == {"old": {}, "gone": {}}
    assert rest.call("GET", "/twins/old").json()["tags"] == {"site": "y"}
    azure.control.put("/clock", {"advance_s": 61})
    assert seen() == {"old": {"site": "y"}, "new": {}}
