"""Who may do what: principals, Azure's role names, and the check that every service makes."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

from aiohttp import web

from local.azure.clock import Clock
from local.azure.identity.app_roles import APP_ROLES, DEFAULT_APP_ROLES
from local.azure.identity.tokens import BadToken, Tokens
from local.azure.names import Names

# Azure's built-in roles (docs: built-in roles; "Control access to DPS/IoT Hub by using Microsoft Entra ID"), each with
# the actions it allows here. Actions are <service>/<thing>/<verb>, after the data actions of the resource provider.
ROLES: dict[str, tuple[str, ...]] = {
    "Device Provisioning Service Data Contributor": ("dps/*",),
    "Device Provisioning Service Data Reader": ("dps/*/read",),
    "IoT Hub Registry Contributor": ("iothub/devices/*",),
    "IoT Hub Twin Contributor": ("iothub/twins/*",),
    "IoT Hub Data Contributor": ("iothub/*",),
    "IoT Hub Data Reader": ("iothub/*/read",),
    "Key Vault Reader": ("keyvault/certificates/read",),
    "Key Vault Certificates Officer": ("keyvault/certificates/*",),
    "Key Vault Secrets User": ("keyvault/secrets/read",),
    "Key Vault Crypto User": ("keyvault/keys/*",),
    "EventGrid Data Sender": ("eventgrid/events/send",),
    # Not Azure's: the roles of infra/ for Resource Manager, where no built-in one is narrow enough.
    "Rollover certificate authorities": ("arm/provisioningServices/certificates/*",),
    "Rollover hub": ("arm/IotHubs/read",),
    "Owner": ("*",),  # stands for an administrator who gave himself every data role
}
DEFAULT_ASSIGNMENTS: dict[str, tuple[str, ...]] = {
    # The product's managed identity: what infra/ grants it, and nothing else.
    "rollover": (
        "Device Provisioning Service Data Contributor",
        "IoT Hub Registry Contributor",
        "IoT Hub Twin Contributor",
        "IoT Hub Data Contributor",
        "Key Vault Certificates Officer",
        "Key Vault Crypto User",
        "Rollover certificate authorities",
        "Rollover hub",
        "EventGrid Data Sender",
    ),
    "operator": ("Owner",),
    # What a device uses to fetch its own certificate from the vault.
    "device": ("Key Vault Secrets User",),
}


class Unauthorized(Exception):
    """No token, or one that does not hold: 401 in the service's words. The text says why."""


class Forbidden(Exception):
    """A good token of a principal without the role: 403 in the service's words."""

    def __init__(self, principal: str, action: str) -> None:
        super().__init__(f"{principal} has no role that allows {action}")
        self.principal = principal
        self.action = action


def client_id_of(principal: str) -> str:
    """The GUID by which a managed identity is asked for; always the same for a name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://rollover.local/principals/{principal}"))


class Identity:
    """Principals with their roles; issues tokens to them and checks the tokens of requests."""

    def __init__(self, clock: Clock, names: Names) -> None:
        self.tokens = Tokens(clock, names)
        self._names = names
        self.assignments: dict[str, tuple[str, ...]] = {}
        self.app_roles: dict[str, tuple[str, ...]] = {}
        self.reset()

    def reset(self) -> None:
        """The principals and roles of a fresh installation."""
        self.assignments = dict(DEFAULT_ASSIGNMENTS)
        self.app_roles = dict(DEFAULT_APP_ROLES)

    def assign(self, principal: str, roles: Iterable[str]) -> None:
        """Give a principal exactly these roles. ValueError for a role that is not Azure's or not known here."""
        roles = tuple(roles)
        if unknown := [role for role in roles if role not in ROLES]:
            raise ValueError(f"no role named {', '.join(unknown)}; there are: {', '.join(ROLES)}")
        self.assignments[principal] = roles

    def assign_app_roles(self, principal: str, roles: Iterable[str]) -> None:
        """Give a principal exactly these roles of the app's own API. ValueError for one that the API has not."""
        roles = tuple(roles)
        if unknown := [role for role in roles if role not in APP_ROLES]:
            raise ValueError(f"no app role named {', '.join(unknown)}; there are: {', '.join(APP_ROLES)}")
        self.app_roles[principal] = roles

    def issue(self, principal: str, resource: str) -> tuple[str, datetime]:
        """A token for `resource` and the moment it ends: v2.0 for the app's own API, v1.0 for Azure's services."""
        client_id = client_id_of(principal)
        if resource in (self._names.api_uri, self._names.api_client_id):
            return self.tokens.issue_v2(principal, client_id, self.app_roles.get(principal, ()))
        return self.tokens.issue(principal, client_id, resource)

    def principal_named(self, name_or_client_id: str) -> str | None:
        """The principal that has this name or client ID."""
        for principal in {**self.assignments, **self.app_roles}:
            if name_or_client_id in (principal, client_id_of(principal)):
                return principal
        return None

    def check(self, request: web.Request, audience: str, action: str) -> str:
        """The name of the principal behind the request's bearer token.

        Unauthorized when there is no token for `audience` that holds now, Forbidden when none of the principal's
        roles allows `action`.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("there is no bearer token")
        try:
            principal = self.tokens.verify(token.strip(), audience)
        except BadToken as error:
            raise Unauthorized(str(error)) from None
        if not self.allows(principal, action):
            raise Forbidden(principal, action)
        return principal

    def allows(self, principal: str, action: str) -> bool:
        """Whether a role of the principal allows the action."""
        patterns = [one for role in self.assignments.get(principal, ()) for one in ROLES[role]]
        return any(fnmatchcase(action, pattern) for pattern in patterns)
