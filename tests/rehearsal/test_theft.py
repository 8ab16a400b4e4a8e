"""What a rehearsal says about a stolen key: from journal entries to facts, and what must not be."""

from dataclasses import replace
from typing import Any

import pytest

from local.rehearse.report import Played, breaches_of, make_report, page_of
from local.rehearse.scenario import MODULES, Found, load
from local.rehearse.theft import Theft, TheftFacts, problems_of, theft_facts, without
from tests.rehearsal.notes import NEW, OLD, Notes

THIEF = "10.0.0.66"
UNTIL = 40.0
ENROLLMENT, TWIN = "/enrollments/meter-01", "/twins/meter-01"
THEFT = Theft(
    registration_id="meter-01",
    mode="remove",
    stolen=OLD,
    address=THIEF,
    began=5.0,
    queued_messages=3,
    previewed_messages=3,
    confirmed=10.0,
    incident="incident-1",
    contained=20.0,
    replacement=NEW,
    twin_restored=True,
)


def a_good_run() -> Notes:
    """The thief is in at 6 s, the call comes at 10 s, contained at 20 s, the device back at 25 s."""
    notes = Notes()
    notes.on(1.0, 1, OLD)
    notes.registered(5.5, OLD, address=THIEF)
    notes.off(6.0, 1, "replaced")
    notes.on(6.0, 2, OLD, address=THIEF)
    notes.off(7.0, 2, "replaced", address=THIEF)
    notes.on(7.0, 3, OLD)
    notes.off(8.0, 3, "replaced")
    notes.on(8.0, 4, OLD, address=THIEF)
    notes.written(10.1, "dps", ENROLLMENT)
    notes.off(11.0, 4, "the device identity was disabled", address=THIEF)
    for wall in (12.0, 22.0, 27.0):
        notes.registered(wall, OLD, status="disabled", address=THIEF)
        notes.refused(wall + 0.5, address=THIEF)
    notes.refused(13.0)
    notes.registered(24.0, NEW)
    notes.on(25.0, 5, NEW)
    notes.written(26.0, "iothub", TWIN)
    return notes


def facts(notes: Notes, theft: Theft = THEFT) -> TheftFacts:
    return theft_facts(notes.entries, theft, UNTIL)


def test_the_times_count_from_the_confirmation() -> None:
    found = facts(a_good_run())
    assert found.door_shut_s == pytest.approx(0.1)
    assert found.evicted_s == pytest.approx(1.0)
    assert found.verified_s == pytest.approx(10.0)
    assert found.recovered_s == pytest.approx(16.0), "back at 25 s, its twin at 26 s"


def test_the_thief_and_the_device_are_told_apart_by_their_address() -> None:
    found = facts(a_good_run())
    assert (found.refused_by("dps"), found.refused_by("iothub"), found.accepted_after) == (3, 3, 0)
    assert [one.began for one in found.thief.sessions] == [6.0, 8.0]
    assert [one.wall for one in found.device.refusals] == [13.0]
    assert [one.wall for one in found.device.registrations] == [24.0]
    assert found.device.thumbprints == (OLD, NEW)


def test_the_breach_costs_the_device_the_time_from_its_last_session_to_its_return() -> None:
    assert facts(a_good_run()).device.longest_gap_s == pytest.approx(17.0)


def test_what_the_device_did_before_the_theft_is_not_of_the_breach() -> None:
    notes = a_good_run()
    notes.refused(2.0)
    notes.registered(3.0, OLD)
    found = facts(notes)
    assert [one.wall for one in found.device.refusals] == [13.0]
    assert [one.wall for one in found.device.registrations] == [24.0]


def test_refusals_from_before_the_call_do_not_count() -> None:
    notes = a_good_run()
    notes.refused(9.0, address=THIEF)
    assert facts(notes).refused_by("iothub") == 3


def test_without_the_thief_the_device_has_no_refusal_of_his() -> None:
    notes = a_good_run()
    assert len([one for one in without(notes.entries, [THIEF]) if one["kind"] == "connect"]) == 4


def test_only_the_apps_own_good_writes_shut_the_door() -> None:
    notes = Notes()
    notes.written(10.1, "dps", ENROLLMENT, principal="operator")
    notes.written(10.2, "dps", ENROLLMENT, status=412)
    notes.written(10.3, "dps", "/enrollments/meter-011")
    notes.written(10.4, "dps", "/enrollments/METER-01")
    assert facts(notes).door_shut_s == pytest.approx(0.4)


def test_evicted_is_the_end_of_the_last_session_whoevers_it_was() -> None:
    """Before the breach is contained only the address tells the two apart: the certificate must be out."""
    notes = a_good_run()
    notes.on(11.0, 8, OLD)
    notes.off(12.5, 8)
    assert facts(notes).evicted_s == pytest.approx(2.5)


def test_a_good_run_has_no_problem() -> None:
    assert problems_of(facts(a_good_run())) == []


def test_where_the_hub_accepts_until_the_device_is_back_the_thief_is_refused_after_that() -> None:
    """Mode reprovision: contained comes last."""
    theft = replace(THEFT, mode="reprovision", contained=26.5)
    assert problems_of(facts(a_good_run(), theft)) == []


def let_in_by_hub() -> tuple[Notes, Theft]:
    notes = a_good_run()
    notes.on(21.0, 9, OLD, address=THIEF)
    notes.off(21.5, 9, address=THIEF)
    return notes, THEFT


def let_in_by_dps() -> tuple[Notes, Theft]:
    notes = a_good_run()
    notes.registered(21.0, OLD, address=THIEF)
    return notes, THEFT


def lives_on() -> tuple[Notes, Theft]:
    notes = a_good_run()
    notes.on(10.5, 9, OLD, address=THIEF)
    return notes, THEFT


def said_too_early() -> tuple[Notes, Theft]:
    return a_good_run(), replace(THEFT, contained=10.5)


def never_in() -> tuple[Notes, Theft]:
    notes = a_good_run()
    notes.entries = [one for one in notes.entries if one.get("address") != THIEF or one["kind"] == "registration"]
    return notes, THEFT


def not_tried_after() -> tuple[Notes, Theft]:
    notes = a_good_run()
    notes.entries = [one for one in notes.entries if one["wall"] < 27.0]
    return notes, THEFT


def not_tried_meanwhile() -> tuple[Notes, Theft]:
    notes = a_good_run()
    notes.entries = [one for one in notes.entries if not 22.0 <= one["wall"] < 23.0]
    return notes, THEFT


def never_back() -> tuple[Notes, Theft]:
    notes = a_good_run()
    notes.entries = [one for one in notes.entries if one.get("sha256") != NEW]
    return notes, THEFT


def spoilt(**changes: Any) -> tuple[Notes, Theft]:
    return a_good_run(), replace(THEFT, **changes)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (let_in_by_hub(), "let in after the app had said contained"),
        (let_in_by_dps(), "let in after the app had said contained"),
        (lives_on(), "a session with the stolen certificate lives on"),
        (said_too_early(), "said contained while a session with the stolen certificate lived"),
        (never_in(), "the thief never had a session"),
        (not_tried_after(), "not seen refused by DPS before, during and after"),
        (not_tried_after(), "not seen refused by the hub before, during and after"),
        (not_tried_meanwhile(), "not seen refused by DPS before, during and after"),
        (never_back(), "did not come back on another certificate"),
        (spoilt(contained=None), "does not say that it is contained"),
        (spoilt(confirmed=None), "nobody confirmed the breach"),
        (spoilt(twin_restored=False), "are not what they were"),
        (spoilt(previewed_messages=0), "did not count the messages"),
        (spoilt(replacement="D" * 64), "not on the vault's latest certificate"),
        (spoilt(still_exposed=["group g1: it admits it"]), "still exposed at the end: group g1"),
    ],
)
def test_a_run_fails_and_names_device_and_reason(run: tuple[Notes, Theft], said: str) -> None:
    problems = problems_of(facts(*run))
    assert any(said in one for one in problems)
    assert all(one.startswith("meter-01: ") for one in problems)


def report_of(*thefts: TheftFacts) -> dict[str, Any]:
    played = Played("breach", "Stolen keys", "It shows this. It does not show that.", 0, 0.0, UNTIL)
    notes = Notes()
    notes.on(1.0, 1, OLD)
    found = Found({"meter-01": OLD}, {}, {"meter-01": ["primary"]})
    return make_report(played, {"meter-01": "vault"}, [notes.facts()], found, thefts)


def test_the_report_has_the_figures_and_no_refusal_of_the_thief_is_the_devices() -> None:
    report = report_of(facts(a_good_run()))
    breach = report["breach"]
    expected = {
        "mode": "remove",
        "incident": "incident-1",
        "door_shut_s": 0.1,
        "evicted_s": 1.0,
        "verified_s": 10.0,
        "recovered_s": 16.0,
        "twin_restored": True,
        "queued_messages_previewed": 3,
        "still_exposed_at_end": [],
    }
    assert {name: breach[name] for name in expected} == expected
    thief = {name: breach["thief"][name] for name in ("dps_refused", "hub_refused", "accepted_after")}
    assert thief == {"dps_refused": 3, "hub_refused": 3, "accepted_after": 0}
    assert (report["summary"]["refused_connects"], report["problems"]) == (0, [])
    assert report["summary"]["verdict"] == (
        "PASSED: 1 of 1 stolen key contained, the thief refused 6 times and let in 0 times after, 1 of 1 devices back,"
        " in 40 s"
    )


def test_several_modes_each_have_their_figures_and_the_first_stands_for_all() -> None:
    one = facts(a_good_run())
    report = report_of(one, replace(one, theft=replace(THEFT, mode="disable")))
    assert list(report["breach"]["modes"]) == ["remove", "disable"]
    assert report["breach"]["mode"] == "remove"
    assert [breach["mode"] for breach in breaches_of(report)] == ["remove", "disable"]


def test_what_is_wrong_with_a_breach_fails_the_whole_rehearsal() -> None:
    report = report_of(facts(*let_in_by_hub()))
    assert not report["summary"]["passed"]
    assert report["summary"]["keys_contained"] == 0


def test_the_page_has_a_lane_and_a_line_for_the_thief() -> None:
    report = report_of(facts(a_good_run()))
    page = page_of(report)
    assert "thief of meter-01" in page
    assert "3 DPS, 3 hub" in page
    assert "refused 3 times by DPS and 3 times by the hub" in page


def test_a_breach_that_was_never_confirmed_still_gives_a_page() -> None:
    theft = replace(THEFT, confirmed=None, contained=None, incident=None, replacement=None, twin_restored=False)
    assert "What went wrong" in page_of(report_of(facts(never_in()[0], theft)))


@pytest.mark.parametrize("name", MODULES)
def test_a_scenario_goes_by_the_name_it_is_listed_with(name: str) -> None:
    assert load(name).name == name
