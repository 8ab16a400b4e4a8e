"""A CA certificate of a DPS, as a value. Pure.

Groups name it (a *CA reference*), and every chain that DPS admits must reach one that is verified: somebody proved to
hold its key, or vouched for it on upload (azure-docs how-to-verify-certificates).
"""

from dataclasses import dataclass

from shared.certificate import Certificate


@dataclass(frozen=True)
class DpsCertificate:
    """A CA certificate as ARM gives it; unlike the data plane, ARM gives the certificate back."""

    name: str
    """Its name in this DPS, not a name in the certificate; names ignore case."""
    certificate: Certificate
    verified: bool
    etag: str
    """Another one after every call on it, also after asking for a verification code."""
