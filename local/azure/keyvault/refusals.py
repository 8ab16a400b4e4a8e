"""How Key Vault says no. Recorded where marked so; else after the service's documentation of its errors."""

from typing import Any

from aiohttp import web

from local.azure.http import Refusal

RECOVER = (
    "If you recently deleted this {kind} you may be able to recover it using the correct recovery command. "
    "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
)


class VaultRefusal(Refusal):
    """{"error": {"code", "message", "innererror"?}}."""

    code = "BadParameter"
    inner: str | None = None

    def body(self, request: web.Request) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return {"error": error}


class BadParameter(VaultRefusal):
    status = 400


class MissingToken(VaultRefusal):
    """401 with the challenge that tells the client where to get a token, and for what (recorded)."""

    status = 401
    code = "Unauthorized"

    def __init__(self, tenant_id: str, message: str) -> None:
        super().__init__(message)
        self._tenant_id = tenant_id

    def headers(self) -> dict[str, str]:
        authority = f"https://login.microsoftonline.com/{self._tenant_id}"
        return {"WWW-Authenticate": f'Bearer authorization="{authority}", resource="https://vault.azure.net"'}


class CallerForbidden(VaultRefusal):
    status = 403
    code = "Forbidden"
    inner = "ForbiddenByRbac"

    def __init__(self, principal: str, action: str) -> None:
        super().__init__(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or "
            "role definitions were changed recently, please observe propagation time.\r\n"
            f"Caller: {principal}\r\nAction: '{action}'"
        )


class SecretDisabled(VaultRefusal):
    status = 403
    code = "Forbidden"
    inner = "SecretDisabled"

    def __init__(self) -> None:
        super().__init__("Operation get is not allowed on a disabled secret.")


class KeyForbidden(VaultRefusal):
    """The key may not be used so; `inner` says why (azure-sdk-for-python#45342 shows KeyDisabled)."""

    status = 403
    code = "Forbidden"

    def __init__(self, message: str, inner: str) -> None:
        super().__init__(message)
        self.inner = inner


class CertificateNotFound(VaultRefusal):
    """Recorded."""

    status = 404
    code = "CertificateNotFound"

    def __init__(self, name: str, version: str = "") -> None:
        which = f"{name}/versions/{version}" if version else name
        hint = RECOVER.format(kind="certificate")
        super().__init__(f"A certificate with (name/id) {which} was not found in this key vault. {hint}")


class SecretNotFound(VaultRefusal):
    status = 404
    code = "SecretNotFound"

    def __init__(self, name: str) -> None:
        hint = RECOVER.format(kind="secret")
        super().__init__(f"A secret with (name/id) {name} was not found in this key vault. {hint}")


class KeyNotFound(VaultRefusal):
    status = 404
    code = "KeyNotFound"

    def __init__(self, name: str) -> None:
        hint = RECOVER.format(kind="key")
        super().__init__(f"A key with (name/id) {name} was not found in this key vault. {hint}")


class DeletedCertificateNotFound(VaultRefusal):
    """Recorded."""

    status = 404
    code = "CertificateNotFound"

    def __init__(self, name: str) -> None:
        super().__init__(f"Deleted Certificate not found: {name}")


class PendingCertificateNotFound(VaultRefusal):
    status = 404
    code = "PendingCertificateNotFound"

    def __init__(self, name: str) -> None:
        super().__init__(f"Pending certificate not found: {name}")


class PendingConflict(VaultRefusal):
    status = 409
    code = "Conflict"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"A new key vault certificate can not be created or imported while a pending key vault certificate's "
            f"status is inProgress: {name}."
        )


class PublicKeyUsed(VaultRefusal):
    """docs, "About Key Vault certificate renewal": the error "CSR already used" of a merge."""

    status = 409
    code = "Conflict"

    def __init__(self) -> None:
        super().__init__("The CSR was already used. Create a new version with a new key (policy: reuse_key false).")


class DeletedButRecoverable(VaultRefusal):
    status = 409
    code = "Conflict"
    inner = "ObjectIsDeletedButRecoverable"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Certificate {name} is currently in a deleted but recoverable state, and its name cannot be reused; in "
            "this state, the certificate can only be recovered or purged."
        )


class Throttled(VaultRefusal):
    status = 429
    code = "Throttled"

    def __init__(self, retry_after: float | None) -> None:
        super().__init__(
            "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"
        )
        self._retry_after = retry_after

    def headers(self) -> dict[str, str]:
        return {} if self._retry_after is None else {"Retry-After": str(max(1, round(self._retry_after)))}
