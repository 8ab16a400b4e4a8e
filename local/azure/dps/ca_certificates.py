"""The CA certificates of a DPS: what groups may name, and what a device's chain must reach.

They are managed through ARM (azure-docs how-to-verify-certificates); here is only what a registration asks of
them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class CaCertificate:
    """`verified` means: somebody proved to hold its key, or vouched for it on upload."""

    name: str
    der: bytes
    verified: bool


class CaCertificates:
    """By name, case-insensitive as everything in ARM."""

    def __init__(self) -> None:
        self._kept: dict[str, CaCertificate] = {}

    @property
    def names(self) -> set[str]:
        """All names, in lower case."""
        return set(self._kept)

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
