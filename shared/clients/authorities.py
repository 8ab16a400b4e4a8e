"""The CA certificates of the DPS (Azure Resource Manager)."""

from shared.authority import DpsCertificate
from shared.certificate import Certificate
from shared.errors import Misconfigured


class NoAuthorities:
    """What stands in where no DPS resource is named in the settings."""

    def all(self) -> list[DpsCertificate]:
        raise _missing()

    def get(self, name: str) -> DpsCertificate | None:
        raise _missing()

    def put(self, name: str, certificate: Certificate, *, verified: bool, read: DpsCertificate | None) -> None:
        raise _missing()

    def verification_code(self, read: DpsCertificate) -> str:
        raise _missing()

    def verify(self, read: DpsCertificate, proof_pem: str) -> None:
        raise _missing()

    def delete(self, read: DpsCertificate) -> None:
        raise _missing()


def _missing() -> Misconfigured:
    return Misconfigured("CA certificates of the DPS cannot be managed: the setting DPS_RESOURCE_ID is missing")
