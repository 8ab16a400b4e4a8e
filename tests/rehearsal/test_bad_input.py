"""Bad input at every entry of the running app: refused in the log and the ledger, nothing lost, no crash loop."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from azure.storage.queue import QueueServiceClient

from tests.rehearsal.plant import Host, Plant, until

STEPS = ("issue-certificate", "upload-secondary", "stage-hub-thumbprint", "invoke-reprovision-job", "delete-primary")


@pytest.fixture(scope="module")
def host(plant: Plant) -> Iterator[Host]:
    """A host for this file."""
    running = plant.host()
    yield running
    running.stop()


def _refused(host: Host) -> list[dict[str, Any]]:
    return list(host.api().call("GET", "/api/rollovers").json()["refused_inputs"])


EVENTS: dict[str, dict[str, Any]] = {
    "another event type": {"type": "Microsoft.KeyVault.SecretNearExpiry"},
    "another vault": {"data": {"Id": "https://other.vault.azure.net/certificates/dev-01/abc"}},
    "no data": {"data": None},
    "data that is a text": {"data": "junk"},
    "nothing that names a certificate": {"data": {"EXP": "soon"}, "subject": ""},
}


@pytest.mark.parametrize("change", EVENTS.values(), ids=list(EVENTS))
def test_a_bad_event_is_taken_and_refused_in_log_and_ledger(plant: Plant, host: Host, change: dict[str, Any]) -> None:
    """Event Grid must not send it again: it would be refused again."""
    before = sum(r["count"] for r in _refused(host) if r["source"] == "event")
    assert host.deliver({**plant.event("dev-01"), **change})
    after = sum(r["count"] for r in _refused(host) if r["source"] == "event")
    assert after == before + 1
    assert "input_refused" in host.log.read_text()


def test_an_event_of_an_unknown_certificate_is_said_clearly(plant: Plant, host: Host) -> None:
    """No match: said clearly, not dropped."""
    assert host.deliver(plant.event("nobody"))
    reasons = [r["reason"] for r in _refused(host) if r["subject"] == "nobody"]
    assert reasons == ["the vault holds no certificate 'nobody'"]
    told = [e for e in plant.standin.control.get("/topic-events") if e["subject"] == "nobody"]
    assert [e["type"] for e in told] == ["Rollover.CannotBegin"]


def test_bad_queue_messages_are_refused_and_gone(plant: Plant, host: Host) -> None:
    """Not JSON, no ID, an ID of nothing, an ID of the wrong form: each in the ledger, none in a crash loop."""
    service = QueueServiceClient.from_connection_string(plant.document["storage"]["connection_string"])
    bad = [b"junk", b"{}", b'{"rollover_id": 7}', b'{"rollover_id": "individual.nobody.1"}', b'{"rollover_id": "../x"}']
    for queue in STEPS:
        for body in bad:
            service.get_queue_client(queue).send_message(base64.b64encode(body).decode())
    expected = len(STEPS) * len(bad)

    def all_refused() -> bool:
        return sum(r["count"] for r in _refused(host) if r["source"].startswith("queue ")) >= expected

    until(all_refused, "every bad message is in the ledger", host.tail)
    for queue in STEPS:
        client = service.get_queue_client(queue)
        until(lambda c=client: c.get_queue_properties().approximate_message_count == 0, f"{queue} is empty", host.tail)
        assert not service.get_queue_client(f"{queue}-poison").get_queue_properties().approximate_message_count
    assert host.alive


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/rollovers?status=lost", 400),
        ("/api/rollovers?colour=red", 400),
        ("/api/rollovers/individual.nobody.1", 404),
        ("/api/rollovers/junk", 400),
        ("/api/rollovers/individual.x.99999999999999999999", 400),
        ("/api/rollovers/%27%20or%20true", 400),
    ],
)
def test_a_bad_request_gets_a_problem_document(host: Host, path: str, status: int) -> None:
    """RFC 9457; the query never comes back."""
    answer = host.api().call("GET", path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    problem = json.loads(answer.text)
    assert {"type", "title", "status", "detail", "instance"} <= set(problem)
    assert "?" not in problem["instance"]


def test_nothing_in_the_log_is_a_key_or_a_certificate(host: Host) -> None:
    """Secrets never reach a log."""
    text = host.log.read_text()
    assert not any(key in text for key in host.keys.values())
    assert "BEGIN" not in text
