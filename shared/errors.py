"""What can go wrong, in three kinds, so that each is met in one way.

    RolloverError
    ├── Misconfigured       the application settings are incomplete; every function says so
    ├── BadInput            wrong input; never retried, recorded as a refused input
    ├── ServiceRefused      a service said no for good; the step refuses with its words
    │   └── NotAllowed      401 or 403: a missing role, perhaps only for a moment
    ├── NotFound            what was asked for does not exist
    ├── Conflict            somebody wrote first (409, 412); read again and decide again
    └── ServiceUnavailable  throttled or down (429, 5xx, no answer); wait and try again

Everything else is a surprise: it rises, the queue retries it, and after the last try the poison handler
marks the rollover "needs a person". Texts never hold keys, tokens or certificates.
"""

from datetime import timedelta


class RolloverError(Exception):
    """Base of everything this project raises on purpose."""


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


class ServiceUnavailable(RolloverError):
    """Throttled, down or unreachable (408, 429, 5xx, connection lost).

    ``retry_after`` is what the service asked for, if it said so.
    """

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
