"""The Functions host as a child: its settings, its keys, and when it is ready."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from local.azurite import must_be_free
from local.children import Child

PORT = 7071
READY_S = 60.0
REPOSITORY = Path(__file__).resolve().parents[1]
EVENT_FUNCTION = "on_certificate_event"
HUB_LOG = "insights-logs-connections"
"""The event hub that a diagnostic setting sends the category Connections to, if none is named."""


@dataclass(frozen=True)
class FunctionsHost:
    """A host that runs, and the keys it made."""

    child: Child
    url: str
    keys: dict[str, str]

    @property
    def event_grid_url(self) -> str:
        """The webhook of the function that takes the vault's events, with its key."""
        query = f"functionName={EVENT_FUNCTION}&code={self.keys['eventgrid_extension']}"
        return f"{self.url}/runtime/webhooks/eventgrid?{query}"

    @property
    def hub_log_url(self) -> str:
        """Where the host takes batches of the event hub with the hub's log, with its key."""
        return f"{self.url}/runtime/webhooks/eventhubs/{HUB_LOG}?code={self.keys['master']}"

    def as_json(self) -> dict[str, str]:
        """Its part of the document that `up` prints."""
        return {"url": self.url, "key": self.keys["function"], "event_grid_url": self.event_grid_url}


def settings(document: Mapping[str, Any]) -> dict[str, str]:
    """The product's application settings for the services that `document` describes.

    What the caller's environment says wins, but for trust and identity: those belong to this stand-in alone.
    """
    storage = document["storage"]["connection_string"]
    hub = document["iothub"]["service_url"].removeprefix("https://")
    product = {
        "RolloverStorage": storage,
        "AzureWebJobsStorage": storage,
        "DPS_ENDPOINT": document["dps"]["service_url"],
        "IOT_HUB_HOSTNAME": hub,
        "IOT_HUB_NAME": document["iothub"]["name"],
        "HUB_LOGS_EVENT_HUB": HUB_LOG,
        "KEY_VAULT_URL": document["keyvault"]["url"],
        "EVENT_TOPIC_ENDPOINT": document["eventgrid"]["topic_endpoint"],
        "ARM_ENDPOINT": document["arm"]["url"],
        "DPS_RESOURCE_ID": document["dps"]["resource_id"],
        "IOT_HUB_RESOURCE_ID": document["iothub"]["resource_id"],
        "KEY_VAULT_VERIFY_CHALLENGE_RESOURCE": "false",
        # The hub stand-in ends a session in a fraction of a second (knob identity_drop_delay_s), not in up to a minute.
        "CONTAINMENT_SETTLE_SECONDS": "10",
    }
    entra = {"ENTRA_ISSUER": document["entra"]["issuer"], "ENTRA_AUDIENCE": document["entra"]["audience"]}
    return {**product, **os.environ, **entra, **document["environment"]}


async def start_host(document: Mapping[str, Any], host: str, state: Path) -> FunctionsHost:
    """Start the host on `host:7071` and wait until it runs. OSError when the port is taken, ChildFailed when the
    app cannot be indexed (the host says why)."""
    must_be_free(host, PORT)
    keys_file = state / "functions-keys.json"
    command = [sys.executable, "-m", "local.host", "--app", str(REPOSITORY), "--address", host, "--port", str(PORT)]
    command += ["--clock-file", str(state / "clock"), "--keys-file", str(keys_file)]
    child = await Child.start("the Functions host", command, settings(document))
    url = f"http://{host}:{PORT}"
    return FunctionsHost(child, url, await child.ready(_keys_once_running(url, keys_file), READY_S))


async def _keys_once_running(url: str, keys_file: Path) -> dict[str, str]:
    async with aiohttp.ClientSession() as session:
        while True:
            await asyncio.sleep(0.05)
            try:
                keys = _keys(keys_file)
                headers = {"x-functions-key": keys["master"]}
                async with session.get(f"{url}/admin/host/status", headers=headers) as answer:
                    if answer.status == 200 and (await answer.json()).get("state") == "Running":
                        return keys
            except (OSError, ValueError, aiohttp.ClientError):
                continue


def _keys(file: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(file.read_text())
    return found
