"""What a rehearsal says about a fleet: from journal entries to facts, verdict, page and exit."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from local.__main__ import app
from local.rehearse.report import Played, gap_text, make_report, page_of, write_report
from local.rehearse.scenario import MODULES, Found, Phase
from tests.rehearsal.notes import NEW, NEWEST, OLD, UNTIL, Notes

PLAYED = Played("expiry", "Certificates near expiry", "It shows this. It does not show that.", 2, 0.0, UNTIL)


def a_good_run() -> Notes:
    notes = Notes()
    for session, (wall, sha256) in enumerate(((1.0, OLD), (10.0, NEW), (20.0, NEWEST)), 1):
        notes.registered(wall - 0.5, sha256)
        if session > 1:
            notes.off(wall, session - 1, "replaced")
        notes.on(wall, session, sha256)
    return notes


def found_in_a_good_run() -> Found:
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    slots = ["primary", "secondary", "primary"]
    phases = [
        Phase("set-up", 0.0, 5.0, noon),
        Phase("1st rollover", 5.0, 15.0, noon),
        Phase("1st expiry", 15, 30, noon),
    ]
    return Found({"meter-01": NEWEST}, {"meter-01": 2}, {"meter-01": slots}, [], phases)


def report_of(notes: Notes, found: Found | None = None) -> dict[str, Any]:
    return make_report(PLAYED, {"meter-01": "vault"}, [notes.facts()], found or found_in_a_good_run())


def test_the_gap_is_the_time_from_a_sessions_end_to_the_next_accepted_one() -> None:
    notes = Notes()
    notes.on(1.0, 1, OLD)
    notes.off(5.0, 1)
    notes.refused(6.0)
    notes.on(8.5, 2, OLD)
    assert notes.facts().longest_gap_s == pytest.approx(3.5)


def test_there_is_no_gap_where_the_next_session_began_before_the_last_one_ended() -> None:
    notes = Notes()
    notes.on(1.0, 1, OLD)
    notes.on(5.0, 2, NEW)
    notes.off(5.1, 1)
    assert notes.facts().longest_gap_s == 0


def test_a_device_that_never_came_back_has_a_gap_up_to_the_end() -> None:
    notes = Notes()
    notes.on(1.0, 1, OLD)
    notes.off(5.0, 1)
    assert notes.facts().longest_gap_s == pytest.approx(UNTIL - 5.0)


def test_time_before_the_first_session_is_no_gap() -> None:
    notes = Notes()
    notes.on(20.0, 1, OLD)
    assert notes.facts().longest_gap_s == 0


def test_a_short_session_inside_a_longer_one_hides_no_gap() -> None:
    notes = Notes()
    notes.on(1.0, 1, OLD)
    notes.on(2.0, 2, OLD)
    notes.off(3.0, 2)
    notes.off(10.0, 1)
    notes.on(12.0, 3, OLD)
    assert notes.facts().longest_gap_s == pytest.approx(2.0)


times = st.floats(0, UNTIL, allow_nan=False)


@given(st.lists(st.tuples(times, times), min_size=1, max_size=6))
def test_the_gap_is_as_long_as_the_longest_stretch_that_no_session_covers(pairs: list[tuple[float, float]]) -> None:
    spans = [(min(pair), max(pair)) for pair in pairs]
    notes = Notes()
    for session, (began, ended) in enumerate(spans):
        notes.on(began, session, OLD)
        notes.off(ended, session)
    edges = sorted({UNTIL, *(edge for span in spans for edge in span)})
    longest = stretch = 0.0
    for left, right in pairwise(edges):
        if any(began <= left <= ended for began, ended in spans):
            stretch = 0.0
        if not any(began <= left and right <= ended for began, ended in spans):
            stretch += right - left
        longest = max(longest, stretch)
    assert notes.facts().longest_gap_s == pytest.approx(longest)


def test_what_hub_and_dps_turned_away_counts_as_refused() -> None:
    notes = a_good_run()
    notes.refused(11.0)
    notes.refused(12.0, "dps")
    notes.registered(13.0, OLD, status="disabled")
    notes.register_answered(14.0, 401)
    assert [refusal.wall for refusal in notes.facts().refusals] == [11.0, 12.0, 13.0, 14.0]


def test_what_is_no_word_about_the_certificate_is_not_counted_as_refused() -> None:
    notes = a_good_run()
    notes.register_answered(3.0, 202)
    notes.register_answered(3.0, 429)
    notes.register_answered(3.0, 404, method="GET", principal="meter-01")
    notes.register_answered(3.0, 401, principal="meter-02")
    assert notes.facts().refusals == ()


def test_thumbprints_are_told_in_order_without_repeats() -> None:
    notes = Notes()
    for session, sha256 in enumerate((OLD, OLD, NEW, OLD)):
        notes.on(float(session), session, sha256)
    assert notes.facts().thumbprints == (OLD, NEW, OLD)


def test_entries_of_other_devices_are_left_out() -> None:
    notes = a_good_run()
    notes.on(2.0, 77, NEWEST, device="meter-02")
    assert len(notes.facts().sessions) == 3


def test_a_good_run_passes_and_says_so_in_numbers() -> None:
    report = report_of(a_good_run())
    assert report["problems"] == []
    expected = {"devices": 1, "rolled_twice": 1, "refused_connects": 0, "gaps_over_2s": 0, "passed": True}
    assert {name: report["summary"][name] for name in expected} == expected
    device = report["devices"][0]
    assert device["registration_id"] == "meter-01"
    assert (device["rollovers"], device["refused_connects"], device["registrations"]) == (2, 0, 3)
    assert device["thumbprints"] == [OLD, NEW, NEWEST]


def refused_once() -> tuple[Notes, Found]:
    notes = a_good_run()
    notes.refused(11.0)
    return notes, found_in_a_good_run()


def gap_too_long() -> tuple[Notes, Found]:
    notes = a_good_run()
    notes.off(25.0, 3)
    notes.on(27.1, 4, NEWEST)
    return notes, found_in_a_good_run()


def not_on_the_newest() -> tuple[Notes, Found]:
    found = found_in_a_good_run()
    found.newest = {"meter-01": "D" * 64}
    return a_good_run(), found


def rolled_once_only() -> tuple[Notes, Found]:
    found = found_in_a_good_run()
    found.rollovers = {"meter-01": 1}
    return a_good_run(), found


def swapped_more_often_than_rolled() -> tuple[Notes, Found]:
    notes = a_good_run()
    notes.on(28.0, 4, NEW)
    notes.on(29.0, 5, NEWEST)
    return notes, found_in_a_good_run()


def never_on() -> tuple[Notes, Found]:
    return Notes(), found_in_a_good_run()


def scenario_noticed() -> tuple[Notes, Found]:
    found = found_in_a_good_run()
    found.problems.append("meter-01: DPS still holds the certificate that was retired")
    return a_good_run(), found


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (refused_once, "iothub refused it at 11.0 s: 401003"),
        (gap_too_long, "without a session for 2.1 s"),
        (not_on_the_newest, "did not end on the newest"),
        (rolled_once_only, "the app reports 1, not 2"),
        (swapped_more_often_than_rolled, "it rolled 4 times"),
        (never_on, "never had a session"),
        (scenario_noticed, "DPS still holds"),
    ],
)
def test_a_run_fails_and_names_device_and_reason(spoilt: Any, said: str) -> None:
    report = report_of(*spoilt())
    assert not report["summary"]["passed"]
    assert report["summary"]["verdict"].startswith("FAILED")
    assert any(said in problem and problem.startswith("meter-01: ") for problem in report["problems"])


class Page(HTMLParser):
    """What an HTML page would load, and the text on it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href") and not (value or "").startswith("#")
        ]
        self.loads += [
            value or "" for name, value in attrs if name == "xlink:href" and not (value or "").startswith("#")
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_but_itself_and_describes_its_picture() -> None:
    page = page_of(report_of(a_good_run()))
    read = Page(page)
    assert read.loads == []
    assert "<script" not in page
    assert "@import" not in page
    named = re.search(r'<svg [^>]*role="img"[^>]*aria-labelledby="([^"]+)"|<svg [^>]*aria-labelledby="([^"]+)"', page)
    assert named
    assert f'id="{named[1] or named[2]}">Timeline of 1 devices over 30 seconds' in page
    assert "PASSED: 1 of 1 devices rolled twice" in read.text


def test_the_picture_is_drawn_in_the_pages_own_ink_and_without_a_paper() -> None:
    page = page_of(report_of(a_good_run()))
    assert "currentColor" in page
    assert "#010203" not in page
    assert "fill: #ffffff" not in page


def test_the_page_of_a_failed_run_shows_what_went_wrong_and_escapes_it() -> None:
    found = found_in_a_good_run()
    found.problems.append("meter-01: <script>alert(1)</script>")
    page = page_of(report_of(never_on()[0], found))
    assert "What went wrong" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_report_json_can_be_read_back_even_when_a_device_was_never_on(tmp_path: Path) -> None:
    data, page = write_report(report_of(*never_on()), tmp_path)
    read = json.loads(data.read_text(), parse_constant=pytest.fail)
    assert read["devices"][0]["longest_gap_s"] is None
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "never on"), (0.0002, "under 1 ms"), (0.25, "250 ms"), (2.13, "2.1 s")]
)
def test_a_gap_reads_well(seconds: float | None, text: str) -> None:
    assert gap_text(seconds) == text


def test_an_unknown_scenario_is_refused_in_one_line_that_lists_those_there_are() -> None:
    result = CliRunner().invoke(app, ["rehearse", "doomsday"])
    assert result.exit_code == 2
    assert result.stderr == f"rehearse: there is no scenario 'doomsday'; there are: {', '.join(MODULES)}\n"
