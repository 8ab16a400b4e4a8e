"""How long a call may take when a service takes the connection and says nothing: in one place, for every SDK's client.

By default the SDKs wait five minutes for an answer and try four times (azure-core 1.41: ``ConnectionConfiguration``,
``RetryPolicy``; msrest 0.7: 100 seconds; azure-storage-queue: a minute, with pauses of 15 seconds and more between). A
breach call would end at the front end's own limit (230 seconds), and say nothing; a step would hold its thread as long.
We wait in the ledger instead. Limits are set where a client is made, for what a call takes is not passed on by all:
DPS's ``query()`` raises TypeError at any argument that it does not know. Only Event Grid's client forgets what it is
given there, and takes it at the call.
"""

from dataclasses import dataclass
from typing import Any

import requests
from azure.iot.hub import IoTHubJobManager, IoTHubRegistryManager
from urllib3.exceptions import ReadTimeoutError
from urllib3.util.retry import Retry


@dataclass(frozen=True)
class Limits:
    """Seconds. Each is for silence: an answer that comes piece by piece may take longer."""

    connect_s: float = 5.0
    """For the connection with its TLS handshake."""
    read_s: float = 10.0
    """For an answer. None of our calls takes seconds, but for a throttled hub's."""
    hub_read_s: float = 20.0
    """The hub keeps calls that are over its quota in a backlog for a while before it answers 429 (error 429003)."""

    def of_core(self) -> dict[str, Any]:
        """For the clients on azure-core. ``timeout`` is what all tries may take together, so that silence is met once,
        while a connection that breaks at once is tried again. ``retry_status``: the SDK would sleep through a
        Retry-After, minutes long, in our worker thread."""
        return {**self.of_tables(), "retry_status": 0}

    def of_tables(self) -> dict[str, Any]:
        """For the tables: on azure-core too; a busy server is tried again after a moment, and after another."""
        once = {"retry_connect": 1, "retry_read": 1, "retry_backoff_factor": 0.2}
        return {**self._transport(), **once, "timeout": self.read_s}

    def of_queues(self) -> dict[str, Any]:
        """For the queues, whose retries have no limit in common: twice at most, a few seconds apart."""
        pauses = {"initial_backoff": 1, "increment_base": 1, "random_jitter_range": 1}
        return {**self._transport(), "retry_total": 1, **pauses}

    def _transport(self) -> dict[str, Any]:
        return {"connection_timeout": self.connect_s, "read_timeout": self.read_s}

    def apply_to_hub(self, manager: IoTHubRegistryManager | IoTHubJobManager) -> None:
        """For a client on msrest, which takes nothing of this where it is made."""
        config = manager.protocol.config
        config.connection.timeout = (self.connect_s, self.hub_read_s)
        given = config.retry_policy.policy
        config.retry_policy.policy = _OnceSilent(
            total=given.total,
            connect=1,
            read=given.read,
            status_forcelist=given.status_forcelist,
            backoff_factor=given.backoff_factor,
            # A Retry-After is waited for in the ledger, not asleep in the worker's thread.
            respect_retry_after_header=False,
        )
        # This thread's session was made with the client, and keeps the policy of before; those of others are yet to be.
        config.pipeline._sender.driver.session = requests.Session()


class _OnceSilent(Retry):
    """Tries again what breaks, but not what is silent."""

    BACKOFF_MAX = 90
    """msrest logs it."""

    def increment(self, method=None, url=None, response=None, error=None, _pool=None, _stacktrace=None):  # type: ignore[no-untyped-def]
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


LIMITS = Limits()
