"""The CA certificates of a DPS: what groups may name, and what a device's chain must reach.

They are managed through ARM (`local/azure/arm`, azure-docs how-to-verify-certificates); here is what is kept of
them, and what a registration asks.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

# Recorded (azure-cli, test_dps_certificate_lifecycle, 2021 and 2022): a certificate's `created` is this, always.
NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class CaCertificate:
    """`verified` means: somebody proved to hold its key, or vouched for it on upload."""

    name: str
    der: bytes
    verified: bool
    text: str = ""  # as it was sent: base64 of PEM or of DER
    code: str = ""  # what a proof of possession must have as its common name; none is asked for while empty
    etag: str = ""
    created: datetime = NEVER
    updated: datetime = NEVER


class CaCertificates:
    """By name, case-insensitive as everything in ARM."""

    def __init__(self) -> None:
        self._kept: dict[str, CaCertificate] = {}

    @property
    def names(self) -> set[str]:
        """All names, in lower case."""
        return set(self._kept)

    @property
    def verified_names(self) -> set[str]:
        """The names of the verified ones, in lower case."""
        return {name for name, one in self._kept.items() if one.verified}

    def put(self, certificate: CaCertificate) -> None:
        """Keep it, in place of one with the same name."""
        self._kept[certificate.name.lower()] = certificate

    def get(self, name: str) -> CaCertificate | None:
        """The certificate of that name."""
        return self._kept.get(name.lower())

    def delete(self, name: str) -> None:
        """Forget it; groups that name it dangle (azure-docs how-to-roll-certificates deletes the CA first)."""
        self._kept.pop(name.lower(), None)

    def all(self) -> list[CaCertificate]:
        """Every certificate, ordered by name."""
        return [self._kept[name] for name in sorted(self._kept)]

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
