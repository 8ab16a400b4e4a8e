"""Event Grid: the vault's events at a webhook, with handshake, retries and mishaps; the product's custom topic."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient, CertificatePolicy, KeyType, LifetimeAction

from tests.conftest import test_net
from tests.contract.reasons import EVENTS
from tests.standin import StandIn

pytestmark = EVENTS

DAY = 24 * 3600
PREFIX = "Microsoft.KeyVault.Certificate"


@dataclass
class Receiver:
    """A webhook: answers the handshakes, keeps what is delivered, and can be told to refuse first."""

    url: str
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    shakes_hands: bool = True

    def types(self) -> list[str]:
        """The short types of the delivered events, e.g. NearExpiry."""
        events = [one[0] if isinstance(one, list) else one for one in self.bodies]
        return [(one.get("type") or one.get("eventType")).removeprefix(PREFIX) for one in events]

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 6
        while not done():
            assert time.monotonic() < deadline, f"it did not happen in 6 s; delivered: {self.types()}"
            time.sleep(0.02)


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_OPTIONS(self) -> None:
            receiver.methods.append("OPTIONS")
            receiver.headers.append(dict(self.headers))
            self.send_response(200)
            if receiver.shakes_hands:
                self.send_header("WebHook-Allowed-Origin", self.headers["WebHook-Request-Origin"])
            self.end_headers()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.methods.append("POST")
            receiver.headers.append(dict(self.headers))
            answer = b""
            if self.headers["aeg-event-type"] == "SubscriptionValidation":
                status = 200
                if receiver.shakes_hands:
                    answer = json.dumps({"validationResponse": body[0]["data"]["validationCode"]}).encode()
            else:
                status = receiver.refusals.pop(0) if receiver.refusals else 202
                if status < 300:
                    receiver.bodies.append(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    return Handler


@pytest.fixture
def receiver(azure: StandIn) -> Iterator[Receiver]:
    found = Receiver(f"http://{test_net()}.8:7071/hook?code=secret")
    server = ThreadingHTTPServer((f"{test_net()}.8", 7071), _handler(found))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    azure.control.patch("/knobs", {"certificate_create_s": 0})
    yield found
    azure.control.delete("/subscriptions/test")
    server.shutdown()
    server.server_close()


def subscribe(azure: StandIn, receiver: Receiver, schema: str = "CloudEventSchemaV1_0", *types: str) -> None:
    names = [f"{PREFIX}{one}" for one in types]
    body = {"endpoint": receiver.url, "schema": schema, "included_event_types": names}
    azure.control.put("/subscriptions/test", body)


def create(azure: StandIn, name: str = "device-1", **policy: Any) -> Any:
    asked = CertificatePolicy("Self", subject="CN=device-1", key_type=KeyType.ec, **policy)
    return client(azure).begin_create_certificate(name, asked, _polling_interval=0.02, tags={"of": name}).result()


def client(azure: StandIn) -> CertificateClient:
    url = azure.endpoints["keyvault"]["url"]
    return CertificateClient(url, ManagedIdentityCredential(), verify_challenge_resource=False)


NO_RENEWAL = [LifetimeAction("EmailContacts", lifetime_percentage=80)]


def test_a_new_version_is_announced_as_a_cloud_event(azure: StandIn, receiver: Receiver) -> None:
    """docs, "Azure Key Vault as Event Grid source" and "CloudEvents v1.0 schema"; one event in a request."""
    subscribe(azure, receiver)
    certificate = create(azure)
    receiver.until(lambda: len(receiver.bodies) == 1)
    [event] = receiver.bodies
    assert receiver.headers[-1]["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert {name: type(value).__name__ for name, value in event.items()} == dict.fromkeys(
        ("id", "source", "specversion", "type", "subject", "time"), "str"
    ) | {"data": "dict"}
    assert event["type"] == f"{PREFIX}NewVersionCreated"
    assert event["subject"] == "device-1"
    assert event["source"].endswith("/providers/Microsoft.KeyVault/vaults/kv-rollover-local")
    assert event["data"] == {
        "Id": certificate.id,
        "VaultName": "kv-rollover-local",
        "ObjectType": "Certificate",
        "ObjectName": "device-1",
        "Version": certificate.properties.version,
        "NBF": int(certificate.properties.not_before.timestamp()),
        "EXP": int(certificate.properties.expires_on.timestamp()),
    }


def test_a_new_version_is_announced_in_the_event_grid_schema(azure: StandIn, receiver: Receiver) -> None:
    """docs, "Event Grid event schema": an array of one."""
    subscribe(azure, receiver, "EventGridSchema")
    create(azure)
    receiver.until(lambda: len(receiver.bodies) == 1)
    [[event]] = receiver.bodies
    assert receiver.headers[-1]["aeg-event-type"] == "Notification"
    assert set(event) == {"id", "topic", "subject", "eventType", "data", "dataVersion", "metadataVersion", "eventTime"}
    assert EventGridEvent.from_dict(event).subject == "device-1"


@pytest.mark.parametrize(("schema", "method"), [("CloudEventSchemaV1_0", "OPTIONS"), ("EventGridSchema", "POST")])
def test_a_subscription_begins_with_a_handshake(azure: StandIn, receiver: Receiver, schema: str, method: str) -> None:
    """docs, "Endpoint validation with Event Grid event schema / CloudEvents schema"."""
    subscribe(azure, receiver, schema)
    assert receiver.methods == [method]
    assert azure.control.get("/subscriptions")[0]["endpoint"] == f"http://{test_net()}.8:7071/hook"


@pytest.mark.parametrize("schema", ["CloudEventSchemaV1_0", "EventGridSchema"])
def test_an_endpoint_that_fails_the_handshake_gets_no_subscription(
    azure: StandIn, receiver: Receiver, schema: str
) -> None:
    receiver.shakes_hands = False
    with pytest.raises(AssertionError, match="webhook validation failed"):
        subscribe(azure, receiver, schema)
    assert azure.control.get("/subscriptions") == []


def test_an_endpoint_that_is_not_there_gets_no_subscription(azure: StandIn) -> None:
    body = {"endpoint": f"http://{test_net()}.8:7072/?code=secret"}
    with pytest.raises(AssertionError, match="no answer") as refused:
        azure.control.put("/subscriptions/test", body)
    assert "secret" not in str(refused.value)


def test_near_expiry_comes_thirty_days_before_the_end(azure: StandIn, receiver: Receiver) -> None:
    """docs: fixed 30 days, whatever the policy's lifetime actions are."""
    subscribe(azure, receiver, "CloudEventSchemaV1_0", "NearExpiry")
    properties = create(azure, validity_in_months=3, lifetime_actions=NO_RENEWAL).properties
    lifetime = (properties.expires_on - properties.created_on).total_seconds()
    azure.control.put("/clock", {"advance_s": lifetime - 30 * DAY - 60})
    time.sleep(0.1)
    assert receiver.types() == []
    azure.control.put("/clock", {"advance_s": 120})
    receiver.until(lambda: receiver.types() == ["NearExpiry"])


def test_near_expiry_comes_once_for_a_version(azure: StandIn, receiver: Receiver) -> None:
    subscribe(azure, receiver, "CloudEventSchemaV1_0", "NearExpiry")
    create(azure, validity_in_months=2, lifetime_actions=NO_RENEWAL)
    azure.control.put("/clock", {"advance_s": 40 * DAY})
    azure.control.put("/clock", {"advance_s": DAY})
    azure.control.post("/events/expiry-scan")
    receiver.until(lambda: receiver.types() == ["NearExpiry"])
    time.sleep(0.1)
    assert receiver.types() == ["NearExpiry"]


def test_near_expiry_speaks_only_of_the_current_version(azure: StandIn, receiver: Receiver) -> None:
    subscribe(azure, receiver, "CloudEventSchemaV1_0", "NearExpiry")
    create(azure, validity_in_months=2, lifetime_actions=NO_RENEWAL)
    azure.control.put("/clock", {"advance_s": 20 * DAY})
    create(azure, validity_in_months=12, lifetime_actions=NO_RENEWAL)
    azure.control.put("/clock", {"advance_s": 20 * DAY})
    time.sleep(0.1)
    assert receiver.types() == []


def test_expiry_is_announced_after_near_expiry(azure: StandIn, receiver: Receiver) -> None:
    subscribe(azure, receiver, "CloudEventSchemaV1_0", "NearExpiry", "Expired")
    create(azure, validity_in_months=2, lifetime_actions=NO_RENEWAL)
    azure.control.put("/clock", {"advance_s": 40 * DAY})
    azure.control.put("/clock", {"advance_s": 30 * DAY})
    receiver.until(lambda: sorted(receiver.types()) == ["Expired", "NearExpiry"])


def test_a_disabled_version_is_announced_too(azure: StandIn, receiver: Receiver) -> None:
    """azure-docs#63553."""
    subscribe(azure, receiver, "CloudEventSchemaV1_0", "Expired")
    create(azure, validity_in_months=1, lifetime_actions=NO_RENEWAL)
    client(azure).update_certificate_properties("device-1", enabled=False)
    azure.control.put("/clock", {"advance_s": 40 * DAY})
    receiver.until(lambda: receiver.types() == ["Expired"])


@pytest.mark.parametrize("fires", [False, True])
def test_a_version_born_near_its_end_is_announced_by_knob(azure: StandIn, receiver: Receiver, fires: bool) -> None:
    """No source says whether the event comes for a certificate that lives less than 30 days."""
    azure.control.patch("/knobs", {"near_expiry_for_young": fires})
    azure.control.put("/clock", {"set": "2027-02-01T00:00:00Z"})  # the month of 28 days
    subscribe(azure, receiver, "CloudEventSchemaV1_0", "NearExpiry")
    create(azure, validity_in_months=1, lifetime_actions=NO_RENEWAL)
    azure.control.post("/events/expiry-scan")
    time.sleep(0.2)
    assert receiver.types() == (["NearExpiry"] if fires else [])


@pytest.mark.parametrize("trigger", [{"days_before_expiry": 20}, {"lifetime_percentage": 80}])
def test_the_vault_renews_by_itself_with_the_tags_copied(
    azure: StandIn, receiver: Receiver, trigger: dict[str, int]
) -> None:
    """docs, "About Key Vault certificate renewal": tags are copied; the new version is announced."""
    subscribe(azure, receiver, "CloudEventSchemaV1_0", "NewVersionCreated")
    first = create(azure, validity_in_months=3, lifetime_actions=[LifetimeAction("AutoRenew", **trigger)])
    azure.control.put("/clock", {"advance_s": 75 * DAY})
    receiver.until(lambda: len(receiver.bodies) == 2)
    second = client(azure).get_certificate("device-1")
    assert second.properties.version != first.properties.version
    assert second.properties.tags == {"of": "device-1"}
    assert second.cer != first.cer
    azure.control.put("/clock", {"advance_s": DAY})
    time.sleep(0.1)
    assert len(receiver.bodies) == 2


def test_a_jump_over_a_renewal_announces_no_near_expiry(azure: StandIn, receiver: Receiver) -> None:
    """In real time the renewed version would have been current long before."""
    azure.control.patch("/knobs", {"certificate_create_s": 0.2})
    subscribe(azure, receiver, "CloudEventSchemaV1_0", "NearExpiry", "NewVersionCreated")
    create(azure, validity_in_months=12)
    azure.control.put("/clock", {"advance_s": 350 * DAY})
    azure.control.post("/events/expiry-scan")
    receiver.until(lambda: len(receiver.bodies) == 2)
    azure.control.post("/events/expiry-scan")
    time.sleep(0.1)
    assert receiver.types() == ["NewVersionCreated"] * 2


def test_times_may_come_as_text(azure: StandIn, receiver: Receiver) -> None:
    """The page's own sample shows NBF and EXP as strings, its table says number."""
    azure.control.patch("/knobs", {"near_expiry_event": "string"})
    subscribe(azure, receiver)
    certificate = create(azure)
    receiver.until(lambda: len(receiver.bodies) == 1)
    assert receiver.bodies[0]["data"]["EXP"] == str(int(certificate.properties.expires_on.timestamp()))


def test_a_failed_delivery_is_tried_again(azure: StandIn, receiver: Receiver) -> None:
    """docs, "Event Grid message delivery and retry": at least once."""
    receiver.refusals = [500]
    subscribe(azure, receiver)
    create(azure)
    receiver.until(lambda: len(receiver.bodies) == 1)
    events = azure.control.get("/journal?kind=event")
    assert [one["outcome"] for one in events] == ["published", "Http500", "Delivered"]
    assert len({one["id"] for one in events}) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_a_final_refusal_ends_in_the_dead_letters(azure: StandIn, receiver: Receiver, status: int) -> None:
    """docs, "delivery and retry": these answers of a webhook are not tried again."""
    receiver.refusals = [status]
    subscribe(azure, receiver)
    create(azure)
    receiver.until(lambda: bool(azure.control.get("/dead-letters")))
    [letter] = azure.control.get("/dead-letters")
    assert (letter["subject"], letter["deliveryAttempts"]) == ("device-1", 1)
    assert receiver.bodies == []


def test_dropped_events_never_arrive(azure: StandIn, receiver: Receiver) -> None:
    subscribe(azure, receiver)
    azure.control.post("/events/drop", {"drop": True})
    create(azure)
    assert [one["outcome"] for one in azure.control.get("/journal?kind=event")] == ["dropped"]


def test_an_event_that_is_delivered_five_times_keeps_its_id(azure: StandIn, receiver: Receiver) -> None:
    """docs, "Event Grid message delivery and retry": at least once, so a subscriber may see an event again."""
    subscribe(azure, receiver)
    azure.control.post("/events/drop", {"copies": 5})
    create(azure)
    create(azure, name="device-2")
    receiver.until(lambda: len(receiver.bodies) == 10)
    assert sorted(Counter(one["id"] for one in receiver.bodies).values()) == [5, 5]


def test_reordered_events_all_arrive_and_overtake_one_another(azure: StandIn, receiver: Receiver) -> None:
    """docs, "Event Grid message delivery and retry": order is not guaranteed."""
    subscribe(azure, receiver)
    azure.control.post("/events/drop", {"reorder_s": 1})
    for number in range(8):
        create(azure, name=f"device-{number}")
    receiver.until(lambda: len(receiver.bodies) == 8)
    arrived = [one["subject"] for one in receiver.bodies]
    assert sorted(arrived) == [f"device-{number}" for number in range(8)]
    assert arrived != sorted(arrived)


@pytest.mark.parametrize("wrong", [{"copies": 0}, {"reorder_s": -1}, {"drop": "yes"}, {"duplicate": 1}])
def test_a_mishap_that_cannot_be_is_refused(azure: StandIn, wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="400"):
        azure.control.post("/events/drop", wrong)
    assert azure.control.post("/events/drop", {}) == {"drop": False, "copies": 1, "reorder_s": 0.0}


def test_the_schema_can_be_changed_in_flight(azure: StandIn, receiver: Receiver) -> None:
    subscribe(azure, receiver)
    azure.control.post("/events/drop", {"schema": "EventGridSchema"})
    create(azure)
    receiver.until(lambda: len(receiver.bodies) == 1)
    assert isinstance(receiver.bodies[0], list)


def publisher(azure: StandIn, principal: str = "rollover") -> EventGridPublisherClient:
    credential = ManagedIdentityCredential(client_id=principal)
    return EventGridPublisherClient(azure.endpoints["eventgrid"]["topic_endpoint"], credential)


def test_the_custom_topic_keeps_a_batch_of_cloud_events(azure: StandIn) -> None:
    """docs, "Post to custom topic for Azure Event Grid", with the real publisher client."""
    events = [
        CloudEvent(source="/rollover", type="Rollover.Started", subject=f"device-{number}", data={"n": number})
        for number in range(2)
    ]
    publisher(azure).send(events)
    kept = azure.control.get("/topic-events")
    assert [(one["subject"], one["data"]) for one in kept] == [("device-0", {"n": 0}), ("device-1", {"n": 1})]


def test_the_custom_topic_refuses_the_event_grid_schema(azure: StandIn) -> None:
    event = EventGridEvent(subject="a", event_type="b", data={}, data_version="1")
    with pytest.raises(HttpResponseError):
        publisher(azure).send(event)
    assert azure.control.get("/topic-events") == []


def test_only_a_data_sender_may_publish(azure: StandIn) -> None:
    azure.control.put("/roles/rollover", {"roles": ["Key Vault Reader"]})
    event = CloudEvent(source="/rollover", type="Rollover.Started")
    with pytest.raises((ClientAuthenticationError, HttpResponseError)) as refused:
        publisher(azure).send(event)
    assert refused.value.status_code == 403
