"""Key Vault certificates: public parts and tags, and signing with their keys where they are; never a secret."""

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from azure.core.credentials import TokenCredential
from azure.core.exceptions import ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.keyvault.certificates import CertificateClient, KeyVaultCertificate
from azure.keyvault.keys.crypto import CryptographyClient
from cryptography.x509 import load_der_x509_certificate

from shared.certificate import Certificate, parse_certificate
from shared.clients.answers import answers_of
from shared.clients.limits import LIMITS, Limits
from shared.clients.signing import signing_key
from shared.errors import BadInput, NotFound
from shared.issuing import IssuerKey, SigningRequest
from shared.ports import Tagged
from shared.seen import Issuance, Listed, VaultVersion
from shared.settings import Settings

UNKNOWN_ISSUER = "Unknown"
DEFAULT_MONTHS = 12
"""The vault's own default of a policy (recorded)."""
MOST_KEYS = 16
"""CA keys whose clients are kept: each reads its key's public part first, once."""


class VaultClient:
    """Reads certificates and asks for new versions."""

    def __init__(self, settings: Settings, credential: TokenCredential, limits: Limits = LIMITS) -> None:
        self._url = settings.vault_url
        self._settings = settings
        self._credential = credential
        self._limits = limits
        self._crypto_clients: dict[str, CryptographyClient] = {}
        self._client = CertificateClient(
            settings.vault_url,
            credential,
            verify_challenge_resource=settings.verify_challenge_resource,
            **limits.of_core(),
        )

    def certificates(self) -> Iterator[Listed]:
        """The latest version of every certificate of the vault, page by page."""
        with answers_of("Key Vault", "the list of certificates"):
            for properties in self._client.list_properties_of_certificates():
                yield Listed(
                    name=str(properties.name),
                    ends=properties.expires_on,
                    sha1_thumbprint=bytes(properties.x509_thumbprint or b"").hex().upper(),
                    tags=dict(properties.tags or {}),
                    starts=properties.not_before,
                )

    def latest(self, name: str) -> Tagged | None:
        """The latest version, enabled or not; None when there is no such certificate, or no version yet.

        Raises:
            BadInput: the vault's certificate cannot be read.
        """
        try:
            with answers_of("Key Vault", f"GET certificate {name}"):
                found = self._client.get_certificate(name)
        except NotFound:
            return None
        if not found.cer:
            return None  # its first version waits to be issued
        properties = found.properties
        if properties is None:
            raise BadInput(f"the vault's certificate {name!r} came without its properties")
        return Tagged(
            name=name,
            latest=VaultVersion(str(properties.version), bool(properties.enabled), _certificate(found)),
            tags=properties.tags or {},
            versioned_id=str(found.id),
        )

    def versions(self, name: str) -> dict[str, str]:
        """SHA-1 thumbprint → version, of every version (the vault knows no SHA-256)."""
        with answers_of("Key Vault", f"the versions of certificate {name}"):
            return {
                bytes(p.x509_thumbprint).hex().upper(): str(p.version)
                for p in self._client.list_properties_of_certificate_versions(name)
                if p.x509_thumbprint
            }

    def public_key_sha256(self, name: str, version: str) -> str:
        """SHA-256 of the public key of one version."""
        return self._version(name, version).public_key_sha256

    def sha256_thumbprint(self, name: str, version: str) -> str:
        """SHA-256 thumbprint of one version."""
        return self._version(name, version).sha256_thumbprint

    def _version(self, name: str, version: str) -> Certificate:
        with answers_of("Key Vault", f"GET certificate {name}/{version}"):
            return _certificate(self._client.get_certificate_version(name, version))

    def certificate(self, name: str, version: str) -> Certificate:
        """One version."""
        return self._version(name, version)

    def issuance(self, name: str) -> Issuance | None:
        """The pending certificate operation; None when there is none."""
        try:
            with answers_of("Key Vault", f"GET the pending operation of certificate {name}"):
                operation = self._client.get_certificate_operation(name)
        except NotFound:
            return None
        error = operation.error
        return Issuance(
            in_progress=operation.status == "inProgress",
            needs_signing=operation.issuer_name == UNKNOWN_ISSUER,
            error=f"{error.code}: {error.message}" if error else None,
        )

    def issue(self, name: str) -> None:
        """Ask for a new version by the certificate's own policy, with its tags; returns at once.

        Tags are sent again because a version made without them has none. The policy is not: the vault follows its own
        (azure-docs about-certificates), and the SDK's would lose what it does not know, that of a CA certificate above
        all (``basic_constraints``, azure-sdk-for-net#17326).

        Raises:
            Conflict: one is being issued already.
        """
        tagged = self.latest(name)
        body = {"tags": dict(tagged.tags)} if tagged else {}
        with answers_of("Key Vault", f"POST certificate {name}/create"):
            request = HttpRequest("POST", f"/certificates/{quote(name, safe='')}/create", json=body)
            self._client.send_request(request).raise_for_status()

    def request(self, name: str) -> SigningRequest | None:
        """The signing request that waits to be signed and merged; None when none does."""
        with answers_of("Key Vault", f"GET the pending operation of certificate {name}"):
            try:
                operation = self._client.get_certificate_operation(name)
            except ResourceNotFoundError:
                return None
            if operation.status != "inProgress" or operation.issuer_name != UNKNOWN_ISSUER or not operation.csr:
                return None
            policy = self._client.get_certificate_policy(name)
        return SigningRequest(bytes(operation.csr), policy.validity_in_months or DEFAULT_MONTHS)

    def merge(self, name: str, chain: Sequence[bytes]) -> None:
        """Complete the pending version with what was issued, keeping the tags of the current one, if there is one.

        Raises:
            Conflict, NotFound: it is complete already, or taken back.
        """
        tagged = self.latest(name)
        tags = dict(tagged.tags) if tagged else None
        with answers_of("Key Vault", f"POST certificate {name}/pending/merge"):
            self._client.merge_certificate(name, list(chain), tags=tags)

    def signing_key(self, name: str, version: str) -> IssuerKey:
        """The key of one version, to sign with; it stays in the vault."""
        with answers_of("Key Vault", f"GET certificate {name}/{version}"):
            found = self._client.get_certificate_version(name, version)
        public_key = load_der_x509_certificate(_certificate(found).der).public_key()
        return signing_key(self._crypto(str(found.key_id)), public_key, name)

    def _crypto(self, key_id: str) -> CryptographyClient:
        if key_id not in self._crypto_clients:
            if len(self._crypto_clients) >= MOST_KEYS:
                self._crypto_clients.clear()
            self._crypto_clients[key_id] = CryptographyClient(
                key_id,
                self._credential,
                verify_challenge_resource=self._settings.verify_challenge_resource,
                **self._limits.of_core(),
            )
        return self._crypto_clients[key_id]

    def versioned_id(self, name: str, version: str) -> str:
        """The full ID of a version."""
        return f"{self._url}/certificates/{name}/{version}"


def _certificate(found: KeyVaultCertificate) -> Certificate:
    if not found.cer:
        raise BadInput(f"the vault's certificate {found.name!r} has no public part")
    return parse_certificate(bytes(found.cer))
