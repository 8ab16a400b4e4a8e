"""`GET /api/rollovers` page by page: latest first, whatever lies in the table, and a page costs about a page."""

import random
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import batched
from time import monotonic

import pytest
from azure.data.tables import TableServiceClient

from shared.beginnings import BEGINNINGS, beginning_key, beginning_row
from shared.clients.storage import StoredTable
from shared.errors import Conflict, ServiceUnavailable
from shared.incident import Incident, Mode
from shared.ledger import Ledger, Write
from shared.listing_rollovers import LOOKS, page_of_rollovers
from shared.overdue import overdue
from shared.plans import Plan
from shared.rollover import Outcome, Rollover
from shared.rows import History, to_row
from shared.views import STATUSES
from tests.builders import OLD, a_rollover, as_outgoing
from tests.certificates import NOW
from tests.counted import counting
from tests.fakes import World, a_world

BEGUN = History(NOW, "test", "started", "for a test")
MINUTE = timedelta(minutes=1)


def put(world: World, name: str, **changes: object) -> Rollover:
    """Begin a rollover of a target after its last one, which ends for it."""
    ledger = world.services.ledger
    last = ledger.last(name)
    if last is not None and last.outcome is None:
        last = ledger.record(replace(last, outcome=Outcome.DONE, due_at=None), None)
    return ledger.begin(a_rollover(registration_id=name, device_id=name, **changes), last, BEGUN)


def forget_beginning(world: World, rollover: Rollover) -> None:
    """As if a release had begun it that kept none."""
    del world.table.rows[BEGINNINGS, beginning_key(rollover)]


def pages(world: World, **filters: str) -> Iterator[list[str]]:
    while True:
        shown, mark = page_of_rollovers(filters, world.services)
        yield [one.id for one in shown]
        if mark is None:
            return
        filters["continuation"] = mark


def all_pages(world: World, **filters: str) -> list[str]:
    return [one for page in pages(world, **filters) for one in page]


# --- what is listed ----------------------------------------------------------------------------------------------


def a_random_world(pick: random.Random) -> World:
    """Rollovers of every status and of three calls; the oldest of them may be of a release that kept no beginnings."""
    world = a_world()
    old = pick.choice([0, 0, 5, 25, 60])
    for number in range(60):
        breach = pick.random() < 0.4
        incident = Incident(pick.choice("abc"), Mode.REMOVE, "stolen", "x", "x", (as_outgoing(OLD),))
        if pick.random() < 0.3:
            incident = replace(incident, approve_by=NOW + MINUTE)
        begun = put(
            world,
            f"dev-{pick.randrange(20)}",
            plan=Plan.BREACH if breach else Plan.EXPIRY,
            incident=incident if breach else None,
            outcome=pick.choice([None, *Outcome]),
            waiting_for=pick.choice([None, "the vault"]),
            started_at=NOW + number * MINUTE - (number > old and pick.random() < 0.3) * MINUTE,
        )
        if number < old:
            forget_beginning(world, begun)
        elif pick.random() < 0.2:  # one that never came to be, and one that began later than was meant
            world.table.commit([Write(beginning_row(replace(begun, id=f"individual.never-{number}.1")))])
            world.table.commit([Write(beginning_row(replace(begun, started_at=begun.started_at + MINUTE / 2)))])
    world.clock.time = NOW + timedelta(days=pick.choice([0, 1, 30]))
    return world


FILTERS: tuple[Mapping[str, str], ...] = (
    {},
    *({"status": status} for status in STATUSES),
    {"incident": "a"},
    {"incident": "b", "status": "done"},
    {"overdue": "true"},
    {"overdue": "true", "incident": "c"},
    {"registration_id": "DEV-3"},
    {"registration_id": "dev-4", "status": "done"},
    {"enrollment_group": "none"},
)


def expected(world: World, filters: Mapping[str, str]) -> list[str]:
    """By reading everything."""
    found = sorted(world.services.ledger.rollovers(), key=lambda one: (-one.started_at.timestamp(), one.id))
    policy = world.settings.policy
    return [
        one.id
        for one in found
        if filters.get("status", one.status) == one.status
        and ("incident" not in filters or (one.incident is not None and one.incident.id == filters["incident"]))
        and ("overdue" not in filters or overdue(one, world.clock(), policy) is not None)
        and filters.get("registration_id", one.registration_id).lower() == one.registration_id
        and "enrollment_group" not in filters
    ]


@pytest.mark.parametrize("seed", range(6))
def test_pages_put_together_are_all_latest_first_of_what_a_filter_leaves(seed):
    pick = random.Random(seed)
    world, met = a_random_world(pick), set()
    for filters in FILTERS:
        limit = pick.choice([1, 3, 7, 100])
        found = list(pages(world, **filters, limit=str(limit)))
        assert [one for page in found for one in page] == expected(world, filters), filters
        assert all(len(page) == limit for page in found[:-1])
        met.update(filters if any(found) else ())
    assert met >= {"status", "incident"}


def test_what_begins_between_two_pages_makes_nothing_be_left_out_or_shown_twice():
    world = a_world()
    ids = [put(world, f"dev-{number}", started_at=NOW + number * MINUTE).id for number in range(5)]
    reading = pages(world, limit="2")
    first = next(reading)
    put(world, "dev-new", started_at=NOW + timedelta(hours=1))
    put(world, "dev-4", started_at=NOW + timedelta(hours=2))
    assert first + [one for page in reading for one in page] == ids[::-1]


def test_rollovers_of_a_release_that_kept_no_beginnings_come_last():
    world = a_world()
    old = [put(world, f"old-{number}", started_at=NOW + number * MINUTE) for number in range(3)]
    for one in old:
        forget_beginning(world, one)
    new = [put(world, f"new-{number}", started_at=NOW + (5 + number) * MINUTE) for number in range(3)]
    assert all_pages(world) == [one.id for one in reversed(old + new)]
    assert all_pages(world, limit="2") == all_pages(world)


@pytest.mark.parametrize("error", [Conflict("somebody was faster"), ServiceUnavailable("no answer")])
def test_a_rollover_that_could_not_begin_is_not_listed_until_it_does(error, monkeypatch):
    world = a_world()
    commit = world.table.commit

    def fails(writes):
        if len(writes) > 1:
            raise error
        return commit(writes)

    monkeypatch.setattr(world.table, "commit", fails)
    with pytest.raises(type(error)):
        put(world, "dev-1")
    monkeypatch.undo()
    assert all_pages(world) == []
    begun = put(world, "dev-1")
    assert all_pages(world) == [begun.id], "at the same moment, so its beginning is there already"


def test_no_rollover_begins_whose_beginning_cannot_be_kept(monkeypatch):
    world = a_world()

    def fails(writes):
        raise ServiceUnavailable("no answer")

    with monkeypatch.context() as down:
        down.setattr(world.table, "commit", fails)
        with pytest.raises(ServiceUnavailable):
            put(world, "dev-1")
    assert world.table.rows == {}


def test_a_row_that_cannot_be_read_hides_no_other():
    world = a_world()
    ids = [put(world, f"dev-{number}", started_at=NOW + number * MINUTE).id for number in range(3)]
    row, version = world.table.rows["individual.dev-1", "rollover.000001"]
    world.table.rows["individual.dev-1", "rollover.000001"] = ({**row, "facts": "{}"}, version)
    assert all_pages(world) == [ids[2], ids[0]]


# --- what it costs -----------------------------------------------------------------------------------------------


def a_ledger(count: int, world: World) -> World:
    """So many rollovers, each of a target of its own; one in ten is open."""
    for number in range(count):
        outcome = None if number % 10 == 0 else Outcome.DONE
        put(world, f"dev-{number:05}", started_at=NOW + number * MINUTE, outcome=outcome)
    return world


def cost_of(world: World, **filters: str) -> int:
    requests = counting(world)
    page_of_rollovers(filters, world.services)
    return requests.total()


def test_a_page_costs_about_a_page_however_many_rollovers_there_are():
    world = a_ledger(10_000, a_world())
    _, second = page_of_rollovers({}, world.services)
    assert second is not None
    costs = {
        "first": cost_of(world),
        "second": cost_of(world, continuation=second),
        "of 10": cost_of(world, limit="10"),
        "done": cost_of(world, status="done"),
        "running": cost_of(world, status="running"),
        "of one target": cost_of(world, registration_id="dev-00001"),
    }
    print(f"reads of a page of 10000 rollovers: {costs}")
    assert costs["first"] == costs["second"] == 102
    assert costs["of 10"] == 12
    assert costs["done"] < 120
    assert costs["running"] == costs["of one target"] == 1


def test_a_page_of_what_is_done_is_looked_for_only_so_far_and_the_next_goes_on_there():
    world = a_world()
    done = put(world, "first", outcome=Outcome.DONE, started_at=NOW - MINUTE)
    for number in range(LOOKS + 5):
        put(world, f"dev-{number:05}", started_at=NOW + number * MINUTE)
    assert list(pages(world, status="done")) == [[], [done.id]]


MARKS = ("WyJhIl0=", "WyIxIiwgIjIiXQ==", "WyIwMDAwMDAwMDAwMDAwMDAwMDAwMC4nIG9yIHRydWUiXQ==")
"""["a"], ["1", "2"], ["00000000000000000000.' or true"]"""


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_that_no_page_gave_is_refused(mark, http_of):
    assert http_of(a_world()).get("/api/rollovers", continuation=mark).status == 400


# --- against Azurite ---------------------------------------------------------------------------------------------


@pytest.fixture
def stored(azurite: str) -> Iterator[StoredTable]:
    with TableServiceClient.from_connection_string(azurite) as service:
        yield StoredTable(service.get_table_client(f"t{uuid.uuid4().hex}"))


def test_the_table_gives_them_in_order_and_by_filter(stored):
    world = a_world()
    world.table = stored
    ids = [put(world, f"dev-{number}", started_at=NOW + number * MINUTE).id for number in range(5)]
    incident = Incident("it's", Mode.REMOVE, "stolen", "x", "x", (as_outgoing(OLD),))
    breach = put(world, "dev-1", plan=Plan.BREACH, incident=incident, started_at=NOW + timedelta(hours=1)).id
    assert all_pages(world, limit="2") == [breach, *ids[::-1]]
    assert all_pages(world, incident="it's") == all_pages(world, incident="it's", status="running") == [breach]
    assert all_pages(world, status="done") == [ids[1]]
    assert len(all_pages(world, status="running", limit="2")) == 5
    assert all_pages(world, registration_id="DEV-1") == [breach, ids[1]]


def test_a_page_of_ten_thousand(stored, whole):
    """With its time, for `docs/evidence.md`; a sample has two hundred."""
    count = 10_000 if whole else 200
    world = a_world()
    world.table = stored
    ledger: Ledger = world.services.ledger
    first = ledger.begin(a_rollover(registration_id="dev-00000", id="", outcome=Outcome.DONE), None, BEGUN)
    rollovers = [
        replace(
            first,
            id=f"individual.dev-{number:05}.1",
            registration_id=f"dev-{number:05}",
            started_at=NOW + number * MINUTE,
        )
        for number in range(1, count)
    ]
    for some in batched(rollovers, 100, strict=False):
        stored.commit([Write(beginning_row(one)) for one in some])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: stored.commit([Write(to_row(one))]), rollovers))
    began = monotonic()
    shown, mark = page_of_rollovers({}, world.services)
    took = monotonic() - began
    assert [one.id for one in shown] == [one.id for one in rollovers[:-101:-1]]
    assert mark is not None
    began = monotonic()
    assert len(list(ledger.rollovers())) == count
    print(f"a page of 100 of {count} rollovers: {took:.2f} s; all of them: {monotonic() - began:.2f} s")
