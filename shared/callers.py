"""Who calls the HTTP API, and what they may.

App roles arrive in the ``roles`` claim of an access token (learn.microsoft.com, entra/identity-platform:
howto-add-app-roles-in-apps, access-token-claims-reference). ``oid`` is who it is and never changes; ``name`` is for
people's eyes only. Every claim that is needed and not as documented means: nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn, Protocol

from shared.errors import Closed, NotAuthenticated, NotPermitted

LONGEST_NAME = 128


class Role(StrEnum):
    """The app roles of this API."""

    BREACH_EXECUTE = "Breach.Execute"
    ROLLOVER_OPERATE = "Rollover.Operate"
    ROLLOVER_READ = "Rollover.Read"


READERS = frozenset(Role)
"""Whoever has any role may look."""


@dataclass(frozen=True)
class Caller:
    """Somebody whose token was checked."""

    object_id: str
    tenant_id: str
    name: str
    roles: frozenset[Role]

    @property
    def who(self) -> str:
        """As the history names them."""
        return f"{self.name} ({self.object_id})"


class Callers(Protocol):
    """Finds out who calls."""

    def identify(self, authorization: str | None) -> Caller:
        """The caller behind the ``Authorization`` header of a request.

        Raises:
            NotAuthenticated: nobody that can be told.
            ServiceUnavailable: it cannot be checked at the moment.
            Closed: the API is not configured.
        """


class NobodyMayCall:
    """The callers of an API whose issuer and audience are not set."""

    def identify(self, authorization: str | None) -> NoReturn:
        """Always raises ``Closed``."""
        raise Closed("ENTRA_ISSUER and ENTRA_AUDIENCE are not set, so nobody can be told from anybody")


def caller_of(claims: Mapping[str, Any]) -> Caller:
    """The caller that the claims of a checked token speak of. Roles that this API has not are ignored.

    Raises:
        NotAuthenticated: a claim is missing or not as documented; the text names it.
    """
    object_id, tenant_id = _text(claims, "oid"), _text(claims, "tid")
    granted = claims.get("roles", [])
    if not isinstance(granted, list) or not all(isinstance(role, str) for role in granted):
        raise NotAuthenticated("the token's claim roles is not a list of texts")
    # A token that an application got for itself need not have a name; its client ID (azp) then tells it apart.
    name = _text(claims, "name" if "name" in claims else "azp")
    return Caller(object_id, tenant_id, name[:LONGEST_NAME], frozenset(role for role in Role if role in granted))


def _text(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not value.strip():
        raise NotAuthenticated(f"the token's claim {claim} is missing or not a text")
    return value


def require(caller: Caller, allowed: frozenset[Role]) -> None:
    """Nothing, for a caller with any one of these roles.

    Raises:
        NotPermitted: without one; it names those that would do.
    """
    if not caller.roles & allowed:
        raise NotPermitted(f"{caller.who} has none of the app roles that may do this", sorted(allowed))
