"""GET /api/certificates over a world in memory: the horizon, its filters and pages, and which sources are down."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import islice

import pytest

from shared.certificate import parse_certificate
from shared.errors import NotAllowed, RolloverError, ServiceUnavailable
from shared.rollover import Outcome
from shared.sweeping import sweep
from tests.builders import NEW, OLD
from tests.certificates import NOW, generation
from tests.counted import counting
from tests.emitted import emitting
from tests.fakes import Kept, World, a_world
from tests.functions.test_sweep_in_bulk import look_alike
from tests.http_api import HttpApi

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
URL = "/api/certificates"


def a_fleet(covered: int, uncovered: int) -> World:
    """Devices on certificates of their own, each ending an hour after the last; the latter without a tag."""
    world = a_world()
    for number in range(covered + uncovered):
        name = f"dev-{number:02}"
        certificate = replace(look_alike(OLD, number), not_after=OLD.not_after + number * HOUR)
        world.dps.enroll(name, certificate)
        world.hub.provision(name, certificate.sha256_thumbprint)
        if number < covered:
            world.vault.kept[f"{name}-cert"] = Kept([certificate], {"rollover-enrollment": name})
    return world


@pytest.fixture
def world() -> World:
    return a_fleet(3, 2)


@pytest.fixture
def http(world: World, monkeypatch: pytest.MonkeyPatch) -> HttpApi:
    return HttpApi(world, monkeypatch)


def names(http: HttpApi, **params: str) -> list[str]:
    return [one["name"] for one in http.get(URL, "auditor", **params).json["certificates"]]


def test_what_ends_first_comes_first_with_what_rolls_it_or_why_nothing_does(http, world):
    world.clock.time = NOW - 50 * DAY
    answer = http.get(URL, "auditor").json
    assert [one["name"] for one in answer["certificates"]] == [f"dev-{number:02}" for number in range(5)]
    first, last = answer["certificates"][0], answer["certificates"][-1]
    assert (first["fate"], first["certificate_name"], first["urgent"]) == ("rolls", "dev-00-cert", False)
    assert first["due_at"] == (OLD.not_after - 30 * DAY).isoformat()
    assert (last["fate"], last["certificate_name"], last["due_at"]) == ("uncovered", None, None)
    assert "rollover-enrollment" in last["why"]
    assert (answer["total"], answer["uncovered"], answer["soonest"]) == (5, 2, OLD.not_after.isoformat())
    assert (answer["missing"], answer["continuation"]) == ([], None)


def test_filters_narrow_it(http):
    assert names(http, uncovered="true") == ["dev-03", "dev-04"]
    assert names(http, before=(OLD.not_after + HOUR).isoformat()) == ["dev-00"], "what ends then is not before"
    assert names(http, before=(OLD.not_after + HOUR).replace(tzinfo=None).isoformat()) == ["dev-00"]
    assert names(http, days="30") == []
    assert len(names(http, days="31")) == 5
    assert names(http, days="0") == []
    assert names(http, days="31", uncovered="true") == ["dev-03", "dev-04"]


BAD = (
    {"before": "tomorrow"},
    {"days": "-1"},
    {"days": "1e3"},
    {"days": "999999"},
    {"days": "1", "before": "2027-01-01"},
    {"uncovered": "yes"},
    {"limit": "0"},
    {"limit": "1001"},
    {"limit": "x"},
    {"continuation": "x"},
    {"continuation": "W10="},
    {"continuation": "WzFd"},
    {"colour": "red"},
)


@pytest.mark.parametrize("params", BAD, ids=str)
@pytest.mark.parametrize("url", [URL, "/api/rollovers"])
def test_what_cannot_be_understood_is_refused(params, url, http):
    assert http.get(url, **params).status == 400


def pages(http: HttpApi, url: str, member: str, **params: str) -> Iterator[list[dict]]:
    while True:
        answer = http.get(url, **params).json
        yield answer[member]
        if answer["continuation"] is None:
            return
        params["continuation"] = answer["continuation"]


@pytest.mark.parametrize("limit", ["1", "2", "5", "6"])
def test_pages_put_together_are_the_list(limit, http):
    whole = http.get(URL).json["certificates"]
    found = list(pages(http, URL, "certificates", limit=limit))
    assert [one for page in found for one in page] == whole
    assert all(len(page) <= int(limit) for page in found)
    assert all(found), "no page is empty"


def test_what_leaves_between_two_pages_makes_nothing_be_left_out(http, world):
    reading = pages(http, URL, "certificates", limit="2")
    [first] = islice(reading, 1)
    del world.dps.enrolled["dev-01"]
    left = [one["name"] for page in reading for one in page]
    assert [one["name"] for one in first] + left == ["dev-00", "dev-01", "dev-02", "dev-03", "dev-04"]


@pytest.mark.parametrize("limit", ["1", "2", "3", "9"])
def test_rollovers_are_paged_latest_first(limit, http, world):
    world.clock.advance(DAY)
    sweep(world.services)
    for rollover in list(world.services.ledger.rollovers()):
        age = int(rollover.registration_id[-1]) % 2 * HOUR  # two of them began at the same moment
        world.services.ledger.record(replace(rollover, started_at=NOW - age), None)
    whole = http.get("/api/rollovers").json["rollovers"]
    assert [one["started_at"] for one in whole] == sorted((one["started_at"] for one in whole), reverse=True)
    found = list(pages(http, "/api/rollovers", "rollovers", limit=limit))
    assert [one for page in found for one in page] == whole
    assert len(whole) == 3
    assert all(found)


# --- what a sweep has done ---------------------------------------------------------------------------------------


def test_an_open_rollover_is_named(http, world):
    sweep(world.services)
    first = http.get(URL).json["certificates"][0]
    assert (first["fate"], first["rollover_id"]) == ("rolling", "individual.dev-00.1")


def test_one_whose_rollover_was_refused_says_so(http, world):
    sweep(world.services)
    rollover = world.services.ledger.last("dev-00")
    assert rollover is not None
    ended = replace(rollover, outcome=Outcome.REFUSED, outcome_reason="no key", ended_at=NOW, due_at=None)
    world.services.ledger.record(ended, None)
    world.clock.advance(HOUR)
    sweep(world.services)
    first = http.get(URL, uncovered="true").json["certificates"][0]
    assert (first["name"], first["rollover_id"]) == ("dev-00", "individual.dev-00.1")
    assert first["why"] == "individual.dev-00.1 ended as refused: no key"
    assert first["urgent"]


def test_one_that_the_vault_refuses_says_so_until_a_sweep_has_read_it(http, world):
    latest = world.vault.latest

    def refusing(name: str):
        if name == "dev-00-cert":
            raise NotAllowed("Key Vault answered 403 to GET certificate dev-00-cert")
        return latest(name)

    world.vault.latest = refusing
    sweep(world.services)
    first = http.get(URL).json["certificates"][0]
    assert (first["fate"], first["why"]) == ("uncovered", "Key Vault answered 403 to GET certificate dev-00-cert")
    world.vault.latest = latest
    sweep(world.services)
    assert http.get(URL).json["certificates"][0]["fate"] == "rolling"


def test_each_sweep_measures_what_nothing_would_roll_and_the_soonest_end(world, caplog):
    with emitting() as emitted:
        sweep(world.services)
        metrics = emitted.metrics()
    assert metrics["rollover.horizon.uncovered"][()] == (2, 1)
    assert metrics["rollover.horizon.soonest"][()] == ((30 * DAY).total_seconds(), 1)
    named = [record.fields for record in caplog.records if record.fields["event"] == "uncovered"]
    assert [one["registration_id"] for one in named] == ["dev-03", "dev-04"]


def test_where_all_is_well_the_measure_is_zero_so_that_the_alert_ends():
    world = a_fleet(2, 0)
    with emitting() as emitted:
        sweep(world.services)
        assert emitted.metrics()["rollover.horizon.uncovered"][()] == (0, 1)


# --- sources -----------------------------------------------------------------------------------------------------


def down(world: World, source: str, error: RolloverError) -> None:
    def fails(*_: object, **__: object) -> Iterator[None]:
        raise error

    if source == "open rollovers of the ledger":
        world.table.scan = world.table.read = fails
    elif source == "CA certificates of the DPS":
        world.authorities.all = fails
    elif source == "certificates of the vault":
        world.vault.certificates = fails
    else:
        setattr(world.dps, "groups" if "groups" in source else "enrollments", fails)


@pytest.mark.parametrize("error", [NotAllowed("answered 403"), ServiceUnavailable("answered 503")], ids=["403", "503"])
@pytest.mark.parametrize(
    ("source", "left"),
    [
        ("certificates of the vault", {"enrollment", "enrollment_group", "ca_certificate"}),
        ("individual enrollments of the DPS", {"enrollment_group", "ca_certificate"}),
        ("enrollment groups of the DPS", {"enrollment", "ca_certificate"}),
        ("CA certificates of the DPS", {"enrollment", "enrollment_group"}),
        ("open rollovers of the ledger", {"enrollment", "enrollment_group", "ca_certificate"}),
    ],
)
def test_a_source_that_is_down_is_named_and_the_rest_is_told(source, left, error, http, world):
    world.dps.enroll_group("line-1", parse_certificate(generation(0, "ca").der))
    world.authorities.add("root", NEW)
    down(world, source, error)
    answer = http.get(URL).json
    assert [(one["source"], one["why"]) for one in answer["missing"]] == [(source, str(error))]
    assert {one["kind"] for one in answer["certificates"]} == left
    if "vault" in source:
        assert answer["uncovered"] == 0, "what cannot be known is not called uncovered"


def test_a_thousand_certificates_cost_lists_and_no_single_look(monkeypatch):
    world = a_fleet(0, 0)
    for number in range(1000):
        certificate = look_alike(NEW, number)
        world.dps.enroll(f"dev-{number}", certificate)
        world.vault.kept[f"cert-{number}"] = Kept([certificate], {"rollover-enrollment": f"dev-{number}"})
    requests = counting(world)
    answer = HttpApi(world, monkeypatch).get(URL, limit="1000").json
    assert (answer["total"], answer["uncovered"], len(answer["certificates"])) == (1000, 0, 1000)
    print(f"horizon of 1000: {requests.total()} requests", dict(requests))
    assert {asked.partition(".")[2] for asked in requests} == {"certificates", "enrollments", "groups", "all", "scan"}
    assert requests.total() == 46
