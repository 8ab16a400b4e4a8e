"""The service API of DPS: enrollments, groups and registration states (REST: Azure IoT DPS, 2021-10-01)."""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.azure.dps.bulk import run_bulk
from local.azure.dps.entries import Entries, Entry
from local.azure.dps.groups import Groups
from local.azure.dps.http import if_match, json_body
from local.azure.dps.paging import check_query, page
from local.azure.dps.showing import entry_json, state_json
from local.azure.http import Operation, json_reply

if TYPE_CHECKING:
    from local.azure.world import World

BUCKET = "service"


def service_operations(world: "World") -> list[Operation]:
    """Every operation of the service API."""
    individual = EntryRoutes(world, world.dps.enrollments, "enrollments")
    group = EntryRoutes(world, world.dps.groups, "enrollmentGroups")
    state = StateRoutes(world)

    return [
        Operation("QueryEnrollments", "POST", "/enrollments/query", individual.query, False, BUCKET),
        Operation(
            "GetAttestation",
            "POST",
            "/enrollments/{id}/attestationmechanism",
            individual.secrets,
            False,
            BUCKET,
        ),
        Operation("BulkEnrollments", "POST", "/enrollments", individual.bulk, True, BUCKET, individual.bulk_cost),
        Operation("GetEnrollment", "GET", "/enrollments/{id}", individual.get, False, BUCKET),
        Operation("PutEnrollment", "PUT", "/enrollments/{id}", individual.put, True, BUCKET),
        Operation("DeleteEnrollment", "DELETE", "/enrollments/{id}", individual.delete, True, BUCKET),
        Operation("QueryGroups", "POST", "/enrollmentGroups/query", group.query, False, BUCKET),
        Operation(
            "GetGroupAttestation",
            "POST",
            "/enrollmentGroups/{id}/attestationmechanism",
            group.secrets,
            False,
            BUCKET,
        ),
        Operation("BulkGroups", "POST", "/enrollmentGroups", group.bulk, True, BUCKET, group.bulk_cost),
        Operation("GetGroup", "GET", "/enrollmentGroups/{id}", group.get, False, BUCKET),
        Operation("PutGroup", "PUT", "/enrollmentGroups/{id}", group.put, True, BUCKET),
        Operation("DeleteGroup", "DELETE", "/enrollmentGroups/{id}", group.delete, True, BUCKET),
        Operation("QueryRegistrations", "POST", "/registrations/{id}/query", state.query, False, BUCKET),
        Operation("GetRegistration", "GET", "/registrations/{id}", state.get, False, BUCKET),
        Operation("DeleteRegistration", "DELETE", "/registrations/{id}", state.delete, True, BUCKET),
    ]


class EntryRoutes:
    """The six operations that enrollments and groups share; `member` is their name in a bulk and in a query."""

    def __init__(self, world: "World", entries: Entries, member: str) -> None:
        self._world = world
        self._entries = entries
        self._member = member

    async def get(self, request: web.Request) -> web.Response:
        """One entry; for an enrollment with the state of its registration (recorded: GET only)."""
        entry = self._entries.get(request.match_info["id"])
        return json_reply(200, self._show(request, entry, self._state(entry), keys=False))

    async def put(self, request: web.Request) -> web.Response:
        """Create or replace: both answer 200 (recorded)."""
        entry = self._entries.put(request.match_info["id"], await json_body(request), if_match(request))
        return json_reply(200, self._show(request, entry, None, keys=True))

    async def delete(self, request: web.Request) -> web.Response:
        """204 without a content type (recorded)."""
        self._entries.delete(request.match_info["id"], if_match(request))
        return json_reply(204, None)

    async def query(self, request: web.Request) -> web.Response:
        """A page of entries, as a bare list (recorded)."""
        check_query(await json_body(request), self._member)
        found, headers = page(self._entries.all(), request.headers, self._entries.kind)
        return json_reply(200, [self._show(request, entry, None, keys=False) for entry in found], headers)

    async def secrets(self, request: web.Request) -> web.Response:
        """The attestation with its keys; certificates stay hidden even here."""
        nulls = self._world.knobs.null_members == "null"
        return json_reply(200, self._entries.get(request.match_info["id"]).attestation.as_json(nulls=nulls))

    async def bulk(self, request: web.Request) -> web.Response:
        """200 even when every item failed."""
        return json_reply(200, run_bulk(self._entries, self._member, await json_body(request)))

    async def bulk_cost(self, request: web.Request) -> int:
        """How many operations of the quota a bulk costs (knob bulk_costs_each)."""
        body = await json_body(request)
        items = body.get(self._member) if isinstance(body, dict) else None
        return len(items) if self._world.knobs.bulk_costs_each and isinstance(items, list) and items else 1

    def _show(self, request: web.Request, entry: Entry, state: dict[str, Any] | None, *, keys: bool) -> dict[str, Any]:
        return entry_json(
            self._entries, entry, self._world.knobs, request.query.get("api-version", ""), state, keys=keys
        )

    def _state(self, entry: Entry) -> dict[str, Any] | None:
        if isinstance(self._entries, Groups):
            return None
        found = self._world.dps.registrations.find(entry.id)
        # Recorded: a device that never registered shows as these two members.
        state = found.state if found else {"registrationId": entry.id, "status": "unassigned"}
        return state_json(state, self._world.knobs)


class StateRoutes:
    """Registration states (REST: Device Registration State).

    There is no list of those of individual enrollments.
    """

    def __init__(self, world: "World") -> None:
        self._world = world

    async def get(self, request: web.Request) -> web.Response:
        """One state; 404 if the device never registered."""
        found = self._world.dps.registrations.get(request.match_info["id"])
        return json_reply(200, state_json(found.state, self._world.knobs))

    async def delete(self, request: web.Request) -> web.Response:
        """Forget the state; the hub keeps the device."""
        self._world.dps.registrations.delete(request.match_info["id"], if_match(request))
        return json_reply(204, None)

    async def query(self, request: web.Request) -> web.Response:
        """A page of the states of a group's devices; the request has no body (recorded)."""
        group = self._world.dps.groups.get(request.match_info["id"])
        states = self._world.dps.registrations.of_entry("EnrollmentGroup", group.id.lower())
        found, headers = page(states, request.headers, "DeviceRegistration")
        return json_reply(200, [state_json(state, self._world.knobs) for state in found], headers)
