"""Services that are down for a while, in memory."""

from collections.abc import Callable
from typing import Any

from shared.errors import NotAllowed, RolloverError, ServiceUnavailable
from tests.fakes import World

VAULT_DOWN = ServiceUnavailable("Key Vault answered 503 to GET certificate")
VAULT_SHUT = NotAllowed("Key Vault answered 403 to GET certificate: the client address is not authorized")
ARM_DOWN = ServiceUnavailable("Resource Manager gave no answer to the list of CA certificates (ServiceRequestError)")
READS_OF_VAULT = ("certificates", "latest", "versions", "public_key_sha256", "certificate", "issuance")


def vault_breaks(world: World, error: RolloverError) -> Callable[[], None]:
    """The vault answers nothing but this until what is returned is called."""
    return _breaks(world.vault, error, READS_OF_VAULT)


def resource_manager_breaks(world: World, error: RolloverError = ARM_DOWN) -> Callable[[], None]:
    """The same for the CA certificates of the DPS."""
    return _breaks(world.authorities, error, ("all", "get"))


def _breaks(port: object, error: RolloverError, names: tuple[str, ...]) -> Callable[[], None]:
    def down(*_: Any) -> Any:
        raise error

    for name in names:
        setattr(port, name, down)

    def mend() -> None:
        for name in names:
            delattr(port, name)

    return mend
