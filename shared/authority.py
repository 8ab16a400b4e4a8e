"""A CA certificate of a DPS, as a value. Pure.

Groups name it (a *CA reference*), and every chain that DPS admits must reach one that is verified: somebody proved to
hold its key, or vouched for it on upload (azure-docs how-to-verify-certificates).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.certificate import Certificate
from shared.enrollment import Enrolled


@dataclass(frozen=True)
class DpsCertificate:
    """A CA certificate as ARM shows it."""

    name: str
    """Its name in this DPS, not a name in the certificate; names ignore case."""
    certificate: Certificate | None
    """None where nobody gives it: ARM shows it in the specification's examples, and was recorded not to (azure-cli,
    test_dps_certificate_lifecycle, 2021 and 2022); then the vault may have it."""
    verified: bool
    etag: str
    """Another one after every call on it, also after asking for a verification code."""
    thumbprint: str = ""
    """SHA-1, as ARM shows it, which it always does."""
    common_name: str = ""
    """Of its subject, as ARM shows it: the name alone."""
    expires: datetime | None = None
    """As ARM shows it."""

    @property
    def sha1_thumbprint(self) -> str:
        """By which it is known without its contents."""
        return self.certificate.sha1_thumbprint if self.certificate else self.thumbprint

    @property
    def sha256_thumbprint(self) -> str:
        """Empty where its contents are not known."""
        return self.certificate.sha256_thumbprint if self.certificate else ""

    def is_(self, certificate: Certificate) -> bool:
        """Whether it is this certificate."""
        return self.sha1_thumbprint == certificate.sha1_thumbprint

    @property
    def as_enrolled(self) -> Enrolled:
        """The same facts as DPS tells of a certificate in a slot, as far as they are known."""
        one = self.certificate
        if one is None:
            return Enrolled(self.thumbprint, "", self.expires or datetime.max.replace(tzinfo=UTC))
        return Enrolled(
            one.sha1_thumbprint, one.sha256_thumbprint, one.not_after, one.subject, one.issuer, one.not_before
        )


def keys_in(authorities: Iterable[DpsCertificate]) -> dict[str, str]:
    """SHA-1 thumbprint → SHA-256 of the public key, of those whose contents are known."""
    return {one.sha1_thumbprint: one.certificate.public_key_sha256 for one in authorities if one.certificate}
