"""Key Vault certificates (azure-keyvault-certificates): public parts and tags only, never a secret."""

from collections.abc import Iterator

from azure.core.credentials import TokenCredential
from azure.keyvault.certificates import CertificateClient, KeyVaultCertificate

from shared.certificate import Certificate, parse_certificate
from shared.clients.answers import NO_RETRY, answers_of
from shared.errors import BadInput, NotFound
from shared.seen import Issuance, VaultVersion
from shared.services import Listed, Tagged
from shared.settings import Settings

UNKNOWN_ISSUER = "Unknown"


class VaultClient:
    """Reads certificates and asks for new versions."""

    def __init__(self, settings: Settings, credential: TokenCredential) -> None:
        self._url = settings.vault_url
        self._client = CertificateClient(
            settings.vault_url,
            credential,
            verify_challenge_resource=settings.verify_challenge_resource,
            retry_status=NO_RETRY,
        )

    def certificates(self) -> Iterator[Listed]:
        """Every certificate of the vault."""
        with answers_of("Key Vault", "the list of certificates"):
            for properties in self._client.list_properties_of_certificates():
                yield Listed(
                    name=str(properties.name),
                    ends=properties.expires_on,
                    sha1_thumbprint=bytes(properties.x509_thumbprint or b"").hex().upper(),
                    tags=dict(properties.tags or {}),
                )

    def latest(self, name: str) -> Tagged | None:
        """The latest version, enabled or not; None when there is no such certificate.

        Raises:
            BadInput: the vault's certificate cannot be read.
        """
        try:
            with answers_of("Key Vault", f"GET certificate {name}"):
                found = self._client.get_certificate(name)
        except NotFound:
            return None
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

        Tags are sent again because a version made without them has none.

        Raises:
            Conflict: one is being issued already.
        """
        with answers_of("Key Vault", f"POST certificate {name}/create"):
            current = self._client.get_certificate(name)
            if current.policy is None or current.properties is None:
                raise BadInput(f"the vault's certificate {name!r} has no policy to issue a new version by")
            self._client.begin_create_certificate(name, current.policy, tags=current.properties.tags)

    def versioned_id(self, name: str, version: str) -> str:
        """The full ID of a version."""
        return f"{self._url}/certificates/{name}/{version}"


def _certificate(found: KeyVaultCertificate) -> Certificate:
    if not found.cer:
        raise BadInput(f"the vault's certificate {found.name!r} has no public part")
    return parse_certificate(bytes(found.cer))
