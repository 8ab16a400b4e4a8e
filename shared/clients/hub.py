"""IoT Hub service API: device identities, queries and jobs (azure-iot-hub 2.7)."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import batched
from typing import Any

from azure.core.credentials import TokenCredential
from azure.iot.hub import IoTHubJobManager, IoTHubRegistryManager
from azure.iot.hub.models import (
    CloudToDeviceMethod,
    ExportImportDevice,
    JobRequest,
    QuerySpecification,
    TwinProperties,
)
from azure.iot.hub.models import Twin as TwinBody

from shared.certificate import normalize_thumbprint
from shared.clients.answers import answers_of
from shared.clients.limits import LIMITS, Limits
from shared.clients.resource_manager import HubResource
from shared.enrollment import Accepted, HubIdentity, Shown, Twin, parse_time
from shared.errors import NotFound, ServiceRefused
from shared.pins import Pinned
from shared.quota import Quota
from shared.seen import Job
from shared.settings import Settings

FINISHED = ("completed", "failed", "cancelled")
JOB_SECONDS = 300
"""How long the hub may try to run a job; offline devices fail it at once."""
METHOD_SECONDS = 30
PAGE = 1000
THUMBPRINTS = 20
"""How many go into one query, which the hub takes up to 8,192 characters: each stands there four times."""


class HubClient:
    """Reads identities, writes their thumbprints, starts method jobs."""

    def __init__(self, settings: Settings, credential: TokenCredential, limits: Limits = LIMITS) -> None:
        self._name = f"IoT Hub {settings.hub_hostname}"
        self._registry = IoTHubRegistryManager.from_token_credential(settings.hub_hostname, credential)
        self._jobs = IoTHubJobManager.from_token_credential(settings.hub_hostname, credential)
        self._resource = HubResource(settings, credential)
        for manager in (self._registry, self._jobs):
            limits.apply_to_hub(manager)
            # msrest closes the connection after each call otherwise; its sessions are one for each thread.
            manager.protocol.config.keep_alive = True
        _without_amqp(self._registry)

    def identity(self, device_id: str) -> HubIdentity | None:
        """The device identity, by GET and not by query, for queries lag; None when there is none."""
        try:
            with answers_of(self._name, f"GET device {device_id}"):
                device = self._registry.get_device(device_id)
        except NotFound:
            return None
        authentication = device.authentication
        thumbprints = authentication.x509_thumbprint if authentication else None
        return HubIdentity(
            device_id=device.device_id,
            etag=device.etag,
            enabled=device.status == "enabled",
            authentication=(authentication and authentication.type) or "none",
            primary=_thumbprint(thumbprints and thumbprints.primary_thumbprint),
            secondary=_thumbprint(thumbprints and thumbprints.secondary_thumbprint),
            iot_edge=bool(device.capabilities and device.capabilities.iot_edge),
            status_reason=device.status_reason,
            device_scope=device.device_scope,
            parent_scopes=tuple(device.parent_scopes or ()),
            generation=device.generation_id or "",
            connected=device.connection_state == "Connected",
            connection_changed=_time(device.connection_state_updated_time),
            queued_messages=device.cloud_to_device_message_count or 0,
        )

    def holders(self, thumbprints: Collection[str]) -> list[str]:
        """IDs of the devices whose twin shows one of the thumbprints in either slot, in order.

        By query, which the hub answers from an index that lags. That it can filter by thumbprints is not documented,
        so every row is looked at again; nor is whether it keeps the case in which a thumbprint was written, so both
        cases are asked for.

        Raises:
            ServiceUnavailable, ServiceRefused.
        """
        wanted = {normalize_thumbprint(one) for one in thumbprints}
        found: set[str] = set()
        for some in batched(sorted(wanted), THUMBPRINTS, strict=False):
            rows = self._rows(f"SELECT deviceId, x509Thumbprint FROM devices WHERE {_shows(some)}")  # noqa: S608 quoted
            found.update(device_id for device_id, shown in rows if not wanted.isdisjoint(shown))
        return sorted(found)

    def by_authority(self) -> list[str]:
        """IDs of the devices of type ``certificateAuthority``, in order; by query, so perhaps late.

        Raises:
            ServiceUnavailable, ServiceRefused.
        """
        query = "SELECT deviceId, x509Thumbprint FROM devices WHERE authenticationType = 'certificateAuthority'"
        return sorted(device_id for device_id, _ in self._rows(query))

    def pinned(self, after: str | None) -> tuple[list[Pinned], str | None]:
        """One page of the devices that the hub admits by a thumbprint, with theirs; where the next page begins, or
        None on the last one. By query, so perhaps late.

        Raises:
            ServiceUnavailable, ServiceRefused: also where ``after`` is too old.
        """
        query = "SELECT deviceId, x509Thumbprint FROM devices WHERE authenticationType = 'selfSigned'"
        rows, more = self._page(query, after)
        return [Pinned(device_id, tuple(sorted(filter(None, shown)))) for device_id, shown in rows], more

    def accepted(self, device_ids: Collection[str]) -> Iterator[Mapping[str, Accepted | None]]:
        """What the hub accepts from these devices, page by page; None for one whose row does not tell. By query, so
        perhaps late. Their IDs take 8,000 characters at most, of the 8,192 of a query.

        Raises:
            ServiceUnavailable, ServiceRefused.
        """
        query = f"SELECT deviceId, status, x509Thumbprint FROM devices WHERE deviceId IN [{_quoted(device_ids)}]"  # noqa: S608
        more = None
        while True:
            with answers_of(self._name, "the query of devices"):
                page = self._registry.query_iot_hub(QuerySpecification(query=query), more, PAGE)
            yield {row.device_id: _accepted(row) for row in page.items}
            more = page.continuation_token or None
            if more is None:
                return

    def _rows(self, query: str) -> Iterator[tuple[str, set[str | None]]]:
        """Device ID and thumbprints of each row, page by page."""
        more = None
        while True:
            page, more = self._page(query, more)
            yield from page
            if more is None:
                return

    def _page(self, query: str, after: str | None) -> tuple[list[tuple[str, set[str | None]]], str | None]:
        with answers_of(self._name, "the query of devices"):
            page = self._registry.query_iot_hub(QuerySpecification(query=query), after, PAGE)
        rows = []
        for row in page.items:
            slots = row.x509_thumbprint
            shown = (slots.primary_thumbprint, slots.secondary_thumbprint) if slots else ()
            rows.append((row.device_id, {_thumbprint(one) for one in shown}))
        return rows, page.continuation_token or None

    def rewrite(self, identity: HubIdentity) -> None:
        """Write thumbprints, status and reason, carrying everything else over: the call rewrites the identity whole.

        Only for identities by thumbprint or by CA: a rewrite of any other would have to carry its keys.

        Raises:
            Conflict, NotFound, ServiceUnavailable, ServiceRefused.
        """
        status = "enabled" if identity.enabled else "disabled"
        kept: dict[str, Any] = {
            "iot_edge": identity.iot_edge,
            "status_reason": identity.status_reason,
            "device_scope": identity.device_scope,
            "parent_scopes": list(identity.parent_scopes) or None,
        }
        with answers_of(self._name, f"PUT device {identity.device_id}"):
            if identity.authentication == "certificateAuthority":
                self._registry.update_device_with_certificate_authority(
                    identity.device_id, identity.etag, status, **kept
                )
            else:
                self._registry.update_device_with_x509(
                    identity.device_id, identity.etag, identity.primary, identity.secondary, status, **kept
                )

    def delete(self, identity: HubIdentity) -> None:
        """Delete the identity that was read, and its twin with it.

        Raises:
            Conflict, NotFound, ServiceUnavailable, ServiceRefused.
        """
        with answers_of(self._name, f"DELETE device {identity.device_id}"):
            self._registry.delete_device(identity.device_id, identity.etag)

    def delete_many(self, found: Sequence[Shown]) -> Mapping[str, str]:
        """Delete up to a hundred identities as they were shown; the codes of those that failed, by device ID.

        The hub answers 400 with the body of a success when some failed, and the SDK returns both. A 400 of another
        shape comes back as a result that says nothing.

        Raises:
            ServiceUnavailable, ServiceRefused: also when the call was refused as a whole.
        """
        items = [
            ExportImportDevice(id=one.device_id, e_tag=one.identity_etag, import_mode="deleteIfMatchETag")
            for one in found
        ]
        with answers_of(self._name, "the bulk deletion"):
            result = self._registry.bulk_create_or_update_devices(items)
        if result.is_successful is True:
            return {}
        if not result.errors:
            raise ServiceRefused(f"{self._name} refused the bulk deletion as a whole")
        codes = {error.device_id: error.error_code or "unknown" for error in result.errors}
        ours = {one.device_id for one in found}
        # An error that names none of ours says that something failed, and not what.
        return codes if codes.keys() <= ours else dict.fromkeys(ours, "unknown") | codes

    def quota(self) -> Quota:
        """Tier and units of the hub, by Resource Manager or the settings."""
        return Quota(*self._resource.sku())

    def shown(self, device_id: str) -> Shown | None:
        """The device as its twin shows it; None when there is no such device.

        Raises:
            ServiceUnavailable, ServiceRefused.
        """
        found = self._twin(device_id)
        if found is None:
            return None
        thumbprints = found.x509_thumbprint
        return Shown(
            device_id=found.device_id,
            identity_etag=found.device_etag or "",
            enabled=found.status == "enabled",
            authentication=found.authentication_type or "none",
            primary=_thumbprint(thumbprints and thumbprints.primary_thumbprint),
            secondary=_thumbprint(thumbprints and thumbprints.secondary_thumbprint),
            connected=found.connection_state == "Connected",
            twin=_service_part(found),
        )

    def twin(self, device_id: str) -> Twin | None:
        """Tags and desired properties; None when there is no such device."""
        found = self._twin(device_id)
        return _service_part(found) if found else None

    def _twin(self, device_id: str) -> Any:
        try:
            with answers_of(self._name, f"GET twin {device_id}"):
                return self._registry.get_twin(device_id)
        except NotFound:
            return None

    def replace_twin(self, device_id: str, read: Twin, twin: Twin) -> None:
        """Replace tags and desired properties as they were read; reported properties are the device's own.

        Raises:
            Conflict, NotFound, ServiceUnavailable, ServiceRefused.
        """
        body = TwinBody(tags=dict(twin.tags), properties=TwinProperties(desired=dict(twin.desired)))
        with answers_of(self._name, f"PUT twin {device_id}"):
            self._registry.replace_twin(device_id, body, read.etag)

    def start_method_job(self, job_id: str, device_id: str, method: str, payload: Mapping[str, Any]) -> None:
        """Start a job that calls a direct method of one device.

        Raises:
            Conflict: a job with this ID exists. Others as the hub says; 429 when too many jobs are active.
        """
        self.start_fleet_job(job_id, [device_id], method, payload)

    def start_fleet_job(self, job_id: str, device_ids: Sequence[str], method: str, payload: Mapping[str, Any]) -> None:
        """The same, of several devices. The hub takes a condition of 8,192 characters.

        Raises:
            As ``start_method_job``.
        """
        job = JobRequest(
            job_id=job_id,
            type="scheduleDeviceMethod",
            cloud_to_device_method=CloudToDeviceMethod(
                method_name=method, payload=dict(payload), response_timeout_in_seconds=METHOD_SECONDS
            ),
            query_condition=f"deviceId IN [{_quoted(device_ids)}]",
            max_execution_time_in_seconds=JOB_SECONDS,
        )
        # Without the job's ID: it is another one at each try, and a wait for the same reason must read the same.
        with answers_of(self._name, "PUT job"):
            self._jobs.create_scheduled_job(job_id, job)

    def job(self, job_id: str) -> Job | None:
        """How a job stands; None when there is none with this ID."""
        try:
            with answers_of(self._name, "GET job"):
                response = self._jobs.get_scheduled_job(job_id)
        except NotFound:
            return None
        counted = response.device_job_statistics
        summary = str(response.status)
        if counted is not None:
            summary += f": {counted.succeeded_count or 0} answered, {counted.failed_count or 0} not reached"
        unanswered = counted is not None and bool(counted.failed_count) and not counted.succeeded_count
        return Job(finished=response.status in FINISHED, summary=summary, unanswered=unanswered)


def _without_amqp(registry: IoTHubRegistryManager) -> None:
    """It is for messages to devices, which are none of ours. Left to the end of the process, it would be taken apart
    when half of the interpreter is gone, with errors on stderr."""
    registry.amqp_svc_client.disconnect_sync()


def _accepted(row: Any) -> Accepted | None:
    slots = row.x509_thumbprint
    if row.status is None or slots is None:
        return None
    primary, secondary = _thumbprint(slots.primary_thumbprint), _thumbprint(slots.secondary_thumbprint)
    return Accepted(row.device_id, row.status == "enabled", primary, secondary)


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join("'" + one.replace("'", "''") + "'" for one in texts)


def _service_part(found: Any) -> Twin:
    desired = (found.properties.desired if found.properties else None) or {}
    return Twin(
        etag=found.etag,
        tags=dict(found.tags or {}),
        desired={name: value for name, value in desired.items() if not name.startswith("$")},
    )


def _time(value: Any) -> datetime | None:
    """When the hub says so; the year 1 stands for never."""
    if isinstance(value, str):
        value = parse_time(value)
    return value if isinstance(value, datetime) and value.year > 1 else None


def _shows(thumbprints: Iterable[str]) -> str:
    listed = _quoted(cased for one in thumbprints for cased in (one, one.lower()))
    return f"x509Thumbprint.primaryThumbprint IN [{listed}] OR x509Thumbprint.secondaryThumbprint IN [{listed}]"


def _thumbprint(value: str | None) -> str | None:
    return normalize_thumbprint(value) if value else None
