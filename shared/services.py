"""The ports a function may use, and how they are built from the application settings.

Nothing of Azure is imported until the first function runs: an import error would take down every function of
the app, and the SDKs are what makes a cold start slow.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Protocol

from shared.callers import Callers, NobodyMayCall
from shared.devices import Devices
from shared.events import LogEvent, log
from shared.fleet_ledger import Fleets
from shared.ledger import Ledger
from shared.looks import Looks
from shared.nudges import Nudges
from shared.ports import Authorities, Hub, Provisioning, Topic, Vault
from shared.previews import Previews
from shared.settings import Settings, read_settings
from shared.timers import Timers
from shared.tracing import within


@dataclass(frozen=True)
class Services:
    """Everything a function may touch."""

    provisioning: Provisioning
    hub: Hub
    vault: Vault
    authorities: Authorities
    fleet: Fleets
    ledger: Ledger
    previews: Previews
    devices: Devices
    looks: Looks
    timers: Timers
    nudges: Nudges
    topic: Topic
    callers: Callers
    settings: Settings
    now: Callable[[], datetime]


class TraceContext(Protocol):
    """Where an invocation stands in the host's trace."""

    @property
    def trace_parent(self) -> str:
        """A W3C traceparent, or nothing."""


class Invocation(Protocol):
    """One run of a function, as the worker tells it in the parameter ``context``."""

    @property
    def trace_context(self) -> TraceContext: ...


def _export_telemetry(connection_string: str) -> None:
    """Without the setting nothing is emitted; telemetry that cannot be set up stops no rollover."""
    if not connection_string:
        return
    try:
        from shared.clients.monitor import export_telemetry

        export_telemetry(connection_string)
    except Exception as error:  # noqa: BLE001  whatever it is; the host still forwards our lines, and this one
        log(LogEvent.TELEMETRY_FAILED, why=f"{type(error).__name__}")


@cache
def services() -> Services:
    """The services of this process, built at the first call.

    Raises:
        Misconfigured: the application settings are incomplete; the message names every one.
    """
    _export_telemetry(os.environ.get("APPLICATIONINSIGHTS_CONNECTION_STRING", ""))
    settings = read_settings(os.environ)
    # Imported here: see the module's docstring.
    from azure.identity import DefaultAzureCredential

    from shared.clients.authorities import AuthoritiesClient, NoAuthorities
    from shared.clients.entra import EntraTokens
    from shared.clients.hub import HubClient
    from shared.clients.provisioning import ProvisioningClient
    from shared.clients.storage import open_storage
    from shared.clients.topic import TopicClient
    from shared.clients.vault import VaultClient

    logging.getLogger("azure").setLevel(logging.WARNING)  # else each request of an SDK is a dozen lines
    credential = DefaultAzureCredential(managed_identity_client_id=os.environ.get("AZURE_CLIENT_ID"))
    table, fleets, nudges = open_storage(settings, credential)

    def now() -> datetime:
        return datetime.now(UTC)

    issuer, audience = settings.entra_issuer, settings.entra_audience
    return Services(
        provisioning=ProvisioningClient(settings, credential),
        hub=HubClient(settings, credential),
        vault=VaultClient(settings, credential),
        authorities=AuthoritiesClient(settings, dps, credential)
        if (dps := settings.dps_resource_id)
        else NoAuthorities(),
        fleet=Fleets(fleets, nudges, settings, now),
        ledger=Ledger(table),
        previews=Previews(table),
        devices=Devices(table),
        looks=Looks(table),
        timers=Timers(table),
        nudges=nudges,
        topic=TopicClient(settings, credential),
        callers=EntraTokens(issuer, audience) if issuer and audience else NobodyMayCall(),
        settings=settings,
        now=now,
    )


@contextmanager
def invoked(invocation: Invocation) -> Iterator[Services]:
    """The services for one run of a function, whose telemetry belongs below the host's own.

    The worker puts that context in place for asynchronous functions alone (azure-functions-runtime 1.3.0,
    ``handle_event`` and ``run_sync_func``).
    """
    ports = services()
    with within(invocation.trace_context.trace_parent):
        yield ports
