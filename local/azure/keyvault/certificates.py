"""What the vault keeps, and when it says no."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from local.azure import x509
from local.azure.keyvault import issuing
from local.azure.keyvault import policy as policies
from local.azure.keyvault.entities import RECOVERABLE_DAYS, Certificate, Deleted, Pending, Shown, Version
from local.azure.keyvault.refusals import (
    BadParameter,
    CertificateNotFound,
    DeletedButRecoverable,
    DeletedCertificateNotFound,
    PendingCertificateNotFound,
    PendingConflict,
    PublicKeyUsed,
)

if TYPE_CHECKING:
    from local.azure.world import World

Json = dict[str, Any]


class Vault:
    """One vault. Names are case-insensitive, as in Azure."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._kept: dict[str, Certificate] = {}
        self._deleted: dict[str, Deleted] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.shown = Shown(world.names.vault_url)

    def reset(self) -> None:
        """An empty vault; operations under way are forgotten."""
        for task in self._tasks:
            task.cancel()
        self._kept.clear()
        self._deleted.clear()

    def __iter__(self) -> Any:
        return iter(sorted(self._kept.values(), key=lambda one: one.name.lower()))

    # --- looking -------------------------------------------------------------------------------------------------

    def get(self, name: str) -> Certificate:
        """The certificate of this name; CertificateNotFound otherwise."""
        if name.lower() not in self._kept:
            raise CertificateNotFound(name)
        return self._kept[name.lower()]

    def version(self, name: str, version: str = "") -> tuple[Certificate, Version]:
        """One version, the current one without `version`; CertificateNotFound otherwise."""
        certificate = self._kept.get(name.lower())
        for one in reversed(certificate.versions if certificate else []):
            if certificate is not None and version.lower() in ("", one.version):
                return certificate, one
        raise CertificateNotFound(name, version)

    def pending(self, name: str) -> tuple[Certificate, Pending]:
        """The last operation of this name; PendingCertificateNotFound otherwise."""
        certificate = self._kept.get(name.lower())
        if certificate is None or certificate.pending is None:
            raise PendingCertificateNotFound(name)
        return certificate, certificate.pending

    def deleted(self, name: str) -> Deleted:
        """A deleted certificate; it takes a moment to show up (recorded: about six seconds)."""
        found = self._deleted.get(name.lower())
        if found is None or found.visible_at > time.monotonic():
            raise DeletedCertificateNotFound(name)
        return found

    def all_deleted(self) -> list[Deleted]:
        """Every deleted certificate that shows already."""
        return [one for one in self._deleted.values() if one.visible_at <= time.monotonic()]

    # --- issuing -------------------------------------------------------------------------------------------------

    async def create(self, name: str, asked: Json) -> tuple[Certificate, Pending]:
        """Begin a new version: key and request now, the certificate later (Self) or by merge (Unknown).

        Without a policy in `asked` the one in force is followed. Tags come from `asked` alone: a create without
        tags makes a version without tags.
        """
        self._must_be_free(name)
        known = self._kept.get(name.lower())
        if asked.get("policy"):
            policy = policies.complete(asked["policy"])
        elif known is not None:
            policy = known.policy
        else:
            raise BadParameter("Property policy is required.")
        attributes = asked.get("attributes") or {}
        enabled = attributes.get("enabled") is not False
        return await self._begin(name, policy, enabled=enabled, tags=asked.get("tags"))

    async def _begin(
        self, name: str, policy: policies.Policy, *, enabled: bool, tags: dict[str, str] | None
    ) -> tuple[Certificate, Pending]:
        known = self._kept.get(name.lower())
        last = known.current if known else None
        if policy["key_props"]["reuse_key"] and last is not None:
            key = last.key
        else:
            key = await asyncio.get_running_loop().run_in_executor(None, issuing.make_key, policy)
        self._must_be_free(name)  # somebody else may have been faster while the key was made
        csr = issuing.signing_request(policy, key)
        certificate = self._keep(name, policy)
        pending = Pending(key, csr, policy["issuer"], uuid.uuid4().hex, uuid.uuid4().hex, enabled, tags)
        certificate.pending = pending
        if policy["issuer"]["name"] == "Self":
            self._later(self._sign(certificate, pending))
        return certificate, pending

    def _must_be_free(self, name: str) -> None:
        if name.lower() in self._deleted:
            raise DeletedButRecoverable(name)
        known = self._kept.get(name.lower())
        if known is not None and known.in_progress:
            raise PendingConflict(name)

    def _keep(self, name: str, policy: policies.Policy) -> Certificate:
        now = self._world.clock.now()
        certificate = self._kept.setdefault(name.lower(), Certificate(name, policy, now, now))
        if certificate.policy != policy:
            certificate.policy, certificate.policy_updated = policy, now
        return certificate

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sign(self, certificate: Certificate, pending: Pending) -> None:
        await asyncio.sleep(self._world.knobs.certificate_create_s)
        if pending.status != "inProgress":
            return
        if pending.cancellation_requested:
            pending.status = "cancelled"
            return
        der = issuing.self_signed(certificate.policy, pending.key, self._world.clock.now())
        self._add_version(certificate, pending, [der])

    def merge(self, name: str, asked: Json) -> tuple[Certificate, Version]:
        """Complete the operation with a certificate from outside (`x5c`: base64 DER, leaf first)."""
        certificate, pending = self.pending(name)
        if pending.status != "inProgress":
            raise PublicKeyUsed
        try:
            ders = [x509.parse_certificate(one) for one in asked.get("x5c") or []]
        except (ValueError, AttributeError):
            raise BadParameter("Property x5c has invalid value: not X.509 certificates.") from None
        if not ders:
            raise BadParameter("Property x5c is required.")
        if issuing.public_key_of(ders[0]) != issuing.public_bytes_of(pending.key):
            raise BadParameter(
                "The public key of the end-entity certificate in the specified X.509 certificate content does not "
                "match the public part of the specified private key."
            )
        if any(issuing.same_key(ders[0], one.der) for one in certificate.versions):
            raise PublicKeyUsed
        if asked.get("tags") is not None:
            pending.tags = asked["tags"]
        if (enabled := (asked.get("attributes") or {}).get("enabled")) is not None:
            pending.enabled = enabled
        return certificate, self._add_version(certificate, pending, ders)

    def import_(self, name: str, asked: Json) -> tuple[Certificate, Version]:
        """Add a version with a key from outside. The policy's issuer is Unknown afterwards."""
        self._must_be_free(name)
        ders, key, content_type = issuing.load(asked.get("value") or "", asked.get("pwd"))
        given = {k: v for k, v in (asked.get("policy") or {}).items() if v is not None}
        policy = policies.complete(issuing.import_policy(ders[0], key, content_type) | given)
        certificate = self._keep(name, policy)
        enabled = (asked.get("attributes") or {}).get("enabled") is not False
        pending = Pending(key, b"", policy["issuer"], "", uuid.uuid4().hex, enabled, asked.get("tags"))
        return certificate, self._add_version(certificate, pending, ders)

    def _add_version(self, certificate: Certificate, pending: Pending, ders: list[bytes]) -> Version:
        now, policy = self._world.clock.now(), certificate.policy
        version = Version(
            version=pending.version,
            der=ders[0],
            chain=ders[1:],
            key=pending.key,
            exportable=bool(policy["key_props"]["exportable"]),
            content_type=policy["secret_props"]["contentType"],
            created=now,
            updated=now,
            enabled=pending.enabled,
            tags=pending.tags,
        )
        certificate.versions.append(version)
        pending.status = "completed"
        self.announce("CertificateNewVersionCreated", certificate, version)
        return version

    def renew(self, certificate: Certificate) -> None:
        """Begin what the policy's AutoRenew asks for, with the current version's tags (docs: renewal, FAQ)."""
        current = certificate.current
        enabled, tags = (current.enabled, current.tags) if current else (True, None)

        async def begin() -> None:
            with contextlib.suppress(PendingConflict):  # somebody else began while the key was made
                await self._begin(certificate.name, certificate.policy, enabled=enabled, tags=tags)

        self._later(begin())

    # --- changing ------------------------------------------------------------------------------------------------

    def update(self, name: str, version: str, asked: Json) -> tuple[Certificate, Version]:
        """Change `enabled` and tags of a version; tags are replaced as a whole."""
        certificate, found = self.version(name, version)
        if asked.get("tags") is not None:
            found.tags = asked["tags"]
        if (enabled := (asked.get("attributes") or {}).get("enabled")) is not None:
            found.enabled = bool(enabled)
        if asked.get("policy"):
            self.update_policy(name, asked["policy"])
        found.updated = self._world.clock.now()
        return certificate, found

    def update_policy(self, name: str, changes: Json) -> Certificate:
        """Change the given members of the policy; it counts for all later versions."""
        certificate = self.get(name)
        certificate.policy = policies.merged(certificate.policy, changes)
        certificate.policy_updated = self._world.clock.now()
        return certificate

    def cancel(self, name: str, *, requested: bool) -> tuple[Certificate, Pending]:
        """Ask for the operation's end; a self-signed one ends when it would have been signed."""
        certificate, pending = self.pending(name)
        pending.cancellation_requested = requested
        if requested and pending.issuer["name"] != "Self" and pending.status == "inProgress":
            pending.status = "cancelled"
        return certificate, pending

    def forget_operation(self, name: str) -> tuple[Certificate, Pending]:
        """Delete the operation, under way or not."""
        certificate, pending = self.pending(name)
        certificate.pending = None
        if pending.status == "inProgress":
            pending.status = "cancelled"
        if not certificate.versions:
            del self._kept[name.lower()]
        return certificate, pending

    def delete(self, name: str) -> Deleted:
        """Into the recoverable state, all versions."""
        certificate = self.get(name)
        if certificate.pending is not None and certificate.in_progress:
            certificate.pending.status = "cancelled"
        now: datetime = self._world.clock.now()
        visible_at = time.monotonic() + self._world.knobs.certificate_delete_s
        deleted = Deleted(certificate, now, now + timedelta(days=RECOVERABLE_DAYS), visible_at)
        self._deleted[name.lower()] = deleted
        del self._kept[name.lower()]
        return deleted

    def recover(self, name: str) -> Certificate:
        """Back from the recoverable state."""
        certificate = self.deleted(name).certificate
        del self._deleted[name.lower()]
        self._kept[name.lower()] = certificate
        return certificate

    def purge(self, name: str) -> None:
        """Gone for good."""
        self.deleted(name)
        del self._deleted[name.lower()]

    def announce(self, event_type: str, certificate: Certificate, version: Version) -> None:
        """Hand an event to Event Grid."""
        self._world.eventgrid.publish_from_vault(
            event_type, certificate.name, version.version, version.nbf, version.exp
        )
