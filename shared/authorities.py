"""Reads the CA certificates of the DPS, with their contents as far as somebody has them."""

from collections.abc import Sequence
from dataclasses import replace

from shared.authority import DpsCertificate
from shared.errors import ServiceRefused, ServiceUnavailable
from shared.services import Services
from shared.tags import CA_TAG

LONGEST_CHAIN = 5


def read_authorities(services: Services, certificate_name: str) -> tuple[DpsCertificate, ...]:
    """Every CA certificate of the DPS. Where ARM does not give one back, the vault may have a version with its
    thumbprint: of the certificate of this name, of one of the CAs above it (by their tags ``rollover-ca``), or of one
    that is called as that of the DPS is.

    Raises:
        ServiceUnavailable, ServiceRefused.
    """
    return _complete(services.authorities.all(), services, certificate_name)


def read_authorities_alone(
    services: Services, certificate_name: str
) -> tuple[tuple[DpsCertificate, ...], ServiceUnavailable | ServiceRefused | None]:
    """The same where the vault may be down: then without the contents that only it has, and why it could not be read.

    Raises:
        ServiceUnavailable, ServiceRefused: Resource Manager cannot be read.
    """
    found = services.authorities.all()
    try:
        return _complete(found, services, certificate_name), None
    except (ServiceUnavailable, ServiceRefused) as error:
        return tuple(found), error


def _complete(found: Sequence[DpsCertificate], services: Services, certificate_name: str) -> tuple[DpsCertificate, ...]:
    if all(one.certificate is not None for one in found):
        return tuple(found)
    versions = {name: services.vault.versions(name) for name in _names_above(certificate_name, services)}
    return tuple(_completed(one, versions, services) for one in found)


def _completed(one: DpsCertificate, versions: dict[str, dict[str, str]], services: Services) -> DpsCertificate:
    if one.certificate is not None:
        return one
    if not any(one.sha1_thumbprint in known for known in versions.values()) and one.name not in versions:
        versions[one.name] = services.vault.versions(one.name)
    for name, known in versions.items():
        if (version := known.get(one.sha1_thumbprint)) is not None:
            return replace(one, certificate=services.vault.certificate(name, version))
    return one


def _names_above(name: str, services: Services) -> list[str]:
    names: list[str] = []
    while name and name not in names and len(names) < LONGEST_CHAIN:
        tagged = services.vault.latest(name)
        if tagged is None:
            break
        names.append(name)
        name = tagged.tags.get(CA_TAG, "").strip()
    return names
