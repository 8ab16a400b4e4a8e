"""What can go wrong, by kind, so that each is met in one way.

    RolloverError
    ├── Misconfigured       the application settings are incomplete; every function says so
    ├── BadInput            wrong input; never retried, recorded as a refused input
    ├── ServiceRefused      a service said no for good; the step refuses with its words
    │   └── NotAllowed      401 or 403: a missing role, perhaps only for a moment
    ├── NotFound            what was asked for does not exist
    ├── Conflict            somebody wrote first (409, 412); read again and decide again
    ├── Unsuitable          a person's request that cannot be done as things are; nothing was done
    ├── ServiceUnavailable  throttled or down (429, 5xx, no answer); wait and try again
    ├── NotAuthenticated    it cannot be told who calls the API (401)
    ├── NotPermitted        the caller has not the role for it (403)
    └── Closed              the API is not configured and answers nobody; the steps go on (503)

Everything else is a surprise: it rises, the queue retries it, and after the last try the poison handler
marks the rollover "needs a person". Where it met one of many it is told (``unexpected``), and the others go on. Texts
never hold keys, tokens or certificates.
"""

import traceback
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import PurePath
from typing import Any


class RolloverError(Exception):
    """Base of everything this project raises on purpose."""

    members: Mapping[str, Any] = {}
    """What a problem document says besides the text (RFC 9457, extension members)."""


class Misconfigured(RolloverError):
    """The application settings are missing or cannot be understood; the text names every one."""


class BadInput(RolloverError):
    """An event, message, request or certificate that cannot be understood. Trying again cannot help."""


class ServiceRefused(RolloverError):
    """A service answered with a refusal that repeating will not change (400)."""


class NotAllowed(ServiceRefused):
    """Our identity is not allowed to do this (401, 403). Role assignments take minutes to arrive, so it may pass."""


class NotFound(RolloverError):
    """The named enrollment, device identity, certificate or rollover does not exist (404)."""


class Conflict(RolloverError):
    """Somebody else wrote between our read and our write (409, 412).

    Also what an own write looks like that was applied, lost its answer and was sent again by the SDK; so the
    only right reaction is to read again and compare.
    """


class Unsuitable(RolloverError):
    """A request that is understood and cannot be done as things are (409); the text says what is in the way."""


class ServiceUnavailable(RolloverError):
    """Throttled, down or unreachable (408, 429, 5xx, connection lost).

    ``retry_after`` is what the service asked for, if it said so.
    """

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotAuthenticated(RolloverError):
    """A request without a token that proves who calls (401). The text says what is wrong with it, never what it is."""


class NotPermitted(RolloverError):
    """The caller is known and lacks the role (403). Not about our own rights: that is ``NotAllowed``."""

    def __init__(self, message: str, roles: Sequence[str]) -> None:
        super().__init__(f"{message}; one of these is needed: {', '.join(roles)}")
        self.members = {"roles": list(roles)}


class Closed(RolloverError):
    """The HTTP API answers nobody, for it cannot tell who calls (503); the text names the settings."""


def unexpected(error: Exception) -> BadInput:
    """A surprise at one of many, in our words: what it is and where it rose, and nothing of its own text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return BadInput(f"unexpected: {type(error).__name__}{where}")
