"""Event Grid's webhook and event hub batches."""

from typing import Any

import pytest

from tests.host.hosts import Host

WEBHOOK = "/runtime/webhooks/eventgrid?functionName=on_event"


def event_grid(**data: Any) -> dict[str, Any]:
    """An event in Event Grid's own schema, with the 7 digits of a second that are normal there."""
    names = {"id": "1", "topic": "t", "subject": "s", "eventType": "Made.Up", "dataVersion": "1"}
    return {**names, "eventTime": "2026-11-24T01:08:33.1036736Z", "metadataVersion": "1", "data": data}


def cloud_event(**data: Any) -> dict[str, Any]:
    """The same in the CloudEvents schema."""
    names = {"id": "1", "source": "t", "subject": "s", "type": "Made.Up", "specversion": "1.0"}
    return {**names, "time": "2026-11-24T01:08:33.1036736Z", "data": data}


def test_the_handshake_of_event_grids_own_schema_repeats_the_code(triggers: Host) -> None:
    """azure-docs event-grid webhook-event-delivery: 200, not 202, with the code."""
    kind = "Microsoft.EventGrid.SubscriptionValidationEvent"
    body = [{**event_grid(validationCode="c0de", validationUrl="https://x"), "eventType": kind}]
    headers = {"aeg-event-type": "SubscriptionValidation"}
    answer = triggers.post(WEBHOOK, "eventgrid_extension", json=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "c0de"})
    assert not triggers.seen("event", type=kind)


def test_the_handshake_of_cloud_events_allows_the_origin(triggers: Host) -> None:
    """azure-docs event-grid end-point-validation-cloud-events-schema."""
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net"}
    answer = triggers.call("OPTIONS", WEBHOOK, "eventgrid_extension", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert answer.headers["WebHook-Allowed-Rate"]


@pytest.mark.parametrize(("make", "kind"), [(event_grid, "EventGridEvent"), (cloud_event, "CloudEvent")])
def test_each_event_of_a_batch_is_one_invocation(triggers: Host, make: Any, kind: str) -> None:
    headers = {"aeg-event-type": "Notification"}
    batch = [make(batch=kind, n=number) for number in range(3)]
    assert triggers.post(WEBHOOK, "eventgrid_extension", json=batch, headers=headers).status_code == 202
    for number in range(3):
        assert len(triggers.seen("event", kind=kind, type="Made.Up", data={"batch": kind, "n": number})) == 1


def test_a_single_cloud_event_is_taken_too(triggers: Host) -> None:
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    answer = triggers.post(WEBHOOK, "eventgrid_extension", json=cloud_event(alone=True), headers=headers)
    assert answer.status_code == 202
    assert len(triggers.seen("event", data={"alone": True})) == 1


def test_a_failing_function_is_a_5xx_so_that_event_grid_delivers_again(triggers: Host) -> None:
    batch = [event_grid(fail=True), event_grid(beside="it")]
    assert triggers.post(WEBHOOK, "eventgrid_extension", json=batch).status_code == 500
    assert triggers.seen("event", data={"beside": "it"})


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("function", 401), ("master", 202)])
def test_the_webhook_takes_its_own_key_or_the_master_key(triggers: Host, key: str | None, status: int) -> None:
    assert triggers.post(WEBHOOK, key, json=cloud_event()).status_code == status


@pytest.mark.parametrize("name", ["nobody", "on_work", ""])
def test_what_is_no_event_grid_function_is_not_found(triggers: Host, name: str) -> None:
    url = f"/runtime/webhooks/eventgrid?functionName={name}"
    assert triggers.post(url, "eventgrid_extension", json=cloud_event()).status_code == 404


@pytest.mark.parametrize(("headers", "body"), [({}, "no json"), ({"aeg-event-type": "SubscriptionValidation"}, "[3]")])
def test_a_body_that_is_no_event_is_refused(triggers: Host, headers: dict[str, str], body: str) -> None:
    assert triggers.post(WEBHOOK, "eventgrid_extension", data=body, headers=headers).status_code == 400


def test_a_batch_is_tried_again_by_the_retry_policy_and_then_lost(triggers: Host) -> None:
    """azure-docs functions-bindings-error-pages: after the policy the checkpoint moves on."""
    bodies = [{"id": "lost"}, {"id": "lost", "fail": True}]
    answer = triggers.post("/runtime/webhooks/eventhubs/logs", "master", json=bodies)
    assert answer.json() == {"taken": False}
    assert [note["attempt"] for note in triggers.seen("batch", bodies=bodies)] == [0, 1, 2]
    assert "lost: a batch of 2 events, for on_batch failed for good" in triggers.log


def test_a_batch_arrives_whole(triggers: Host) -> None:
    bodies = [{"id": "whole", "n": 1}, {"id": "whole", "n": 2}]
    assert triggers.post("/runtime/webhooks/eventhubs/LOGS", "master", json=bodies).json() == {"taken": True}
    assert len(triggers.seen("batch", bodies=bodies)) == 1


def test_a_function_of_cardinality_one_gets_each_event_once_even_beside_a_failing_one(triggers: Host) -> None:
    bodies = [{"id": "a"}, {"id": "b", "fail": True}, {"id": "c"}]
    assert triggers.post("/runtime/webhooks/eventhubs/single", "master", json=bodies).json() == {"taken": False}
    assert [len(triggers.seen("one", body=body)) for body in bodies] == [1, 1, 1]
    assert "lost: 1 of 3 events" in triggers.log


@pytest.mark.parametrize(
    ("hub", "key", "body", "status"),
    [
        ("logs", "function", "[]", 401),
        ("nobody", "master", "[]", 404),
        ("logs", "master", "{}", 400),
        ("logs", "master", "no json", 400),
        ("logs", "master", b"\xff", 400),
    ],
)
def test_a_batch_is_refused(triggers: Host, hub: str, key: str, body: str | bytes, status: int) -> None:
    assert triggers.post(f"/runtime/webhooks/eventhubs/{hub}", key, data=body).status_code == status
