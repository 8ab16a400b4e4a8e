"""A breach on the running app, as its caller sees it: preview, confirm, and the end that is looked up afterwards."""

import time
from typing import Any

import requests
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin, TwinProperties

from tests.rehearsal.plant import Host, Plant, until

TWIN = {"tags": {"site": "Oslo", "rows": [1, 2.5]}, "desired": {"interval": 30, "nested": {"ø": True}}}
AGAIN = (409, 503)
"""After a kill or a lost answer the caller calls again; 409 is what an own write that was repeated may look like."""


class OnCall:
    """Somebody who calls until there is an answer, with the same token, and wants the same rollover each time."""

    def __init__(self, name: str, mode: str) -> None:
        self.asked = {"registration_id": name, "reason": "stolen key", "ticket": "INC-1", "mode": mode}
        self.token: str | None = None
        self.began: list[str] | None = None

    def call(self, host: Host) -> None:
        """Preview and confirm; gives up only when the host is dead."""
        for _ in range(30):
            try:
                body = {"confirm": self.token} if self.token else self.asked
                answer = host.api("oncall").call("POST", "/api/breaches", json=body)
            except requests.ConnectionError:
                if not host.alive:
                    return
                time.sleep(0.2)
                continue
            if answer.status_code == 202:
                began = [one["id"] for one in answer.json()["rollovers"]]
                assert self.began in (None, began), "a repeated confirmation began something else"
                self.began = began
                return
            if answer.status_code == 200:
                self.token = answer.json()["confirm_token"]
                continue
            assert answer.status_code in AGAIN, answer.text
            time.sleep(0.2)
        raise AssertionError(f"no answer to the call: {answer.status_code} {answer.text}")


def hub(plant: Plant) -> IoTHubRegistryManager:
    """The hub, as its owner."""
    return IoTHubRegistryManager.from_connection_string(plant.document["iothub"]["connection_string"])


def give_twin(plant: Plant, name: str) -> None:
    """Tags and desired properties that must be there again at the end."""
    properties = TwinProperties(desired=TWIN["desired"])
    hub(plant).replace_twin(name, Twin(tags=TWIN["tags"], properties=properties), etag="*")


def end_of(plant: Plant, host: Host, name: str) -> dict[str, Any]:
    """How it ended: rollovers, DPS, vault, hub, twin and, with repeats taken out, the lifecycle events."""
    events = [e for e in plant.standin.control.get("/topic-events") if e["subject"] == name]
    slots = plant.dps.enrollment.get(name)["attestation"]["x509"]["clientCertificates"].values()
    enrolled = {slot["info"]["sha256Thumbprint"] for slot in slots if slot}
    identity, twin = hub(plant).get_device(name), hub(plant).get_twin(name)
    shown = identity.authentication.x509_thumbprint
    desired = {key: value for key, value in twin.properties.desired.items() if not key.startswith("$")}
    return {
        "rollovers": [(r["status"], r["contained"]) for r in host.rollovers(name)],
        **plant.end_state(name),
        "hub": identity.status,
        "hub accepts what is enrolled": {shown.primary_thumbprint, shown.secondary_thumbprint} - {None, ""} == enrolled,
        "twin": {"tags": dict(twin.tags), "desired": desired} == TWIN,
        "events": sorted(kind for _, kind in {(e["id"], e["type"]) for e in events}),
    }


def ended(host: Host, name: str) -> bool:
    """Whether it is over, and the topic was told."""
    found = host.rollovers(name)
    over = bool(found) and all(r["status"] in ("done", "refused", "needs_person") for r in found)
    told = host.plant.standin.control.get("/topic-events") if over else []
    ends = ("Rollover.Completed", "Rollover.Refused", "Rollover.NeedsPerson")
    return any(event["subject"] == name and event["type"] in ends for event in told)


def wait_for_end(host: Host, name: str) -> None:
    """Wait; if need be let three minutes pass, for what was under way is leased for two."""
    try:
        until(lambda: not host.alive or ended(host, name), f"{name}: ended", host.tail, within_s=12)
    except AssertionError:
        host.plant.move_clock(minutes=3)
        until(lambda: not host.alive or ended(host, name), f"{name}: ended", host.tail)
