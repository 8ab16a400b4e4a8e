"""The recorded Key Vault session (2022, api-version 7.3), played again: same statuses, same shapes."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.identity import ManagedIdentityCredential

from tests.contract.reasons import RECORDED
from tests.standin import StandIn

pytestmark = RECORDED

RECORDING = Path(__file__).parent / "recordings" / "kv_crud_7.3.json"
ENTRIES: list[dict[str, Any]] = json.loads(RECORDING.read_text())["entries"]
NAME = "livekvtestcert5e3c32b4"
RECORDED_VERSION = re.compile(r"[0-9a-f]{32}")


def shape(value: Any) -> Any:
    """Keys and types of values, not the values; a list is the shape of its first element."""
    if isinstance(value, dict):
        return {key: shape(member) for key, member in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_the_recorded_session_has_the_recorded_shapes(azure: StandIn) -> None:
    """azure-sdk-for-python, test-proxy recording test_crud_operations[7.3]; see recordings/README.md."""
    azure.control.patch("/knobs", {"certificate_create_s": 0.3, "certificate_delete_s": 0.3})
    url = azure.endpoints["keyvault"]["url"]
    token = ManagedIdentityCredential(client_id="operator").get_token("https://vault.azure.net/.default").token
    version = ""
    for number, entry in enumerate(ENTRIES):
        path = RECORDED_VERSION.sub(version, entry["path"])
        headers = {} if entry["status"] == 401 else {"Authorization": f"Bearer {token}"}
        answer = _until_as_recorded(url + path, entry, headers)
        where = f"entry {number}: {entry['method']} {entry['path']}"
        assert answer.status_code == entry["status"], where
        assert shape(answer.json()) == shape(entry["responseBody"]), where
        for header in ("WWW-Authenticate", "Location", "Retry-After", "Content-Type"):
            assert (header in answer.headers) == (header in entry["responseHeaders"]), f"{where}: {header}"
        version = _version_of(answer.json()) or version


def _until_as_recorded(url: str, entry: dict[str, Any], headers: dict[str, str]) -> requests.Response:
    """Ask again while an operation goes on, as the recorded client did (its waiting polls were shortened)."""
    wanted = (entry["status"], entry["responseBody"].get("status"))
    deadline = time.monotonic() + 3
    while True:
        answer = requests.request(entry["method"], url, json=entry["requestBody"], headers=headers, timeout=10)
        got = (answer.status_code, answer.json().get("status"))
        if got == wanted or entry["method"] != "GET" or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)


def _version_of(body: dict[str, Any]) -> str | None:
    found = RECORDED_VERSION.search(str(body.get("sid", "")))
    return found.group() if found else None


@pytest.mark.parametrize("value", [entry["responseBody"] for entry in ENTRIES if entry["status"] == 404])
def test_a_404_says_what_the_service_said(azure: StandIn, value: dict[str, Any]) -> None:
    url = azure.endpoints["keyvault"]["url"]
    token = ManagedIdentityCredential(client_id="operator").get_token("https://vault.azure.net/.default").token
    deleted = value["error"]["message"].startswith("Deleted")
    path = f"/deletedcertificates/{NAME}" if deleted else f"/certificates/{NAME}/c39a95e5e30347bd9f667dfd4178ede5"
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.get(f"{url}{path}?api-version=7.3", headers=headers, timeout=10).json() == value
