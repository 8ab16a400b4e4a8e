"""The labelled corpus, each case through the whole trigger in a world of its own."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.breaching import confirm, preview
from shared.callers import Caller, Role
from shared.connection_failures import take_batch
from shared.incident import Incident, Mode
from shared.operating import disallow
from shared.plans import PLANS, Plan, Step
from shared.rollover import Outcome
from shared.rows import History
from shared.transitions import advance
from shared.verdict import NeedsPerson
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    OLD,
    OLD_256,
    STRANGER_256,
    a_rollover,
    a_story,
    as_outgoing,
    deliver_all,
    put_rollover,
    the_rollover,
)
from tests.fakes import Kept, World
from tests.group_story import GROUP, a_group_story, begin, go_on
from tests.unit.hub_log import CORPUS, OF_GROUP, OTHER_NAME, Case

ONCALL = Caller("oid-1", "tid", "Ada", frozenset({Role.BREACH_EXECUTE}))
REAL = ("rolled_early", "in_flight", "breached_certificate_tried", "never_issued")
"""What something is done about; everything else is noise."""


def known(world: World, device_id: str = DEVICE) -> World:
    """As after a sweep."""
    world.services.devices.know(device_id, DEVICE, CERTIFICATE)
    return world


def ahead() -> World:
    """The vault has NEW, and nobody told the enrollment: the device may have fetched it by itself."""
    world = known(a_story())
    world.vault.kept[CERTIFICATE] = Kept([OLD, NEW])
    return world


def in_flight() -> World:
    world = known(a_story())
    put_rollover(world, Step.DELETE_PRIMARY)
    return world


def contained(mode: str = "remove") -> World:
    world = known(a_story())
    asked = {"registration_id": DEVICE, "reason": "stolen laptop", "mode": mode}
    shown = preview(asked, ONCALL, world.services)
    confirm({"confirm": shown["confirm_token"]}, ONCALL, world.services)
    deliver_all(world)
    assert the_rollover(world).contained
    return world


def contained_needs_person() -> World:
    world = contained()
    rollover = the_rollover(world)
    ended = advance(rollover, NeedsPerson("the vault is gone", "look"), world.clock())
    world.services.ledger.record(ended, History(world.clock(), "test", "needs a person", "for a test"))
    world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="disabled"))
    return world


def taken_over(world: World) -> World:
    world.hub.put(DEVICE, STRANGER_256, STRANGER_256)
    return world


def other_name() -> World:
    """The device registered under an ID that is not its registration ID."""
    world = ahead()
    world.dps.edit(DEVICE, lambda body: body.update(deviceId=OTHER_NAME))
    world.dps.registrations[DEVICE]["deviceId"] = OTHER_NAME
    world.hub.provision(OTHER_NAME, OLD_256)
    return known(world, OTHER_NAME)


def disabled_at_dps() -> World:
    world = ahead()
    world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="disabled"))
    return world


def disabled_at_hub() -> World:
    world = ahead()
    world.hub.put(DEVICE, OLD_256, OLD_256, enabled=False)
    return world


def disallowed() -> World:
    world = ahead()
    disallow(DEVICE, "audit", None, ONCALL, world.services)
    return world


def by_sas() -> World:
    world = ahead()
    world.hub.put(DEVICE, None, None, authentication="sas")
    return world


def newer_is_compromised() -> World:
    """NEW was contained and replaced by hand with OLD again; the vault still offers NEW first."""
    world = ahead()
    incident = Incident("incident-1", Mode.REMOVE, "stolen", "Ada", "oid-1", (as_outgoing(NEW),))
    done = {"done": PLANS[Plan.BREACH], "outcome": Outcome.DONE, "due_at": None}
    breach = a_rollover(plan=Plan.BREACH, incident=incident, **done)
    world.services.ledger.begin(breach, None, History(world.clock(), "test", "started", "for a test"))
    return world


def newer_is_disabled() -> World:
    world = ahead()
    world.vault.kept[CERTIFICATE].enabled = False
    return world


def nothing_to_present() -> World:
    world = known(a_story())
    world.clock.advance(timedelta(days=31))
    return world


def group_in_flight() -> World:
    world = a_group_story()
    begin(world)
    return world


def group_breached() -> World:
    world = a_group_story()
    world.vault.issues = lambda _: None
    shown = preview({"enrollment_group": GROUP, "reason": "the CA's key was copied"}, ONCALL, world.services)
    confirm({"confirm": shown["confirm_token"]}, ONCALL, world.services)
    return world


def group_contained() -> World:
    world = group_breached()
    assert go_on(world).contained
    return world


def group_back() -> World:
    world = group_contained()
    world.hub.provision(OF_GROUP, "A" * 64)
    return world


def group_pinned() -> World:
    world = a_group_story()
    world.hub.provision(OF_GROUP, STRANGER_256)
    return world


def group_disabled() -> World:
    world = a_group_story()
    world.hub.put(OF_GROUP, OLD_256, OLD_256, enabled=False)
    return world


def group_and_enrollment() -> World:
    world = group_in_flight()
    world.dps.enroll(OF_GROUP, OLD)
    return world


SITUATIONS: dict[str, Callable[[], World]] = {
    "rolled early": ahead,
    "in flight": in_flight,
    "contained": contained,
    "contained, identity disabled": lambda: contained("disable"),
    "contained, needs a person": contained_needs_person,
    "taken over": lambda: taken_over(known(a_story())),
    "taken over, and the vault is ahead": lambda: taken_over(ahead()),
    "registered under another name": other_name,
    "all is well": lambda: known(a_story()),
    "nothing to present": nothing_to_present,
    "disabled at DPS": disabled_at_dps,
    "disabled at the hub": disabled_at_hub,
    "disallowed": disallowed,
    "lets in by SAS": by_sas,
    "the vault's newer version is compromised": newer_is_compromised,
    "the vault's newer version is disabled": newer_is_disabled,
    "of a group, its rollover in flight": group_in_flight,
    "of a group, its breach not contained yet": group_breached,
    "of a group, contained": group_contained,
    "of a group, contained and back": group_back,
    "of a group, nothing open": a_group_story,
    "of a group, pinned to a thumbprint of nobody": group_pinned,
    "of a group, disabled at the hub": group_disabled,
    "of a group, with an enrollment of its own": group_and_enrollment,
}


def outside(world: World) -> object:
    """What the product may change of DPS and hub."""
    hub = dict(world.hub.identities), dict(world.hub.twins)
    return dict(world.dps.enrolled), dict(world.dps.grouped), *hub


def take(case: Case) -> tuple[World, Counter[str], int]:
    """The world after the trigger took the case, what it counted, and how many rollovers it began."""
    world = SITUATIONS[case.situation]()
    before, had = outside(world), len(list(world.services.ledger.rollovers()))
    counts = take_batch([case.body], world.services)
    assert outside(world) == before, "the trigger itself changes nothing of DPS or hub"
    return world, counts, len(list(world.services.ledger.rollovers())) - had


@pytest.mark.parametrize("name", CORPUS)
def test_each_case_is_what_its_label_says(name):
    case = CORPUS[name]
    world, counts, begun = take(case)
    assert counts[case.label] >= 1, counts
    assert [one for one in REAL if counts[one]] == [case.label] * (case.label in REAL), counts
    assert begun == (case.label == "rolled_early")
    kinds = set(world.topic.kinds())
    assert ("Rollover.BreachedCertificateTried" in kinds) == (case.label == "breached_certificate_tried")
    assert ("Rollover.BreachNominated" in kinds) == (case.label == "never_issued")


def test_no_rollover_begins_on_noise_and_no_real_case_is_missed():
    """The figures of the whole corpus, by label."""
    cases, rolls, right = Counter(), Counter(), Counter()
    for case in CORPUS.values():
        _, counts, begun = take(case)
        cases[case.label] += 1
        rolls[case.label] += begun
        right[case.label] += counts[case.label] > 0
    noise = {label: rolls[label] for label in cases if label not in REAL}
    missed = {label: cases[label] - right[label] for label in REAL}
    print(f"\n{'label':<28}{'cases':>6}{'right':>6}{'rolls begun':>13}")
    for label in sorted(cases, key=lambda one: (one not in REAL, one)):
        print(f"{label:<28}{cases[label]:>6}{right[label]:>6}{rolls[label]:>13}")
    print(
        f"{sum(cases.values())} cases, {sum(noise.values())} rolls begun on noise,"
        f" {sum(missed.values())} real cases missed, {sum(cases.values()) - sum(right.values())} taken for another"
    )
    assert sum(noise.values()) == 0
    assert sum(missed.values()) == 0
    assert cases == right
    assert sum(cases.values()) >= 60


def test_all_of_it_in_one_batch_is_one_rollover():
    """One bad record never loses a batch, and one device is looked at once."""
    world = ahead()
    counts = take_batch([case.body for case in CORPUS.values()], world.services)
    assert counts["rolled_early"] == 1
    assert [one.cause.partition(" (")[0] for one in world.services.ledger.rollovers()] == ["refused connect of dev-01"]
