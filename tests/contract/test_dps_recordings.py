"""Recorded sessions with the real DPS (2023, api-version 2021-10-01), played again: same statuses, same
shapes.
"""

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.contract.dps_kit import Credential, Device, NotingHub, add_ca, call, self_signed, x509_group
from tests.contract.reasons import RECORDED
from tests.contract.shapes import differences, header_differences, recording
from tests.standin import StandIn

pytestmark = RECORDED

HEADERS = ("Content-Type", "ETag", "x-ms-item-type", "x-ms-continuation", "x-ms-max-item-count")


def replay(azure: StandIn, entry: dict[str, Any], etag: str, certificate: Credential | None) -> dict[str, Any]:
    """Send one recorded request, compare, and give our answer's body."""
    path, _, query = entry["path"].partition("?")
    params = dict(pair.split("=") for pair in query.split("&"))
    body = copy.deepcopy(entry["requestBody"])
    if certificate:
        _fill(body, certificate.pem)
    headers = {"If-Match": etag} if "If-Match" in entry["requestHeaders"] else {}
    answer = call(azure, entry["method"], path, body, params=params, headers=headers)
    where = f"{entry['method']} {entry['path']}"
    assert answer.status_code == entry["status"], f"{where}: {answer.text}"
    assert header_differences(entry["responseHeaders"], answer.headers, HEADERS) == [], where
    shown = answer.json() if answer.content else None
    assert differences(entry["responseBody"], shown) == [], where
    return shown if isinstance(shown, dict) else {}


def _fill(body: Any, pem: str) -> None:
    if isinstance(body, dict):
        for name, value in body.items():
            if name == "certificate":
                body[name] = pem
            _fill(value, pem)


@pytest.mark.parametrize("name", ["dps_individual_x509_lifecycle.json", "dps_group_x509_lifecycle.json"])
def test_an_x509_entry_lives_as_recorded(azure: StandIn, name: str) -> None:
    """azure-sdk-for-python, test-proxy recordings of azure-iot-deviceprovisioning; see recordings/README.md."""
    etag, certificate = "", self_signed("enroll_cert")
    for entry in recording(name):
        etag = replay(azure, entry, etag, certificate).get("etag", etag)


def test_a_bulk_goes_as_recorded(azure: StandIn) -> None:
    """As above: `update` without etags is a 200 whose every item says 409201 "Enrollment already exists."."""
    for entry in recording("dps_bulk.json"):
        shown = replay(azure, entry, "", None)
        assert shown == entry["responseBody"]


def test_registrations_of_a_group_show_as_recorded(azure: StandIn, tmp_path: Path, monkeypatch: Any) -> None:
    """As above. The recorded device used a symmetric key, which is not emulated: ours shows a certificate."""
    NotingHub.in_place_of_the_hub(azure, monkeypatch)
    *with_keys, get_state, query_states = recording("dps_registration_lifecycle.json")
    for entry in with_keys:
        replay(azure, entry, "", None)
    root = self_signed("Recorded Root", ca=True)
    add_ca(azure, "root", root)
    group = x509_group("reg_enroll_grp_4dfe3739", root)
    assert call(azure, "PUT", "/enrollmentGroups/reg_enroll_grp_4dfe3739", group, headers={"If-Match": "*"}).ok
    Device(azure, "device-4dfe3739", root.issue("device-4dfe3739"), tmp_path).register()
    replay(azure, get_state, "", None)
    replay(azure, query_states, "", None)


def test_a_different_shape_is_noticed() -> None:
    """The comparison itself: keys, types, lengths and the number of a time's digits count."""
    recorded = {"a": "2023-05-19T23:10:43.9486465Z", "b": [1], "c": None}
    answered = {"a": "2023-05-19T23:10:43Z", "b": [1, 2], "d": None}
    assert len(differences(recorded, answered)) == 4
    assert differences(recorded, copy.deepcopy(recorded)) == []
