"""A CA certificate of a DPS, as a value. Pure.

Groups name it (a *CA reference*), and every chain that DPS admits must reach one that is verified: somebody proved to
hold its key, or vouched for it on upload (azure-docs how-to-verify-certificates).
"""

from dataclasses import dataclass

from shared.certificate import Certificate


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

    @property
    def sha1_thumbprint(self) -> str:
        """By which it is known without its contents."""
        return self.certificate.sha1_thumbprint if self.certificate else self.thumbprint

    def is_(self, certificate: Certificate) -> bool:
        """Whether it is this certificate."""
        return self.sha1_thumbprint == certificate.sha1_thumbprint
