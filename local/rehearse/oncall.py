"""The person who is on call: contains a stolen key through the app's HTTP API, with an Entra token and an app role."""

from collections.abc import Mapping
from typing import Any

import requests

from local.rehearse.calling import api_of

PRINCIPAL, SECOND = "oncall", "oncall-2"


class OnCall:
    """Calls the app of a running installation; may do what `Breach.Execute` allows, and nothing in Azure itself."""

    def __init__(self, document: Mapping[str, Any], principal: str = PRINCIPAL) -> None:
        self._api = api_of(document, principal)

    def preview(self, thumbprint: str, mode: str, reason: str, ticket: str) -> dict[str, Any]:
        """What containing this certificate would do; its `confirm_token` does exactly that."""
        body = {"thumbprint": thumbprint, "mode": mode, "reason": reason, "ticket": ticket}
        return _said(self._api.call("POST", "/api/breaches", json=body))

    def preview_group(self, group_id: str, reason: str, ticket: str) -> dict[str, Any]:
        """The same for the CA that an enrollment group trusts."""
        body = {"enrollment_group": group_id, "reason": reason, "ticket": ticket}
        return _said(self._api.call("POST", "/api/breaches", json=body))

    def confirm(self, token: str) -> dict[str, Any]:
        """Do what was previewed."""
        return _said(self._api.call("POST", "/api/breaches", json={"confirm": token}))

    def approve(self, rollover_id: str, reason: str) -> dict[str, Any]:
        """Agree, as the second person, to what somebody else confirmed."""
        return _said(self._api.call("POST", f"/api/rollovers/{rollover_id}/approve", json={"reason": reason}))

    def rollover(self, rollover_id: str) -> dict[str, Any]:
        """How a rollover stands, with its history."""
        return _said(self._api.call("GET", f"/api/rollovers/{rollover_id}"))


def _said(answer: requests.Response) -> dict[str, Any]:
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
