"""Key Vault over HTTP: one line for each operation (REST reference: Key Vault certificates, secrets and keys)."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from local.azure.http import Operation, Refusal, json_reply, plain_refusal, service_app
from local.azure.identity import Forbidden, Unauthorized
from local.azure.keyvault import issuing, keys
from local.azure.keyvault.certificates import Vault
from local.azure.keyvault.entities import Certificate, Version
from local.azure.keyvault.refusals import (
    BadParameter,
    CallerForbidden,
    KeyNotFound,
    MissingToken,
    SecretDisabled,
    SecretNotFound,
    Throttled,
)
from local.azure.keyvault.refusals import CertificateNotFound as NotFound

if TYPE_CHECKING:
    from local.azure.world import World

AUDIENCE = "https://vault.azure.net"
PAGE = 25  # REST reference: the default and largest maxresults
RETRY = {"Retry-After": "10"}  # recorded, while an operation is under way


def vault_app(world: "World") -> web.Application:
    """The vault's application."""

    async def authorize(request: web.Request, operation: Operation) -> str:
        root = operation.path.split("/")[1]
        thing = root if root in ("secrets", "keys") else "certificates"
        verb = "sign" if operation.name.startswith("Sign") else "write" if operation.writes else "read"
        action = f"keyvault/{thing}/{verb}"
        try:
            return world.identity.check(request, AUDIENCE, action)
        except Unauthorized as error:
            missing = "Authorization" not in request.headers
            code = "AKV10000: Request is missing a Bearer or PoP token." if missing else f"AKV10022: {error}."
            raise MissingToken(world.names.tenant_id, code) from None
        except Forbidden as error:
            raise CallerForbidden(error.principal, error.action) from None

    api = _Api(world)
    get, post, patch, delete = "GET", "POST", "PATCH", "DELETE"
    one = "/certificates/{name}"
    table: list[tuple[str, str, str, Any, bool]] = [
        ("ListCertificates", get, "/certificates", api.list_certificates, False),
        ("CreateCertificate", post, f"{one}/create", api.create, True),
        ("ImportCertificate", post, f"{one}/import", api.import_, True),
        ("GetOperation", get, f"{one}/pending", api.get_operation, False),
        ("UpdateOperation", patch, f"{one}/pending", api.update_operation, True),
        ("DeleteOperation", delete, f"{one}/pending", api.delete_operation, True),
        ("MergeCertificate", post, f"{one}/pending/merge", api.merge, True),
        ("GetPolicy", get, f"{one}/policy", api.get_policy, False),
        ("UpdatePolicy", patch, f"{one}/policy", api.update_policy, True),
        ("ListVersions", get, f"{one}/versions", api.list_versions, False),
        ("GetCertificate", get, one, api.get, False),
        ("GetVersion", get, f"{one}/{{version}}", api.get, False),
        ("UpdateCertificate", patch, one, api.update, True),
        ("UpdateVersion", patch, f"{one}/{{version}}", api.update, True),
        ("DeleteCertificate", delete, one, api.delete, True),
        ("ListDeleted", get, "/deletedcertificates", api.list_deleted, False),
        ("GetDeleted", get, "/deletedcertificates/{name}", api.get_deleted, False),
        ("RecoverDeleted", post, "/deletedcertificates/{name}/recover", api.recover, True),
        ("PurgeDeleted", delete, "/deletedcertificates/{name}", api.purge, True),
        ("GetSecret", get, "/secrets/{name}", api.secret, False),
        ("GetSecretVersion", get, "/secrets/{name}/{version}", api.secret, False),
        ("GetKey", get, "/keys/{name}", api.key, False),
        ("GetKeyVersion", get, "/keys/{name}/{version}", api.key, False),
        ("Sign", post, "/keys/{name}/sign", api.sign, False),
        ("SignWithVersion", post, "/keys/{name}/{version}/sign", api.sign, False),
    ]
    operations = [
        Operation(name, method, path, handler, writes=writes, bucket="transactions")
        for name, method, path, handler, writes in table
    ]
    return service_app(
        "keyvault", operations, world, authorize=authorize, refusal_reply=_refusal_reply, throttled=Throttled
    )


def _refusal_reply(refusal: Refusal, request: web.Request) -> web.Response:
    return plain_refusal(refusal, request)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        body = None
    if not isinstance(body, dict):
        raise BadParameter("The request body is invalid.")
    return body


class _Api:
    """Requests to calls of the vault, and what it keeps to answers."""

    def __init__(self, world: "World") -> None:
        self._vault: Vault = world.vault
        self._shown = world.vault.shown
        self._clock = world.clock

    async def create(self, request: web.Request) -> web.Response:
        certificate, pending = await self._vault.create(request.match_info["name"], await _body(request))
        operation = self._shown.operation(certificate, pending)
        query = urlencode({"api-version": request.query.get("api-version", ""), "request_id": pending.request_id})
        return json_reply(202, operation, {"Location": f"{operation['id']}?{query}", **RETRY})

    async def import_(self, request: web.Request) -> web.Response:
        certificate, version = self._vault.import_(request.match_info["name"], await _body(request))
        return json_reply(200, self._shown.bundle(certificate, version))

    async def get_operation(self, request: web.Request) -> web.Response:
        certificate, pending = self._vault.pending(request.match_info["name"])
        headers = RETRY if pending.status == "inProgress" else {}
        return json_reply(200, self._shown.operation(certificate, pending), headers)

    async def update_operation(self, request: web.Request) -> web.Response:
        requested = bool((await _body(request)).get("cancellation_requested"))
        certificate, pending = self._vault.cancel(request.match_info["name"], requested=requested)
        return json_reply(200, self._shown.operation(certificate, pending))

    async def delete_operation(self, request: web.Request) -> web.Response:
        certificate, pending = self._vault.forget_operation(request.match_info["name"])
        return json_reply(200, self._shown.operation(certificate, pending))

    async def merge(self, request: web.Request) -> web.Response:
        certificate, version = self._vault.merge(request.match_info["name"], await _body(request))
        return json_reply(201, self._shown.bundle(certificate, version))

    async def get_policy(self, request: web.Request) -> web.Response:
        return json_reply(200, self._shown.policy(self._vault.get(request.match_info["name"])))

    async def update_policy(self, request: web.Request) -> web.Response:
        certificate = self._vault.update_policy(request.match_info["name"], await _body(request))
        return json_reply(200, self._shown.policy(certificate))

    async def get(self, request: web.Request) -> web.Response:
        """Without a version: the current one, with the policy. A named version comes without it."""
        name, version = request.match_info["name"], request.match_info.get("version", "")
        if not version and not (certificate := self._vault.get(name)).versions:
            return json_reply(200, self._shown.bundle(certificate, None))
        certificate, found = self._vault.version(name, version)
        return json_reply(200, self._shown.bundle(certificate, found, policy=not version))

    async def update(self, request: web.Request) -> web.Response:
        name, version = request.match_info["name"], request.match_info.get("version", "")
        certificate, found = self._vault.update(name, version, await _body(request))
        return json_reply(200, self._shown.bundle(certificate, found, policy=not version))

    async def delete(self, request: web.Request) -> web.Response:
        return json_reply(200, self._shown.deleted(self._vault.delete(request.match_info["name"])))

    async def list_certificates(self, request: web.Request) -> web.Response:
        pending = request.query.get("includePending", "").lower() == "true"
        kept = [one for one in self._vault if one.current is not None or pending]
        return self._page(request, [self._shown.item(one, one.current, versioned=False) for one in kept])

    async def list_versions(self, request: web.Request) -> web.Response:
        """An unknown name has no versions: an empty list, as the service gives it."""
        try:
            certificate = self._vault.get(request.match_info["name"])
        except NotFound:
            return self._page(request, [])
        items = [self._shown.item(certificate, one, versioned=True) for one in certificate.versions]
        return self._page(request, items)

    async def list_deleted(self, request: web.Request) -> web.Response:
        return self._page(request, [self._shown.deleted(one) for one in self._vault.all_deleted()])

    async def get_deleted(self, request: web.Request) -> web.Response:
        return json_reply(200, self._shown.deleted(self._vault.deleted(request.match_info["name"])))

    async def recover(self, request: web.Request) -> web.Response:
        certificate = self._vault.recover(request.match_info["name"])
        return json_reply(200, self._shown.bundle(certificate, certificate.current))

    async def purge(self, request: web.Request) -> web.Response:
        self._vault.purge(request.match_info["name"])
        return json_reply(204, None)

    async def secret(self, request: web.Request) -> web.Response:
        """The secret behind a certificate: with its key if the policy made it exportable."""
        name, wanted = request.match_info["name"], request.match_info.get("version", "")
        try:
            _, version = self._vault.version(name, wanted)
        except NotFound:
            raise SecretNotFound(f"{name}/{wanted}" if wanted else name) from None
        if not version.enabled:
            raise SecretDisabled
        key = version.key if version.exportable else None
        bundle = self._shown.bundle(self._vault.get(name), version, policy=False)
        body = {
            "value": issuing.export(version.der, version.chain, key, version.content_type),
            "contentType": version.content_type,
            "id": bundle["sid"],
            "managed": True,
            "attributes": bundle["attributes"],
            "kid": bundle["kid"],
        }
        return json_reply(200, body | ({"tags": version.tags} if version.tags else {}))

    async def key(self, request: web.Request) -> web.Response:
        """The public part of the key behind a certificate."""
        certificate, version = self._keyed(request)
        bundle = self._shown.bundle(certificate, version, policy=False)
        return json_reply(200, keys.shown(certificate, version, bundle["kid"], bundle["attributes"]))

    async def sign(self, request: web.Request) -> web.Response:
        """The signature of a digest. It changes nothing."""
        certificate, version = self._keyed(request)
        value = keys.sign(certificate, version, await _body(request), self._clock.now())
        return json_reply(200, {"kid": self._shown.bundle(certificate, version)["kid"], "value": value})

    def _keyed(self, request: web.Request) -> tuple[Certificate, Version]:
        name, wanted = request.match_info["name"], request.match_info.get("version", "")
        try:
            return self._vault.version(name, wanted)
        except NotFound:
            raise KeyNotFound(f"{name}/{wanted}" if wanted else name) from None

    def _page(self, request: web.Request, items: list[dict[str, Any]]) -> web.Response:
        try:
            size = int(request.query.get("maxresults", PAGE))
            start = int(request.query.get("$skiptoken", 0))
        except ValueError:
            raise BadParameter("Property maxresults has invalid value.") from None
        if not 1 <= size <= PAGE:
            raise BadParameter(f"Property maxresults is between 1 and {PAGE}.")
        following = None
        if start + size < len(items):
            query = {**request.query, "$skiptoken": str(start + size)}
            following = str(request.url.with_query(query))
        return json_reply(200, {"value": items[start : start + size], "nextLink": following})
