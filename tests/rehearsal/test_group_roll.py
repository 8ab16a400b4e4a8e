"""What a rehearsal says about a group whose CA was rolled: from journal entries to facts, and what must not be."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.rehearse.group_roll import (
    BREACH,
    EXPIRY,
    INTERMEDIATE,
    MOST_POINTS,
    GroupFacts,
    GroupRoll,
    group_facts,
    problems_of,
)
from local.rehearse.report import Played, make_report, page_of
from local.rehearse.scenario import Found
from tests.rehearsal.notes import NEW, OLD, Notes

ONE, TWO, FORGED = "meter-01", "meter-02", "meter-666"
NAMES = (ONE, TWO)
FORGER = "10.0.0.66"
FORGERY = "F" * 64
OLD_CA, NEW_CA, ROOT_CA = "0" * 64, "1" * 64, "2" * 64
SIGNED = {OLD: (OLD_CA, ROOT_CA), NEW: (NEW_CA, ROOT_CA)}
UNTIL = 40.0
WAVE = {"number": 1, "size": 2, "reachable": 2, "moved": 2, "asked": True, "asked_at": "2026-11-30T04:03:48+00:00"}
EXPIRING = GroupRoll(
    group_id="meters",
    anchor=INTERMEDIATE,
    plan=EXPIRY,
    outgoing=OLD_CA,
    incoming=NEW_CA,
    began=5.0,
    address=FORGER,
    signed=SIGNED,
    rollover_id="group.meters.1",
    shown={"status": "done", "fleet": [{"work": "wave", "waves": [WAVE], "stragglers": []}]},
)
STOLEN = replace(EXPIRING, plan=BREACH, forged=(ONE, FORGED), confirmed=10.0, contained=15.0, twins_kept=2)


def moved() -> Notes:
    """Both on at 1 s; one moves at 8 s, the other at 12 s."""
    notes = Notes()
    for number, (name, at) in enumerate(((ONE, 8.0), (TWO, 12.0))):
        notes.on(1.0, number, OLD, device=name)
        notes.registered(at - 1, NEW, device=name)
        notes.on(at, number + 10, NEW, device=name)
        notes.off(at, number, "replaced", device=name)
    return notes


def evicted() -> Notes:
    """The forger is in under both names at 7 s; the call comes at 10 s, all are out at 12 s, back at 20 s and 25 s."""
    notes = Notes()
    notes.on(1.0, 1, OLD, device=ONE)
    notes.on(1.0, 2, OLD, device=TWO)
    for number, name in ((3, ONE), (4, FORGED)):
        notes.registered(6.0, FORGERY, address=FORGER, device=name)
        notes.on(7.0, number, FORGERY, address=FORGER, device=name)
    notes.off(7.0, 1, "replaced", device=ONE)
    notes.written(10.1, "dps", "/enrollmentGroups/meters")
    notes.off(11.0, 2, "the device identity was deleted", device=TWO)
    notes.off(11.5, 3, "the device identity was deleted", address=FORGER, device=ONE)
    notes.off(12.0, 4, "the device identity was deleted", address=FORGER, device=FORGED)
    for wall in (13.0, 27.0):
        for name in (ONE, FORGED):
            notes.registered(wall, FORGERY, status="disabled", address=FORGER, device=name)
            notes.refused(wall + 0.5, address=FORGER, device=name)
    notes.on(20.0, 5, NEW, device=ONE)
    notes.on(25.0, 6, NEW, device=TWO)
    return notes


def facts(notes: Notes, roll: GroupRoll) -> GroupFacts:
    return group_facts(notes.entries, roll, NAMES, UNTIL)


def test_the_times_of_an_expiry_count_from_the_new_version() -> None:
    found = facts(moved(), EXPIRING)
    assert found.moved_s == {ONE: 3.0, TWO: 7.0}
    assert (found.recovered_s, found.lost) == (7.0, ())
    assert [one.longest_gap_s for one in found.devices] == [0.0, 0.0]


def test_the_times_of_a_breach_count_from_the_confirmation() -> None:
    found = facts(evicted(), STOLEN)
    assert found.door_shut_s == pytest.approx(0.1)
    assert (found.evicted_s, found.contained_s, found.recovered_s) == (2.0, 5.0, 15.0)
    assert found.evicted == 3, "the forger's two, and the device that he had not thrown out"


def test_the_forger_is_told_from_the_device_whose_name_he_uses() -> None:
    found = facts(evicted(), STOLEN)
    assert [one.registration_id for one in found.forgers] == [ONE, FORGED]
    assert (found.refused_by("dps"), found.refused_by("iothub", FORGED), found.accepted_after) == (4, 2, 0)
    assert [one.refusals for one in found.devices] == [(), ()]


def test_the_curve_counts_who_is_on_which_ca_and_hands_over_in_one_step() -> None:
    assert facts(moved(), EXPIRING).curve == ((-4.0, 2, 0), (3.0, 1, 1), (7.0, 0, 2))


moments = st.floats(0, UNTIL, allow_nan=False)


@given(st.lists(moments, min_size=2, max_size=8, unique=True), st.integers(0, 3))
def test_the_curve_never_counts_more_than_there_are(walls: list[float], new: int) -> None:
    notes = Notes()
    for number, (began, ended) in enumerate(pairwise(sorted(walls))):
        notes.on(began, number, NEW if number > new else OLD, device=ONE)
        notes.off(ended, number, device=ONE)
    curve = facts(notes, EXPIRING).curve
    assert all(0 <= old + young <= 1 and min(old, young) >= 0 for _, old, young in curve)
    assert [at for at, *_ in curve] == sorted(at for at, *_ in curve)


def test_a_long_curve_is_thinned_out_and_keeps_both_ends() -> None:
    notes = Notes()
    for number in range(3 * MOST_POINTS):
        notes.on(number * 0.01, number, OLD, device=ONE)
        notes.off(number * 0.01 + 0.005, number, device=ONE)
    curve = facts(notes, EXPIRING).curve
    assert len(curve) == MOST_POINTS
    assert (curve[0][0], curve[-1][1]) == (-5.0, 0)


def test_good_runs_have_no_problem() -> None:
    assert problems_of(facts(moved(), EXPIRING)) == []
    assert problems_of(facts(evicted(), STOLEN)) == []


def one_stays_behind() -> tuple[Notes, GroupRoll]:
    notes = moved()
    notes.entries = [one for one in notes.entries if one.get("session") != 11]
    return notes, EXPIRING


def no_waves() -> tuple[Notes, GroupRoll]:
    return moved(), replace(EXPIRING, shown={"status": "done"})


def not_done() -> tuple[Notes, GroupRoll]:
    return moved(), replace(EXPIRING, shown={**EXPIRING.shown, "status": "needs_person"})


def never_begun() -> tuple[Notes, GroupRoll]:
    return moved(), replace(EXPIRING, rollover_id=None)


def forger_let_in_after() -> tuple[Notes, GroupRoll]:
    notes = evicted()
    notes.registered(16.0, FORGERY, address=FORGER, device=FORGED)
    return notes, STOLEN


def forger_never_in_as_nobody() -> tuple[Notes, GroupRoll]:
    notes = evicted()
    notes.entries = [one for one in notes.entries if one.get("session") != 4]
    return notes, STOLEN


def said_too_early() -> tuple[Notes, GroupRoll]:
    return evicted(), replace(STOLEN, contained=11.8)


def old_session_lives() -> tuple[Notes, GroupRoll]:
    notes = evicted()
    notes.entries = [one for one in notes.entries if (one["kind"], one.get("session")) != ("disconnect", 2)]
    return notes, STOLEN


def forger_gave_up() -> tuple[Notes, GroupRoll]:
    notes = evicted()
    notes.entries = [one for one in notes.entries if not 27.0 <= one["wall"] < 28.0]
    return notes, STOLEN


def door_left_open() -> tuple[Notes, GroupRoll]:
    notes = evicted()
    notes.entries = [one for one in notes.entries if one["kind"] != "request"]
    return notes, STOLEN


def twins_lost() -> tuple[Notes, GroupRoll]:
    return evicted(), replace(STOLEN, twins_kept=0)


def exposed() -> tuple[Notes, GroupRoll]:
    return evicted(), replace(STOLEN, still_exposed=["the group holds it"])


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (one_stays_behind, "meters: lost: meter-02"),
        (no_waves, "no waves"),
        (not_done, "does not say that it is done"),
        (never_begun, "began no rollover"),
        (forger_let_in_after, "let in after the app had said contained"),
        (forger_never_in_as_nobody, "no session under each of his names"),
        (said_too_early, "said contained while a session"),
        (old_session_lives, "a session by the old CA lives on"),
        (forger_gave_up, "not seen refused by DPS after"),
        (door_left_open, "did not write the group"),
        (twins_lost, "not every twin"),
        (exposed, "still exposed at the end: the group holds it"),
    ],
)
def test_what_went_wrong_is_said_and_fails_the_rehearsal(
    spoilt: Callable[[], tuple[Notes, GroupRoll]], said: str
) -> None:
    found = facts(*spoilt())
    assert any(said in one for one in problems_of(found))
    assert not report_of(found)["summary"]["passed"]


def report_of(found: GroupFacts) -> dict[str, Any]:
    played = Played("group", "A group", "It shows this. It does not show that.", 0, 0.0, UNTIL)
    return make_report(played, {}, [], Found(), group=found)


def test_the_report_has_the_figures_of_an_expiry_and_says_them() -> None:
    report = report_of(facts(moved(), EXPIRING))
    expected = {"devices": 2, "moved": 2, "lost": 0, "refused_connects": 0, "longest_gap_s": 0.0, "recovered_s": 7.0}
    assert {name: report["group"][name] for name in expected} == expected
    assert report["group"]["waves"] == [WAVE]
    assert report["summary"]["verdict"] == "PASSED: 2 of 2 devices moved to the new CA in 1 wave, 0 lost, in 40 s"


def test_the_report_has_the_figures_of_a_breach_and_says_them() -> None:
    report = report_of(facts(evicted(), STOLEN))
    expected = {"door_shut_s": 0.1, "evicted": 3, "evicted_s": 2.0, "contained_s": 5.0, "recovered_s": 15.0}
    assert {name: report["group"][name] for name in expected} == expected
    thief = {name: report["group"]["thief"][name] for name in ("dps_refused", "hub_refused", "accepted_after")}
    assert thief == {"dps_refused": 4, "hub_refused": 4, "accepted_after": 0}
    assert report["summary"]["verdict"] == (
        "PASSED: 3 sessions evicted, the forger refused 8 times and let in 0 times after, 2 of 2 devices back on the"
        " new CA, 0 lost, in 40 s"
    )


@pytest.mark.parametrize(("notes", "roll"), [(moved, EXPIRING), (evicted, STOLEN)])
def test_the_page_draws_the_group_and_needs_nothing_but_itself(notes: Callable[[], Notes], roll: GroupRoll) -> None:
    page = page_of(report_of(facts(notes(), roll)))
    assert "Timeline of 2 devices over 40 seconds" in page
    assert "<script" not in page
    assert ("forger as meter-666" in page) == (roll.plan == BREACH)


def test_a_breach_that_nobody_confirmed_still_gives_a_page() -> None:
    roll = replace(STOLEN, confirmed=None, contained=None, incoming=None, rollover_id=None, shown={})
    assert "nobody confirmed the breach" in page_of(report_of(facts(Notes(), roll)))
