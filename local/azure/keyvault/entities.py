"""What the vault keeps of a certificate, and the JSON it shows of it."""

import base64
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from local.azure import x509
from local.azure.keyvault.issuing import Key
from local.azure.keyvault.policy import Policy

Json = dict[str, Any]
RECOVERABLE_DAYS = 7  # recorded: "CustomizedRecoverable+Purgeable"
IN_PROGRESS = (
    "Pending certificate created. Certificate request is in progress. This may take some time based on the issuer "
    "provider. Please check again later."
)
WAITS_FOR_MERGE = "Pending certificate created. Please Perform Merge to complete the request."


@dataclass
class Version:
    """One version. `announced` holds the expiry events that went out for it."""

    version: str
    der: bytes
    chain: list[bytes]
    key: Key
    exportable: bool
    content_type: str
    created: datetime
    updated: datetime
    enabled: bool
    tags: dict[str, str] | None
    announced: set[str] = field(default_factory=set)

    @property
    def nbf(self) -> datetime:
        return x509.validity(self.der)[0]

    @property
    def exp(self) -> datetime:
        return x509.validity(self.der)[1]

    @property
    def x5t(self) -> str:
        """base64url of the SHA-1 of the DER, without padding (recorded)."""
        return base64.urlsafe_b64encode(bytes.fromhex(x509.sha1_thumbprint(self.der))).decode().rstrip("=")

    def attributes(self) -> Json:
        """Seconds since 1970."""
        return {
            "enabled": self.enabled,
            "nbf": int(self.nbf.timestamp()),
            "exp": int(self.exp.timestamp()),
            "created": int(self.created.timestamp()),
            "updated": int(self.updated.timestamp()),
        }


@dataclass
class Pending:
    """A certificate operation: a key and a request that wait for their certificate."""

    key: Key
    csr: bytes
    issuer: Json
    request_id: str
    version: str
    enabled: bool
    tags: dict[str, str] | None
    status: str = "inProgress"
    cancellation_requested: bool = False


@dataclass
class Certificate:
    """A name in the vault: one policy, its versions (oldest first), and the last operation."""

    name: str
    policy: Policy
    policy_created: datetime
    policy_updated: datetime
    versions: list[Version] = field(default_factory=list)
    pending: Pending | None = None

    @property
    def current(self) -> Version | None:
        return self.versions[-1] if self.versions else None

    @property
    def in_progress(self) -> bool:
        return self.pending is not None and self.pending.status == "inProgress"


@dataclass
class Deleted:
    """A certificate in its recoverable state. `visible_at` is real time (monotonic seconds)."""

    certificate: Certificate
    deleted: datetime
    purge: datetime
    visible_at: float


class Shown:
    """The JSON of the vault at `url`, as recorded."""

    def __init__(self, url: str) -> None:
        self._url = url

    def bundle(self, certificate: Certificate, version: Version | None, *, policy: bool = True) -> Json:
        """A certificate in full. Before its first version there is no `sid`, `x5t` and `cer` yet.

        That a GET then answers so is read from terraform-provider-azurerm (it polls until `sid` is there)."""
        pending = certificate.pending
        id_ = version.version if version else pending.version if pending else ""
        body: Json = {
            "id": f"{self._url}/certificates/{certificate.name}/{id_}",
            "kid": f"{self._url}/keys/{certificate.name}/{id_}",
        }
        if version is not None:
            body |= {
                "sid": f"{self._url}/secrets/{certificate.name}/{id_}",
                "x5t": version.x5t,
                "cer": base64.b64encode(version.der).decode(),
                "attributes": version.attributes() | self._recovery(),
            }
        else:
            body["attributes"] = {"enabled": False} | self._recovery()
        if policy:
            body["policy"] = self.policy(certificate)
            if pending is not None:
                body["pending"] = {"id": self._pending_id(certificate)}
        if version is not None and version.tags:
            body["tags"] = version.tags
        return body

    def item(self, certificate: Certificate, version: Version | None, *, versioned: bool) -> Json:
        """A line of a list; only a list of versions names the version."""
        id_ = f"{self._url}/certificates/{certificate.name}"
        if version is None:
            return {"id": id_, "attributes": {"enabled": False}}
        body: Json = {
            "id": f"{id_}/{version.version}" if versioned else id_,
            "x5t": version.x5t,
            "attributes": version.attributes(),
        }
        return body | ({"tags": version.tags} if version.tags else {})

    def policy(self, certificate: Certificate) -> Json:
        """The policy with its id and times."""
        attributes = {
            "enabled": True,
            "created": int(certificate.policy_created.timestamp()),
            "updated": int(certificate.policy_updated.timestamp()),
        }
        id_ = f"{self._url}/certificates/{certificate.name}/policy"
        return {"id": id_, **certificate.policy, "attributes": attributes}

    def operation(self, certificate: Certificate, pending: Pending) -> Json:
        """The pending operation."""
        body: Json = {
            "id": self._pending_id(certificate),
            "issuer": pending.issuer,
            "csr": base64.b64encode(pending.csr).decode(),
            "cancellation_requested": pending.cancellation_requested,
            "status": pending.status,
        }
        if pending.status == "inProgress":
            body["status_details"] = IN_PROGRESS if pending.issuer["name"] == "Self" else WAITS_FOR_MERGE
        elif pending.status == "completed":
            body["target"] = f"{self._url}/certificates/{certificate.name}"
        return body | {"request_id": pending.request_id}

    def deleted(self, deleted: Deleted) -> Json:
        """A deleted certificate."""
        return {
            "recoveryId": f"{self._url}/deletedcertificates/{deleted.certificate.name}",
            "deletedDate": int(deleted.deleted.timestamp()),
            "scheduledPurgeDate": int(deleted.purge.timestamp()),
            **self.bundle(deleted.certificate, deleted.certificate.current),
        }

    def _pending_id(self, certificate: Certificate) -> str:
        return f"{self._url}/certificates/{certificate.name}/pending"

    def _recovery(self) -> Json:
        return {"recoveryLevel": "CustomizedRecoverable+Purgeable", "recoverableDays": RECOVERABLE_DAYS}
