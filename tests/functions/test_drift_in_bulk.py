"""The watch asks lists, and reads one by one only what they leave open; what it passes over a close look finds nothing
in."""

import logging
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared import comparing
from shared.comparing import compare_some
from shared.drift import Finding, drifts, group_drifts, is_compared, left_by
from shared.errors import NotAllowed, ServiceUnavailable
from shared.incident import Incident, Mode
from shared.plans import PLANS, Plan
from shared.rollover import Outcome, Rollover
from shared.rows import History
from tests.builders import EXPIRED, NEW, NEW_256, OLD, OLD_256, STRANGER, STRANGER_256, a_rollover, as_incoming
from tests.builders import as_outgoing as leaving
from tests.certificates import NOW
from tests.counted import counting
from tests.fakes import World, a_world
from tests.group_story import NEW_CA, NEW_ROOT, OLD_CA, OLD_ROOT

BEGUN = History(NOW, "test", "started", "for a test")


def rolled(world: World, name: str) -> None:
    """A device that was rolled from OLD to NEW, and all is as it was left."""
    world.dps.enroll(name, NEW)
    world.hub.provision(name, NEW_256)
    put(world, done(registration_id=name, device_id=name))


def done(plan: Plan = Plan.EXPIRY, **changes: object) -> Rollover:
    values = {"plan": plan, "done": PLANS[plan], "outcome": Outcome.DONE, "incoming": as_incoming(NEW), "due_at": None}
    return replace(a_rollover(), **{**values, **changes})


def put(world: World, rollover: Rollover) -> None:
    last = world.services.ledger.last_like(rollover)
    world.services.ledger.begin(rollover, last, BEGUN)


def a_fleet(count: int) -> World:
    world = a_world()
    for number in range(count):
        rolled(world, f"meter-{number:06}")
    return world


def a_round(world: World) -> Counter[str]:
    """The requests of a whole round; the time that it takes counts in turns."""
    requests = counting(world)
    while True:
        compare_some(world.services)
        requests["turns"] += 1
        if not world.services.timers.place().after:
            return requests


def requests_of_a_round(count: int) -> str:
    """For ``docs/evidence.md``."""
    requests = a_round(a_fleet(count))
    turns = requests.pop("turns")
    return f"a round of {count} targets: {requests.total()} requests in {turns} turns, {dict(requests)}"


def findings(world: World, caplog: pytest.LogCaptureFixture) -> Counter[tuple[str, str]]:
    """What a round tells: target and finding."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        a_round(world)
    lines = [record.__dict__["fields"] for record in caplog.records if record.message.startswith("drifted ")]
    return Counter((line["rollover_id"], line["finding"]) for line in lines)


def test_a_thousand_targets_that_are_as_they_were_left_cost_a_round_of_a_few_requests():
    requests = a_round(a_fleet(1000))
    print(f"a round of 1000: {dict(requests)}")
    assert requests["dps.enrollments"] == 1
    assert requests["hub.accepted"] == 2
    assert requests["dps.enrollment"] == requests["hub.shown"] == requests["dps.groups"] == 0
    assert requests.total() - requests["turns"] < 10


def test_only_what_the_lists_show_as_drifted_is_read_one_by_one(caplog):
    world = a_fleet(50)
    for number in (7, 30):
        world.hub.provision(f"meter-{number:06}", STRANGER_256)
    requests = counting(world)
    told = findings(world, caplog)
    assert {one for one, _ in told} == {"individual.meter-000007.1", "individual.meter-000030.1"}
    assert (requests["dps.enrollment"], requests["hub.shown"]) == (2, 2)


# --- what is passed over ----------------------------------------------------------------------------------------

HASHES = (OLD_256, NEW_256, STRANGER_256, OLD.sha1_thumbprint, NEW.sha1_thumbprint, None)


def some_rollover(pick: random.Random, **target: str | None) -> Rollover:
    """Any last rollover that there may be of this target."""
    group = bool(target["group_id"])
    plan = pick.choice([one for one in Plan if one.of_group is group])
    steps = PLANS[plan]
    outcome = pick.choice([*Outcome, None, *[Outcome.DONE] * 6])
    incident = None
    if not plan.expires:
        compromised = (leaving(OLD),)
        incident = Incident("i", pick.choice([*Mode]), "stolen", "somebody", "id", compromised)
        leaf = OLD.pem if plan is Plan.DISALLOW and pick.random() < 0.5 else ""
        incident = replace(incident, leaf=leaf, was_enabled=pick.random() < 0.8)
    old, new = pick.choice([(OLD_CA, NEW_CA), (OLD_ROOT, NEW_ROOT)]) if group else (OLD, NEW)
    if incident is not None and group:
        incident = replace(incident, compromised=(leaving(old),))
    return done(
        plan,
        done=steps if outcome is Outcome.DONE else steps[: pick.randrange(len(steps))],
        outcome=outcome,
        incident=incident,
        outgoing=leaving(old),
        incoming=pick.choice([as_incoming(new), as_incoming(new), None]),
        acted_at=pick.choice([None, None, NOW]),
        **target,
    )


def a_random_target(world: World, name: str, pick: random.Random) -> None:
    status = {"provisioningStatus": pick.choice(["enabled", "enabled", "disabled"])}
    if pick.random() < 0.2:
        target = {"registration_id": "", "device_id": "", "group_id": name}
        names, certificates = ("old-root", "new-root", "nowhere"), (OLD_CA, NEW_CA, OLD_ROOT)
        some = pick.sample(range(3), pick.randint(1, 2))
        if pick.random() < 0.4:
            world.dps.enroll_group(name, ca_references=[names[one] for one in some], **status)
        elif pick.random() < 0.8:
            world.dps.enroll_group(name, *(certificates[one] for one in some), **status)
    else:
        target = {"registration_id": name, "device_id": name, "group_id": None}
        if pick.random() < 0.9:
            certificates = pick.sample([OLD, NEW, NEW, STRANGER, EXPIRED], pick.randint(1, 2))
            world.dps.enroll(name, *certificates, **status)
        if pick.random() < 0.9:
            accepted = pick.choice([(NEW_256, NEW_256), (pick.choice(HASHES), pick.choice(HASHES))])
            world.hub.put(name, *accepted, enabled=pick.random() < 0.8)
    for _ in range(pick.randint(1, 3)):
        rollover = some_rollover(pick, **target)
        last = world.services.ledger.last_like(rollover)
        if last is not None and last.outcome is None:
            world.services.ledger.record(replace(last, outcome=Outcome.PREEMPTED), None)
        put(world, rollover)


def seen_closely(world: World, partition: str) -> list[str]:
    """What ``shared.drift`` finds in what is read of a target by itself."""
    rollovers = world.services.ledger.rollovers_in(partition)
    last = left_by(rollovers)
    if last is None or not is_compared(last) or rollovers[-1].acts_now(world.clock()):
        return []
    if last.group_id:
        group = world.dps.group(last.group_id)
        return [one.finding for one in group_drifts(rollovers, group, world.authorities.all())]
    shown = world.hub.shown(last.device_id)
    return [one.finding for one in drifts(rollovers, world.dps.enrollment(last.registration_id), shown)]


@pytest.mark.parametrize("seed", range(8))
def test_what_is_passed_over_a_close_look_finds_nothing_in(seed, caplog, monkeypatch):
    """In any state of ledger, entries and identities. A turn here has 40 targets and 30 close looks."""
    monkeypatch.setattr(comparing, "TARGETS", 40)
    monkeypatch.setattr(comparing, "CLOSELY", 30)
    pick = random.Random(seed)
    world = a_world(mirror_primary=pick.random() < 0.5)
    world.authorities.add("old-root", OLD_ROOT)
    world.authorities.add("new-root", NEW_ROOT)
    names = [f"Target-{number:03}" for number in range(150)]
    for name in names:
        a_random_target(world, name, pick)
    expected: Counter[tuple[str, str]] = Counter()
    for partition, rollovers in world.services.ledger.targets(""):
        if (last := left_by(rollovers)) is not None:
            expected.update((last.id, finding) for finding in seen_closely(world, partition))
    drifted = len({one for one, _ in expected})
    requests = counting(world)
    assert findings(world, caplog) == expected
    assert requests["dps.enrollment"] + requests["dps.group"] == drifted, "no more than these is read one by one"
    assert len({finding for _, finding in expected}) >= len(Finding) - 1
    assert 20 < drifted < 130


# --- lists that do not come, or lag ------------------------------------------------------------------------------


def broken_off(error: Exception) -> Iterator[object]:
    raise error
    yield


def no_enrollments(world: World, error: Exception) -> None:
    world.dps.enrollments = lambda: broken_off(error)


def half_of_the_enrollments(world: World, error: Exception) -> None:
    listed = world.dps.enrollments

    def half() -> Iterator[object]:
        for number, one in enumerate(listed()):
            if number == 3:
                raise error
            yield one

    world.dps.enrollments = half


def no_devices(world: World, error: Exception) -> None:
    world.hub.accepted = lambda device_ids: broken_off(error)


@pytest.mark.parametrize("broken", [no_enrollments, half_of_the_enrollments, no_devices])
@pytest.mark.parametrize("error", [NotAllowed("403"), ServiceUnavailable("429"), KeyError("odd")])
def test_without_a_list_the_targets_are_read_one_by_one(broken, error, caplog):
    world = a_fleet(8)
    world.dps.enrolled.pop("meter-000006")
    world.hub.put("meter-000002", NEW_256, OLD_256)
    broken(world, error)
    assert findings(world, caplog) == {
        ("individual.meter-000006.1", "gone"): 1,
        ("individual.meter-000002.1", "slots"): 1,
    }
    assert "source_unread" in [record.args[0] for record in caplog.records]


@pytest.mark.parametrize("broken", ["groups", "authorities"])
def test_so_are_groups(broken, caplog):
    """This one rests contained, and trusts the compromised root again."""
    world = a_world()
    world.authorities.add("old-root", OLD_ROOT)
    world.dps.enroll_group("line-1", ca_references=["old-root"])
    target = {"registration_id": "", "device_id": "", "group_id": "line-1", "outgoing": leaving(OLD_ROOT)}
    incident = Incident("i", Mode.REMOVE, "stolen", "somebody", "id", (leaving(OLD_ROOT),))
    put(world, done(Plan.GROUP_BREACH, outcome=Outcome.CANCELLED, incident=incident, **target))
    if broken == "groups":
        world.dps.groups = lambda: broken_off(ServiceUnavailable("429"))
    else:
        errors = iter([ServiceUnavailable("503")])
        listed = world.authorities.all

        def once_down() -> object:
            for error in errors:
                raise error
            return listed()

        world.authorities.all = once_down
    assert findings(world, caplog) == {("group.line-1.1", "compromised_back"): 1}


def test_the_hubs_list_may_show_the_certificate_of_before_and_nobody_is_told(caplog):
    """A device that has just registered: its twin shows the new one, the query not yet."""
    world = a_fleet(3)
    stale = a_fleet(3)
    stale.hub.provision("meter-000001", OLD_256)
    stale.hub.identities.pop("meter-000002")
    world.hub.accepted = stale.hub.accepted
    requests = counting(world)
    assert findings(world, caplog) == {}
    assert requests["hub.shown"] == 2


def test_a_row_that_does_not_tell_what_is_accepted_is_no_sign_that_all_is_well(caplog):
    world = a_world()
    world.dps.enroll("kept-out", OLD, provisioningStatus="disabled")
    world.hub.provision("kept-out", OLD_256)
    incident = Incident("i", Mode.DISABLE, "odd", "somebody", "id", (leaving(OLD),))
    put(world, done(Plan.DISALLOW, registration_id="kept-out", device_id="kept-out", incident=incident))
    world.hub.accepted = lambda device_ids: iter([dict.fromkeys(device_ids)])
    assert findings(world, caplog) == {("individual.kept-out.1", "let_in_again"): 1}


def test_a_rollover_that_began_since_the_ledger_was_listed_is_no_drift(caplog):
    """It put its own certificate beside the one that was left."""
    world = a_fleet(1)
    listed = world.dps.enrollments

    def begins() -> Iterator[object]:
        put(world, replace(a_rollover(), registration_id="meter-000000", device_id="meter-000000"))
        world.dps.enroll("meter-000000", NEW, STRANGER)
        return listed()

    world.dps.enrollments = begins
    assert findings(world, caplog) == {}


# --- turns -------------------------------------------------------------------------------------------------------


def test_a_turn_ends_when_its_pages_of_the_hub_are_used_up_and_the_next_goes_on_behind_it():
    world = a_fleet(1500)
    world.hub.page = 100
    requests = counting(world)
    assert [compare_some(world.services) for _ in range(3)] == [1000, 500, 0]
    assert requests["hub.accepted"] == 15


def test_targets_that_are_not_compared_are_gone_past():
    world = a_fleet(3)
    for name in ("a-first", "meter-000001-b", "z-last"):
        put(world, replace(a_rollover(), registration_id=name, device_id=name))
    assert compare_some(world.services) == 3
    assert compare_some(world.services) == 0


def test_more_targets_than_a_turn_takes_go_on_in_the_next(monkeypatch):
    """Also where a turn has none that is compared."""
    monkeypatch.setattr(comparing, "TARGETS", 2)
    world = a_fleet(5)
    for name in ("a-first", "b-second", "meter-000001-b"):
        put(world, replace(a_rollover(), registration_id=name, device_id=name))
    assert [compare_some(world.services) for _ in range(6)] == [0, 2, 1, 2, 0, 0]
