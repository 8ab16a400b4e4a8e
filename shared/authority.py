"""A CA certificate of a DPS, as a value. Pure.

Groups name it (a *CA reference*), and every chain that DPS admits must reach one that is verified: somebody proved to
hold its key, or vouched for it on upload (azure-docs how-to-verify-certificates).
"""

from dataclasses import dataclass

from shared.certificate import Certificate
from shared.enrollment import Enrolled


@dataclass(frozen=True)
class DpsCertificate:
    """A CA certificate as ARM gives it; unlike the data plane, ARM gives the certificate back."""

    name: str
    """Its name in this DPS, not a name in the certificate; names ignore case."""
    certificate: Certificate
    verified: bool
    etag: str
    """Another one after every call on it, also after asking for a verification code."""

    @property
    def as_enrolled(self) -> Enrolled:
        """The same facts as DPS tells of a certificate in a slot."""
        one = self.certificate
        return Enrolled(one.sha1_thumbprint, one.sha256_thumbprint, one.not_after, one.subject, one.issuer)
