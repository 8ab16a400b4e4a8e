"""Azure Resource Manager: the client for what is read and written there, and what it says of the hub's size."""

import re
import time

from azure.core.credentials import TokenCredential
from azure.core.rest import HttpRequest
from azure.mgmt.iothubprovisioningservices import IotDpsClient

from shared.clients.answers import answers_of
from shared.clients.limits import LIMITS, Limits
from shared.errors import BadInput, RolloverError
from shared.events import LogEvent, log
from shared.settings import RESOURCE_ID, Settings

SCOPE = "https://management.azure.com/.default"
"""Of tokens, wherever the requests go: to the public cloud, or to what stands in for it."""
HUB_VERSION = "2023-06-30"
KEPT_S = 300
"""How long the hub's size is kept: a person changes it, now and then, and a subscription may read 12,000 times an hour
(docs: how Resource Manager throttles)."""


def resource_manager(
    settings: Settings, credential: TokenCredential, subscription_id: str, limits: Limits = LIMITS
) -> IotDpsClient:
    """The client for a subscription."""
    return IotDpsClient(
        credential, subscription_id, settings.arm_endpoint, credential_scopes=[SCOPE], **limits.of_core()
    )


def parts_of(resource_id: str) -> tuple[str, str, str]:
    """Subscription, resource group and name of a resource.

    Raises:
        BadInput: it is no resource ID.
    """
    found = re.fullmatch(RESOURCE_ID, resource_id, re.IGNORECASE)
    if found is None:
        raise BadInput("not the ID of an Azure resource")
    return found["subscription"], found["group"], found["name"]


class HubResource:
    """Tier and units of the hub, which its quotas follow."""

    def __init__(self, settings: Settings, credential: TokenCredential) -> None:
        self._id = settings.hub_resource_id
        self._fallback = settings.hub_sku
        self._client = resource_manager(settings, credential, parts_of(self._id)[0]) if self._id else None
        self._kept: tuple[tuple[str, int], float] | None = None

    def sku(self) -> tuple[str, int]:
        """Tier, like ``S1``, and units: the hub's own, or what the settings say where it cannot be read."""
        if self._kept is None or time.monotonic() - self._kept[1] > KEPT_S:
            self._kept = self._read(), time.monotonic()
        return self._kept[0]

    def _read(self) -> tuple[str, int]:
        if self._client is None:
            return self._fallback
        try:
            with answers_of("Resource Manager", "GET hub"):
                # The endpoint is filled in by the client.
                request = HttpRequest("GET", f"{{endpoint}}{self._id}", params={"api-version": HUB_VERSION})
                answer = self._client.send_request(request)
                answer.raise_for_status()
                sku = answer.json()["sku"]
                return str(sku["name"]).upper(), int(sku["capacity"])
        except (RolloverError, KeyError, TypeError, ValueError) as error:
            log(LogEvent.HUB_SIZE_UNREAD, why=str(error) or type(error).__name__)
            return self._fallback
