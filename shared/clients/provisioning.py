"""DPS service API: individual enrollments and groups (azure-iot-deviceprovisioning, data plane 2021-10-01)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential
from azure.iot.deviceprovisioning import DeviceProvisioningClient

from shared.clients.answers import answers_of
from shared.clients.limits import LIMITS, Limits
from shared.enrollment import Enrollment, Members, Registration, parse_enrollment, parse_member, parse_registration
from shared.errors import NotFound
from shared.group import Group, parse_group
from shared.settings import Settings
from shared.suspects import count_since

EVERYTHING = {"query": "SELECT *"}
PAGE = 1000
MEMBERS = 100
"""Devices a page: as many as one bulk call of the hub takes."""


class ProvisioningClient:
    """Reads, lists and writes individual enrollments and groups."""

    def __init__(self, settings: Settings, credential: TokenCredential, limits: Limits = LIMITS) -> None:
        self._name = f"DPS {urlsplit(settings.dps_endpoint).hostname}"
        self._client = DeviceProvisioningClient(settings.dps_endpoint, credential, **limits.of_core())

    def enrollment(self, registration_id: str) -> Enrollment | None:
        """The individual enrollment with its registration record; None when there is none.

        GET carries ``registrationState`` (recorded traffic); where it does not, the record is asked for.

        Raises:
            BadInput, ServiceUnavailable, ServiceRefused.
        """
        try:
            with answers_of(self._name, f"GET enrollment {registration_id}"):
                body = self._client.enrollment.get(registration_id)
        except NotFound:
            return None
        enrollment = parse_enrollment(body)
        if body.get("registrationState") is not None:
            return enrollment
        return replace(enrollment, registration=self.registration(registration_id))

    def registration(self, registration_id: str) -> Registration | None:
        """The registration record; None when the device never registered.

        Raises:
            ServiceUnavailable, ServiceRefused.
        """
        try:
            with answers_of(self._name, f"GET registration {registration_id}"):
                return parse_registration(self._client.device_registration_state.get(registration_id))
        except NotFound:
            return None

    def members(self, group_id: str, after: str | None) -> Members:
        """The next page of the devices that registered through a group, or tried to.

        Raises:
            NotFound: there is no such group.
            BadInput, ServiceUnavailable, ServiceRefused.
        """
        with answers_of(self._name, f"the query of registrations of {group_id}"):
            pages = self._client.device_registration_state.query(group_id, top=MEMBERS).by_page(after)
            states = list(next(pages, ()))
            return Members(tuple(parse_member(state) for state in states), pages.continuation_token or None)

    def enrollments(self) -> Iterator[Enrollment]:
        """Every individual enrollment, read page by page as it is asked for; without registration records.

        Raises:
            BadInput, ServiceUnavailable, ServiceRefused.
        """
        with answers_of(self._name, "the query of enrollments"):
            for body in self._client.enrollment.query(EVERYTHING, top=PAGE):
                yield parse_enrollment(body)

    def groups(self) -> Iterator[Group]:
        """Every enrollment group.

        Raises:
            BadInput, ServiceUnavailable, ServiceRefused.
        """
        with answers_of(self._name, "the query of groups"):
            for body in self._client.enrollment_group.query(EVERYTHING, top=PAGE):
                yield parse_group(body)

    def group(self, group_id: str) -> Group | None:
        """The enrollment group; None when there is none.

        Raises:
            BadInput, ServiceUnavailable, ServiceRefused.
        """
        try:
            with answers_of(self._name, f"GET enrollment group {group_id}"):
                return parse_group(self._client.enrollment_group.get(group_id))
        except NotFound:
            return None

    def count_members(self, group_id: str, *since: datetime) -> list[int]:
        """How many devices registered through a group, or tried to: in all, and since each of these moments. In large
        pages, for the quota counts calls.

        Raises:
            ServiceUnavailable, ServiceRefused.
        """
        with answers_of(self._name, f"the query of registrations of {group_id}"):
            states = self._client.device_registration_state.query(group_id, top=PAGE)
            return count_since((parse_member(state) for state in states), since)

    def replace_group(self, group: Group, body: Mapping[str, Any]) -> None:
        """Write ``body`` over the group that was read; the ETag as for an individual enrollment.

        Raises:
            Conflict, NotFound, ServiceUnavailable, ServiceRefused.
        """
        with answers_of(self._name, f"PUT enrollment group {group.enrollment_group_id}"):
            self._client.enrollment_group.create_or_update(group.enrollment_group_id, dict(body), if_match=group.etag)

    def create(self, registration_id: str, body: Mapping[str, Any]) -> None:
        """Make an individual enrollment: without ETag, so that DPS answers 409 where there is one
        (azure-sdk-for-python#35187).

        Raises:
            Conflict, ServiceUnavailable, ServiceRefused.
        """
        with answers_of(self._name, f"PUT enrollment {registration_id}"):
            self._client.enrollment.create_or_update(registration_id, dict(body))

    def replace(self, enrollment: Enrollment, body: Mapping[str, Any]) -> None:
        """Write ``body`` over the enrollment that was read.

        The ETag goes bare, as recorded; without it DPS answers 409 (azure-sdk-for-python#35187).

        Raises:
            Conflict, NotFound, ServiceUnavailable, ServiceRefused.
        """
        with answers_of(self._name, f"PUT enrollment {enrollment.registration_id}"):
            self._client.enrollment.create_or_update(enrollment.registration_id, dict(body), if_match=enrollment.etag)
