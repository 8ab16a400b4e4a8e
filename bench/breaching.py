"""How soon the door at DPS is shut: the product from the confirmation on, against the two raw API calls that shut it.

Both are timed to the moment at which the DPS stand-in noted the write that disables the enrollment.
"""

import statistics
import time
from dataclasses import dataclass
from typing import Any

import requests
from azure.identity import ManagedIdentityCredential
from azure.iot.deviceprovisioning import DeviceProvisioningClient

from bench.fleet import Fleet
from bench.running import running
from local.rehearse.calling import api_of


@dataclass(frozen=True)
class Door:
    """One way of shutting it, over some devices."""

    way: str
    median_s: float
    worst_s: float


def measure_door(count: int) -> list[Door]:
    """The raw calls first."""
    with running({}) as (document, folder):
        with Fleet(document, "raw", count, folder) as fleet:
            raw = [_raw(document, name) for name in fleet.names]
        with Fleet(document, "breach", count, folder) as fleet:
            product = [_product(document, name) for name in fleet.names]
    ways = {"GET and PUT enrollment": raw, "product, from confirm": product}
    return [Door(way, statistics.median(times), max(times)) for way, times in ways.items()]


def _raw(document: dict[str, Any], name: str) -> float:
    dps = DeviceProvisioningClient(document["dps"]["service_url"], ManagedIdentityCredential())
    dps.enrollment.get(name)  # connected, and its token fetched
    since, begun = _seq(document), time.time()
    enrollment = dps.enrollment.get(name)
    body = {**enrollment, "provisioningStatus": "disabled"}
    dps.enrollment.create_or_update(name, body, if_match=enrollment["etag"])
    return _shut(document, since) - begun


def _product(document: dict[str, Any], name: str) -> float:
    api = api_of(document, "oncall")
    asked = api.call("POST", "/api/breaches", json={"registration_id": name, "reason": "bench"})
    asked.raise_for_status()
    since, begun = _seq(document), time.time()
    api.call("POST", "/api/breaches", json={"confirm": asked.json()["confirm_token"]}).raise_for_status()
    return _shut(document, since) - begun


def _seq(document: dict[str, Any]) -> int:
    entries = requests.get(f"{document['control']['url']}/journal", params={"kind": "request"}, timeout=60).json()
    return int(entries[-1]["seq"])


def _shut(document: dict[str, Any], since: int) -> float:
    query = {"kind": "request", "since": since, "service": "dps"}
    entries = requests.get(f"{document['control']['url']}/journal", params=query, timeout=60).json()
    return float(next(one["wall"] for one in entries if one["operation"] == "PutEnrollment"))
