"""The device API over MQTT, with the real device client; and what that client never shows, with a bare one."""

import json
import queue
import re
import ssl
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from azure.iot.device import X509, ProvisioningDeviceClient
from azure.iot.device.exceptions import ClientError, CredentialError

from tests.contract.dps_kit import Credential, NotingHub, self_signed, service, x509_enrollment
from tests.standin import StandIn

ONE = self_signed("dev1")


@pytest.fixture(autouse=True)
def hub(azure: StandIn, monkeypatch: pytest.MonkeyPatch) -> NotingHub:
    """Takes notes in the hub's place."""
    return NotingHub.in_place_of_the_hub(azure, monkeypatch)


def enroll(azure: StandIn, *slots: Any, **members: Any) -> None:
    service(azure).enrollment.create_or_update("dev1", x509_enrollment("dev1", *slots, **members))


def register(azure: StandIn, credential: Credential, folder: Path, registration_id: str = "dev1") -> Any:
    """One registration with azure-iot-device; its connection is shut down whatever happens."""
    chain, key = credential.files(folder)
    dps = azure.endpoints["dps"]
    client = ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=dps["device_host"],
        registration_id=registration_id,
        id_scope=dps["id_scope"],
        x509=X509(cert_file=chain, key_file=key),
        server_verification_cert=Path(azure.endpoints["ca_file"]).read_text(),
    )
    try:
        return client.register()
    finally:
        # It ends its connection itself after a success only, and has no public way to do so after a failure.
        if client._pipeline._running:
            client._pipeline.shutdown(callback=lambda **_: None)


def test_the_real_device_client_registers(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """azure-docs iot-mqtt-connect-to-iot-dps; azure-iot-device 2.14."""
    enroll(azure, ONE, deviceId="pump-1")
    result = register(azure, ONE, tmp_path)
    assert (result.status, result.registration_state.device_id) == ("assigned", "pump-1")
    assert result.registration_state.assigned_hub == hub.host_name
    assert hub.asked[0]["primary"] == ONE.sha256


def test_a_device_that_nobody_enrolled_is_refused_at_register(azure: StandIn, tmp_path: Path) -> None:
    """azure-iot-cli-extension live tests: an error of the register itself, status 401."""
    with pytest.raises(ClientError) as refused:
        register(azure, ONE, tmp_path)
    assert "401" in str(refused.value.__cause__)


def test_a_disabled_enrollment_shows_as_a_final_status(azure: StandIn, hub: NotingHub, tmp_path: Path) -> None:
    """azure-iot-cli-extension live tests: status "disabled" with 200."""
    enroll(azure, ONE, provisioningStatus="disabled")
    with pytest.raises(ClientError) as refused:
        register(azure, ONE, tmp_path)
    assert "disabled" in str(refused.value.__cause__)
    assert hub.asked == []


def test_a_certificate_of_another_name_is_refused_at_connect(azure: StandIn, tmp_path: Path) -> None:
    """A guess: CONNACK 5, which azure-iot-device shows as CredentialError."""
    with pytest.raises(CredentialError):
        register(azure, self_signed("dev2"), tmp_path)
    (entry,) = azure.control.get("/journal?kind=connect&service=dps")
    assert (entry["accepted"], entry["device_id"]) == (False, "dev1")


class CutOff(Exception):
    """The connection was refused or ended before the reply; the text has paho's return code."""


def talk(
    azure: StandIn,
    folder: Path,
    *requests: tuple[str, bytes],
    credential: Credential | None = ONE,
    password: str | None = None,
) -> list[tuple[str, Any]]:
    """Send requests with a bare MQTT client; gives topic and body of each reply. CutOff when there is none."""
    dps = azure.endpoints["dps"]
    inbox: queue.Queue[tuple[str, Any]] = queue.Queue()
    client = paho.Client("dev1", clean_session=False)
    context = ssl.create_default_context(cafile=azure.endpoints["ca_file"])
    if credential:
        context.load_cert_chain(*credential.files(folder))
    client.tls_set_context(context)
    username = f"{dps['id_scope']}/registrations/dev1/api-version=2019-03-31&ClientVersion=test"
    client.username_pw_set(username, password)
    client.on_connect = lambda _c, _u, _f, code: inbox.put(("connected", code))
    client.on_subscribe = lambda *_: inbox.put(("subscribed", None))
    client.on_message = lambda _c, _u, message: inbox.put((message.topic, json.loads(message.payload)))
    client.on_disconnect = lambda _c, _u, code: inbox.put(("cut", code))
    client.connect(dps["device_host"], 8883)
    client.loop_start()
    try:
        if (answer := inbox.get(timeout=5)) != ("connected", 0):
            raise CutOff(answer)
        client.subscribe("$dps/registrations/res/#", qos=1)
        inbox.get(timeout=5)
        return [_exchange(client, inbox, topic, payload) for topic, payload in requests]
    finally:
        client.disconnect()
        client.loop_stop()


def _exchange(client: paho.Client, inbox: Any, topic: str, payload: bytes) -> tuple[str, Any]:
    client.publish(topic, payload, qos=1)
    reply: tuple[str, Any] = inbox.get(timeout=5)
    if reply[0] == "cut":
        raise CutOff(reply)
    return reply


REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid={}"
BODY = b'{"registrationId": "dev1", "payload": null}'


def test_replies_repeat_the_request_id_and_say_when_to_ask(azure: StandIn, tmp_path: Path) -> None:
    """azure-docs iot-mqtt-connect-to-iot-dps: $dps/registrations/res/202/?$rid=1&retry-after=3."""
    enroll(azure, ONE)
    ((topic, body),) = talk(azure, tmp_path, (REGISTER.format(1), BODY))
    assert topic == "$dps/registrations/res/202/?$rid=1&retry-after=3"
    assert body == {"operationId": body["operationId"], "status": "assigning"}
    status = f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={body['operationId']}"
    ((topic, ended),) = talk(azure, tmp_path, (status, b" "))
    assert (topic, ended["status"]) == ("$dps/registrations/res/200/?$rid=2", "assigned")


def test_an_operation_that_is_not_over_says_so_again(azure: StandIn, tmp_path: Path) -> None:
    """azure-docs iot-mqtt-connect-to-iot-dps: 202 to a poll, with retry-after."""
    azure.control.patch("/knobs", {"assign_delay_s": 5})
    enroll(azure, ONE)
    ((_, body),) = talk(azure, tmp_path, (REGISTER.format(1), BODY))
    status = f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={body['operationId']}"
    ((topic, _),) = talk(azure, tmp_path, (status, b" "))
    assert topic == "$dps/registrations/res/202/?$rid=2&retry-after=3"


def test_a_refusal_has_the_error_body(azure: StandIn, tmp_path: Path) -> None:
    """Logs in issues of azure-iot-sdk-c: {"errorCode":401002,"trackingId":…,"message":"Unauthorized",…}."""
    ((topic, body),) = talk(azure, tmp_path, (REGISTER.format(7), BODY))
    assert topic == "$dps/registrations/res/401/?$rid=7"
    assert (body["errorCode"], body["message"]) == (401002, "Unauthorized")
    assert re.fullmatch(r"[0-9a-f-]{36}", body["trackingId"])


@pytest.mark.parametrize("payload", [b"", b"{", b'{"registrationId": "dev2"}'])
def test_a_payload_that_names_no_device_is_a_bad_request(azure: StandIn, tmp_path: Path, payload: bytes) -> None:
    """As over HTTPS."""
    ((topic, _),) = talk(azure, tmp_path, (REGISTER.format(1), payload))
    assert topic.startswith("$dps/registrations/res/400/")


def test_a_device_over_its_quota_is_told_when_to_come_back(azure: StandIn, tmp_path: Path) -> None:
    """azure-docs about-iot-dps: 429; over MQTT the wait stands in the topic."""
    azure.control.patch("/throttles", {"limits": {"dps/register": {"amount": 1, "per_s": 60}}})
    enroll(azure, ONE)
    replies = talk(azure, tmp_path, (REGISTER.format(1), BODY), (REGISTER.format(2), BODY))
    assert re.fullmatch(r"\$dps/registrations/res/429/\?\$rid=2&retry-after=\d+", replies[1][0])


def test_registering_with_a_key_is_not_emulated(azure: StandIn, tmp_path: Path) -> None:
    """Azure can; the stand-in says that it lacks it."""
    body = {"registrationId": "dev1", "attestation": {"type": "symmetricKey"}}
    service(azure).enrollment.create_or_update("dev1", body)
    token = "SharedAccessSignature sr=x&sig=y&se=1"
    ((topic, said),) = talk(azure, tmp_path, (REGISTER.format(1), BODY), credential=None, password=token)
    assert topic.startswith("$dps/registrations/res/501/")
    assert "symmetricKey" in said["message"]


def test_who_shows_neither_certificate_nor_token_is_refused_at_connect(azure: StandIn, tmp_path: Path) -> None:
    """A guess: CONNACK 5."""
    with pytest.raises(CutOff):
        talk(azure, tmp_path, (REGISTER.format(1), BODY), credential=None)


def test_a_topic_that_dps_does_not_have_ends_the_connection(azure: StandIn, tmp_path: Path) -> None:
    """A guess; as IoT Hub does."""
    with pytest.raises(CutOff):
        talk(azure, tmp_path, ("devices/dev1/messages/events/", b"{}"))


@pytest.mark.parametrize(("kind", "left"), [("lost_reply", 1), ("reset", 0)])
def test_faults_strike_devices_too(azure: StandIn, hub: NotingHub, tmp_path: Path, kind: str, left: int) -> None:
    """No fact about Azure: a lost reply leaves a registration under way, a reset does not."""
    enroll(azure, ONE)
    azure.control.post("/faults", {"kind": kind, "service": "dps", "operation": "DeviceRegister"})
    with pytest.raises(CutOff):
        talk(azure, tmp_path, (REGISTER.format(1), BODY))
    assert len(hub.asked) == left


def test_an_injected_status_reaches_the_device(azure: StandIn, tmp_path: Path) -> None:
    """No fact about Azure."""
    enroll(azure, ONE)
    fault = {
        "kind": "status",
        "service": "dps",
        "operation": "DeviceRegister",
        "status": 500,
        "retry_after": 2,
    }
    azure.control.post("/faults", fault)
    replies = talk(azure, tmp_path, (REGISTER.format(1), BODY), (REGISTER.format(2), BODY))
    assert replies[0][0] == "$dps/registrations/res/500/?$rid=1&retry-after=2"
    assert "/202/" in replies[1][0]
