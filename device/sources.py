"""Where new certificates come from: a folder that the fleet's own pipeline fills, or a secret in Key Vault."""

from __future__ import annotations

import base64
import binascii
import logging
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import requests

from device.credential import Credential
from device.errors import NotACredential, SourceUnavailable
from device.ports import Hint

log = logging.getLogger(__name__)


class FolderSource:
    """PEM files, each a private key with its chain, put into ``path`` by atomic rename.

    ``pattern`` is a glob for the names of this device's files. A file that is no credential is passed over, so that
    one bad delivery does not hide a good one. Of several, the one whose validity began last is the newest.
    """

    def __init__(self, path: Path, pattern: str = "*.pem") -> None:
        self._path = path
        self._pattern = pattern

    def newest(self, hint: Hint | None) -> Credential | None:
        """Return the hinted credential if it is there, else the newest. Raises SourceUnavailable."""
        found: list[tuple[Credential, int]] = []
        try:
            for file in sorted(self._path.glob(self._pattern)):
                try:
                    found.append((Credential.from_pem(file.read_bytes()), file.stat().st_mtime_ns))
                except NotACredential as error:
                    log.warning("passed over %s: %s", file.name, error)
        except OSError as error:
            raise SourceUnavailable(f"cannot read {self._path}: {error.strerror}") from None
        for credential, _ in found:
            if hint and credential.sha256 == hint.sha256:
                return credential
        return max(found, key=lambda one: (one[0].not_before, one[1]))[0] if found else None


class _Token(Protocol):
    @property
    def token(self) -> str: ...


class TokenCredential(Protocol):
    """The part of an azure-identity credential that is used here."""

    def get_token(self, *scopes: str) -> _Token: ...


class VaultSecretSource:
    """The secret behind a Key Vault certificate: its private key and chain, as PFX or PEM.

    The device's identity needs the role Key Vault Secrets User on this one secret. The answer's ``contentType`` is
    ``application/x-pkcs12`` (base64, no password) or ``application/x-pem-file``
    (azure-docs key-vault "About certificates", "Exportable or non-exportable key").
    """

    def __init__(self, vault_url: str, name: str, credential: TokenCredential, timeout_s: float = 20.0) -> None:
        self._vault_url = vault_url.rstrip("/")
        self._name = name
        self._credential = credential
        self._timeout_s = timeout_s

    def newest(self, hint: Hint | None) -> Credential | None:
        """Return the hinted version, or the latest one; None when the vault has no such secret.

        Raises SourceUnavailable: no token, no answer, an answer other than 200 and 404, or unreadable content.
        """
        version = self._hinted_version(hint)
        url = f"{self._vault_url}/secrets/{self._name}" + (f"/{version}" if version else "")
        try:
            token = self._credential.get_token("https://vault.azure.net/.default").token
        except Exception as error:  # noqa: BLE001 azure-identity has no common class for "cannot get a token"
            raise SourceUnavailable(f"no token for the vault: {type(error).__name__}") from None
        try:
            answer = requests.get(
                url,
                params={"api-version": "7.5"},
                headers={"Authorization": f"Bearer {token}"},
                timeout=self._timeout_s,
            )
        except requests.RequestException as error:
            raise SourceUnavailable(f"no answer from the vault: {type(error).__name__}") from None
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise SourceUnavailable(f"the vault answered {answer.status_code} for secret {self._name}")
        return _of_secret(answer)

    def _hinted_version(self, hint: Hint | None) -> str | None:
        """The version in a hint that names this very certificate; a hint is a caller's word, not a place to go."""
        if hint is None or hint.certificate_id is None:
            return None
        try:
            said, own = urlsplit(hint.certificate_id), urlsplit(self._vault_url)
        except ValueError:
            return None
        match said.path.strip("/").split("/"):
            case [_, name, version] if said.netloc.lower() == own.netloc.lower() and name == self._name:
                return version if version.isalnum() else None
        return None


def _of_secret(answer: requests.Response) -> Credential:
    # Nothing of the answer may get into a message: it is the private key.
    try:
        secret = answer.json()
        if secret.get("contentType") == "application/x-pem-file":
            return Credential.from_pem(secret["value"].encode())
        return Credential.from_pfx(base64.b64decode(secret["value"], validate=True))
    except NotACredential as error:
        raise SourceUnavailable(f"the vault's secret is not usable: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise SourceUnavailable(f"the vault's secret is not readable: {type(error).__name__}") from None
