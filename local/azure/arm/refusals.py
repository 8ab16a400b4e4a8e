"""How Resource Manager, and the provider Microsoft.Devices behind it, say no.

Resource Manager: docs "Common error codes", {"error": {"code", "message"}}. The provider: {"code", "httpStatusCode",
"message", "details"} (ErrorDetails of azure-mgmt-iothubprovisioningservices), its codes and texts guessed but where a
source is named.
"""

import uuid
from http import HTTPStatus
from typing import Any

from aiohttp import web

from local.azure.http import Refusal


class ArmRefusal(Refusal):
    """A refusal by Resource Manager itself."""

    code = "BadRequest"

    def body(self, request: web.Request) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": str(self)}}


class Unauthenticated(ArmRefusal):
    """No token, or one that does not hold."""

    status, code = 401, "AuthenticationFailed"

    def __init__(self, tenant_id: str, reason: str) -> None:
        super().__init__(f"Authentication failed: {reason}.")
        self._tenant_id = tenant_id

    def headers(self) -> dict[str, str]:
        authority = f"https://login.windows.net/{self._tenant_id}"
        return {"WWW-Authenticate": f'Bearer authorization_uri="{authority}", error="invalid_token"'}


class NotAuthorized(ArmRefusal):
    """A good token of a principal without the role (docs: "Troubleshoot Azure RBAC")."""

    status, code = 403, "AuthorizationFailed"

    def __init__(self, principal: str, action: str, scope: str) -> None:
        super().__init__(
            f"The client '{principal}' with object id '{principal}' does not have authorization to perform action "
            f"'{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh "
            "your credentials."
        )


class ResourceNotFound(ArmRefusal):
    """There is no such resource (docs: "Resolve errors for resource not found")."""

    status, code = 404, "ResourceNotFound"

    def __init__(self, kind: str, name: str, group: str) -> None:
        super().__init__(
            f"The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go "
            "to https://aka.ms/ARMResourceNotFoundFix"
        )


class MissingVersion(ArmRefusal):
    """Every request names its api-version."""

    status, code = 400, "MissingApiVersionParameter"

    def __init__(self) -> None:
        super().__init__("The api-version query parameter (?api-version=) is required for all requests.")


class TooManyRequests(ArmRefusal):
    """docs: "Understand how Azure Resource Manager throttles requests"; it names Retry-After."""

    status, code = 429, "TooManyRequests"

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("The number of requests for the subscription has been exceeded.")
        self._retry_after = retry_after

    def headers(self) -> dict[str, str]:
        return {} if self._retry_after is None else {"Retry-After": str(max(1, round(self._retry_after)))}


class ProviderRefusal(Refusal):
    """A refusal by Microsoft.Devices, with a number as its code."""

    number = 400000

    def body(self, request: web.Request) -> dict[str, Any]:
        phrase = HTTPStatus(self.status).phrase.replace(" ", "")
        return {"code": self.number, "httpStatusCode": phrase, "message": str(self), "details": None}


class BadCertificate(ProviderRefusal):
    """A body, a name or a number of certificates that cannot be taken."""

    number = 400001


class NotPossessed(ProviderRefusal):
    """The proof is none. The first sentence is the hub's (azure-iot-sdk-c#1347, azure-cli#5376: IH400053)."""

    number = 400053

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Proof-Of-Possession failed. {reason} If you contact a support representative please include this "
            f"correlation identifier: {uuid.uuid4()}, errorcode: IH400053."
        )


class CertificateNotFound(ProviderRefusal):
    """There is no CA certificate of this name."""

    status, number = 404, 404001

    def __init__(self, name: str) -> None:
        super().__init__(f"Certificate {name} not found.")


class CertificateReferenced(ProviderRefusal):
    """A group names it (knob ca_delete_while_referenced)."""

    status, number = 409, 409001

    def __init__(self, name: str) -> None:
        super().__init__(f"Certificate {name} is referenced by an enrollment group.")


class EtagMismatch(ProviderRefusal):
    """It changed since it was read, or there is one where none was expected."""

    status, number = 412, 412001

    def __init__(self) -> None:
        super().__init__("Precondition failed: the etag does not match.")
