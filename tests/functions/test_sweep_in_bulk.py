"""The sweep asks lists, and looks closely only at what they leave open; what it passes over needs nothing."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pytest

from shared.certificate import Certificate, parse_certificate
from shared.errors import BadInput, NotAllowed, RolloverError, ServiceUnavailable
from shared.rollover import Outcome
from shared.screening import Sight, is_due, screen
from shared.seen import Listed
from shared.starting import start_rollover
from shared.surveying import survey
from shared.sweeping import sweep, without_tracking
from shared.target import Due
from shared.timers import Timer, completing
from tests.builders import DEVICE, EXPIRED, NEW, OLD, STRANGER
from tests.certificates import NOW, generation
from tests.counted import counting
from tests.emitted import emitting
from tests.fakes import Kept, World, a_world
from tests.group_story import CERTIFICATE as CA
from tests.group_story import NEW_CA, OLD_CA, a_group_story

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def a_fleet(count: int, due: int = 0, *, noted: bool = False) -> World:
    """Devices with a tagged certificate each; the first ``due`` are near their end, the others are not."""
    world = a_world()
    for number in range(count):
        name = f"dev-{number:04}"
        certificate = look_alike(OLD if number < due else NEW, number)
        world.dps.enroll(name, certificate)
        world.hub.provision(name, certificate.sha256_thumbprint)
        world.vault.kept[f"{name}-cert"] = Kept([certificate], {"rollover-enrollment": name})
        if noted:
            world.services.devices.know(name, name, f"{name}-cert")
    return world


def look_alike(certificate: Certificate, number: int) -> Certificate:
    """Another certificate with the same dates, for a thousand are not worth signing."""
    return replace(
        certificate,
        sha1_thumbprint=f"{number:04}{certificate.sha1_thumbprint[4:]}",
        sha256_thumbprint=f"{number:04}{certificate.sha256_thumbprint[4:]}",
    )


def test_a_thousand_certificates_of_which_ten_are_due_cost_a_hundred_and_some_requests():
    world = a_fleet(1000, 10, noted=True)
    requests = counting(world)
    assert sweep(world.services) == {"begun": 10, "nothing": 990}
    print(f"sweep of 1000, 10 due: {requests.total()} requests", dict(requests))
    lists = {"vault.certificates": 40, "dps.enrollments": 1, "dps.groups": 1, "authorities.all": 1, "table.scan": 4}
    assert {asked: requests[asked] for asked in lists} == lists
    assert requests.total() < 200
    again = requests.total()
    assert sweep(world.services) == {"open": 10, "nothing": 990}
    assert requests.total() - again == sum(lists.values())


# --- one that fails ----------------------------------------------------------------------------------------------


def failing(world: World, name: str, error: RolloverError) -> None:
    latest = world.vault.latest

    def answers(asked: str):
        if asked == name:
            raise error
        return latest(asked)

    world.vault.latest = answers


def test_of_fifty_that_are_due_the_one_that_the_vault_refuses_is_named_once_and_49_roll(caplog):
    world = a_fleet(50, 50)
    refusals = iter(range(1000))
    error = NotAllowed("Key Vault answered 403 to GET certificate dev-0007-cert: no. TrackingId: 1")
    failing(world, "dev-0007-cert", error)
    with emitting() as emitted:
        assert sweep(world.services) == {"begun": 49, "failed": 1}
        for _ in range(5):
            error.args = (f"Key Vault answered 403 to GET certificate dev-0007-cert: no. TrackingId: {next(refusals)}",)
            world.clock.advance(HOUR)
            assert sweep(world.services) == {"open": 49, "failed": 1}
        assert emitted.metrics()["rollover.sweep.targets"][("failed",)] == 6
    assert [record.args[0] for record in caplog.records].count("target_failed") == 6
    [refused] = world.services.ledger.refused_inputs()
    assert (refused.subject, refused.count, refused.announced) == ("dev-0007-cert", 6, True)
    told = [(kind, subject) for _, kind, subject in world.topic.published if kind == "Rollover.CannotBegin"]
    assert told == [("Rollover.CannotBegin", "dev-0007-cert")]


def test_what_passes_by_itself_is_noted_and_nobody_is_told():
    world = a_fleet(2, 2)
    failing(world, "dev-0001-cert", ServiceUnavailable("Key Vault answered 429"))
    assert sweep(world.services) == {"begun": 1, "failed": 1}
    assert world.topic.kinds() == ["Rollover.Started"]
    assert [refused.subject for refused in world.services.ledger.refused_inputs()] == ["dev-0001-cert"]


class Killed(BaseException):
    """The host ends the function: its time is over."""


@pytest.mark.parametrize("after", range(7))
def test_a_sweep_that_is_cut_off_loses_nothing(after):
    world = a_fleet(9, 6)
    latest, left = world.vault.latest, after

    def dying(name: str):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return latest(name)

    world.vault.latest = dying
    if after < 6:
        with pytest.raises(Killed):
            sweep(world.services)
    else:
        sweep(world.services)
    world.vault.latest = latest
    assert sweep(world.services) == Counter(open=after, begun=6 - after, nothing=3)
    assert len(list(world.services.ledger.rollovers())) == 6


# --- a list that fails -------------------------------------------------------------------------------------------


def broken_off[Item](items: Iterator[Item], after: int, error: RolloverError) -> Iterator[Item]:
    for _ in range(after):
        yield next(items)
    raise error


def test_a_list_of_the_vault_that_breaks_off_is_named_and_what_it_gave_begins():
    world = a_fleet(10, 10)
    certificates = world.vault.certificates
    world.vault.certificates = lambda: broken_off(certificates(), 4, ServiceUnavailable("Key Vault answered 503"))
    with emitting() as emitted, pytest.raises(ServiceUnavailable), completing(Timer.SWEEP, world.services):
        sweep(world.services)
    assert len(list(world.services.ledger.rollovers())) == 4
    assert "rollover.timer.completed" not in emitted.metrics(), "the dead-man alert must not think that all is well"
    assert world.services.timers.completed(Timer.SWEEP) is None
    [refused] = world.services.ledger.refused_inputs()
    assert refused.subject == "the certificates of the vault"


def test_without_the_list_of_enrollments_what_is_due_begins_and_the_rest_is_not_asked_about():
    world = a_fleet(10, 3, noted=True)
    world.dps.enrollments = lambda: broken_off(iter(()), 0, NotAllowed("DPS answered 403 to the query of enrollments"))
    requests = counting(world)
    with pytest.raises(NotAllowed):
        sweep(world.services)
    assert len(list(world.services.ledger.rollovers())) == 3
    assert requests["vault.latest"] == 3
    assert world.topic.kinds().count("Rollover.CannotBegin") == 1


def test_a_half_list_of_enrollments_makes_nobody_say_that_an_enrollment_is_missing():
    world = a_fleet(10)
    enrollments = world.dps.enrollments
    world.dps.enrollments = lambda: broken_off(enrollments(), 4, ServiceUnavailable("DPS answered 429"))
    with pytest.raises(ServiceUnavailable):
        sweep(world.services)
    assert [refused.subject for refused in world.services.ledger.refused_inputs()] == [
        "the individual enrollments of the DPS"
    ]


def test_without_the_ledger_nothing_is_done():
    world = a_fleet(2, 2)
    scan = world.table.scan
    world.table.scan = lambda prefix, **narrowed: (
        broken_off(iter(()), 0, ServiceUnavailable("table")) if narrowed.get("is_open") else scan(prefix, **narrowed)
    )
    with pytest.raises(ServiceUnavailable):
        sweep(world.services)
    assert world.topic.published == []


def test_the_ca_certificates_of_the_dps_are_not_needed_for_individual_enrollments():
    world = a_fleet(2, 2)

    def refusing() -> list:
        raise BadInput("no")

    world.authorities.all = refusing
    assert sweep(world.services) == {"begun": 2}


# --- what is passed over -----------------------------------------------------------------------------------------


def test_a_device_is_known_by_its_id_though_its_certificate_was_not_looked_at():
    """The hub's log names devices, and DPS cannot be asked by device ID."""
    world = a_fleet(1)
    assert sweep(world.services) == {"nothing": 1}
    known = world.services.devices.find("dev-0000")
    assert known is not None
    assert (known.registration_id, known.certificate_name) == ("dev-0000", "dev-0000-cert")


def test_what_its_common_name_ties_to_an_enrollment_is_read_once_and_then_known():
    world = a_world()
    new = parse_certificate(generation(1).der)
    world.dps.enroll(DEVICE, new)
    world.hub.provision(DEVICE, new.sha256_thumbprint)
    world.vault.kept["untagged"] = Kept([new])
    world.clock.time = new.not_before + DAY
    requests = counting(world)
    for _ in range(3):
        assert sweep(world.services) == {"nothing": 1}
    assert requests["vault.latest"] == 1


SLOTS = (None, OLD, NEW, STRANGER, EXPIRED)
POOL = tuple(
    (slots, kept, tagged, enabled, days)
    for slots in product(SLOTS[1:], SLOTS)
    for kept in ([OLD], [NEW], [OLD, NEW])
    for tagged in (True, False)
    for enabled in (True, False)
    for days in (0, 20, 100, 366, 396)
)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_passed_over_a_close_look_would_have_left_alone(seed):
    """In any state of slots, vault, dates and ledger, with the hub on what the slots hold."""
    sights: Counter[Sight] = Counter()
    for slots, kept, tagged, enabled, days in random.Random(seed).sample(POOL, 150):
        world = a_world(mirror_primary=False)
        status = {"provisioningStatus": "enabled" if enabled else "disabled"}
        world.dps.enroll(DEVICE, *(one for one in slots if one), **status)
        world.hub.provision(DEVICE, slots[0].sha256_thumbprint)
        world.vault.kept["cert"] = Kept(list(kept), {"rollover-enrollment": DEVICE} if tagged else {})
        world.clock.time = NOW + days * DAY
        if days % 3 == 0 and start_rollover("cert", "test", world.services).what == "begun" and days == 0:
            rollover = world.services.ledger.last(DEVICE)
            assert rollover is not None
            world.services.ledger.record(replace(rollover, outcome=Outcome.REFUSED, ended_at=NOW, due_at=None), None)
        found = survey(world.services, world.services.devices.all())
        sight = screen(found.vault[0], found, world.clock(), world.settings.due)
        sights[sight] += 1
        if sight is not Sight.CLOSE:
            came = start_rollover("cert", "sweep", world.services, hint=False)
            assert came.what == sight, (slots, kept, enabled, days, came)
    assert {Sight.CALM, Sight.OPEN, Sight.CLOSE} <= {*sights}


@pytest.mark.parametrize("by_reference", [True, False])
def test_a_group_that_trusts_the_latest_version_alone_is_passed_over_until_it_is_due(by_reference):
    world = a_group_story(by_reference=by_reference)
    requests = counting(world)
    world.clock.time = NOW - DAY
    assert sweep(world.services) == {"nothing": 1}
    assert requests["vault.latest"] == 0
    world.clock.time = NOW
    assert sweep(world.services) == {"begun": 1}


def test_a_group_that_trusts_another_certificate_is_looked_at():
    world = a_group_story()
    world.clock.time = NOW - DAY
    world.vault.kept[CA].versions = [OLD_CA, NEW_CA]
    assert sweep(world.services) == {"begun": 1}


# --- thresholds --------------------------------------------------------------------------------------------------

SECOND = timedelta(seconds=1)
DUE = Due(window=timedelta(days=30), share=0.25)


@pytest.mark.parametrize(
    ("lives", "left"),
    [
        (timedelta(days=365), timedelta(days=30)),  # the window is shorter than a quarter of its life
        (timedelta(days=120), timedelta(days=30)),  # both are the same
        (timedelta(days=60), timedelta(days=15)),  # a quarter of its life is shorter
        (timedelta(hours=1), timedelta(minutes=15)),
    ],
)
def test_it_is_due_at_the_moment_when_window_and_share_are_both_reached(lives, left):
    listed = Listed("a", ends=NOW, starts=NOW - lives)
    due: list[tuple[datetime, bool]] = [(NOW - left - SECOND, False), (NOW - left, True), (NOW - left + SECOND, True)]
    for at, expected in due:
        assert is_due(listed, at, DUE) is expected


def test_without_its_beginning_the_window_alone_decides_and_without_its_end_it_is_looked_at():
    listed = Listed("a", ends=NOW)
    assert not is_due(listed, NOW - DUE.window - SECOND, DUE)
    assert is_due(listed, NOW - DUE.window, DUE)
    assert is_due(Listed("a", starts=NOW), NOW, DUE)


def test_what_differs_each_time_is_no_part_of_a_reason():
    said = "IoT Hub answered 403 to GET: {ErrorCode:X;denied};TrackingId:1f-G:2-TimeStamp:3; as always"
    assert without_tracking(said) == "IoT Hub answered 403 to GET: {ErrorCode:X;denied}; as always"
