"""What a rehearsal with lost or noisy events says: from journal entries to facts, verdict and page."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from local.rehearse.mishaps import Mishap, MishapFacts, Roll, mishap_facts
from local.rehearse.report import Played, make_report, page_of
from local.rehearse.scenario import Found
from local.rehearse.screen import show_report
from tests.rehearsal.notes import NEW, OLD, UNTIL, Notes

NAME = "Meter-01"
END = datetime.fromtimestamp(20.0, UTC)
PLAYED = Played("noisy-events", "Noise", "It shows this. It does not show that.", 1, 0.0, UNTIL)
DONE = Roll(NAME, OLD, "done", "event CertificateNearExpiry of 1 (renewed)")
SWEPT = Roll(NAME, OLD, "done", "sweep (renewed)")


def a_journal(moved_at: float = 10.0) -> Notes:
    notes = Notes()
    notes.on(1.0, 1, OLD, device=NAME)
    notes.off(moved_at, 1, "replaced", device=NAME)
    notes.on(moved_at, 2, NEW, device=NAME)
    return notes


def noisy(moved_at: float = 10.0, arrived: str = "aabab") -> MishapFacts:
    """Two events, each asked for twice; a letter of ``arrived`` is a delivery."""
    notes = a_journal(moved_at)
    notes.event(2.0, "a")
    notes.event(3.0, "b")
    for number, one in enumerate(arrived):
        notes.delivered(4.0 + number / 10, one)
    return facts_of(notes, Mishap(copies=2, reorder_s=1.0, ends={OLD: END}, rolls=[DONE]))


def lost(*outcomes: str, rolls: tuple[Roll, ...] = (SWEPT,)) -> MishapFacts:
    notes = a_journal()
    for number, outcome in enumerate(outcomes):
        notes.event(2.0, f"event-{number}", outcome)
    return facts_of(notes, Mishap(drop=True, ends={OLD: END}, rolls=list(rolls)))


def rolled(*rolls: Roll) -> MishapFacts:
    facts = noisy()
    facts.mishap.rolls = list(rolls)
    return facts


def without_an_end() -> MishapFacts:
    notes = a_journal()
    notes.event(2.0, "a", "dropped")
    return facts_of(notes, Mishap(drop=True, rolls=[SWEPT]))


def facts_of(notes: Notes, mishap: Mishap) -> MishapFacts:
    return mishap_facts(notes.entries, mishap)


def report_of(facts: MishapFacts) -> dict[str, Any]:
    notes = a_journal()
    found = Found({NAME: NEW}, {NAME: 1}, {NAME: ["primary", "secondary"]})
    return make_report(PLAYED, {NAME: "vault"}, [notes.facts(NAME)], found, mishap=facts)


def test_a_delivery_after_one_of_a_later_event_is_out_of_order() -> None:
    facts = noisy(arrived="aabab")
    assert (facts.sent, facts.delivered, dict(facts.deliveries)) == (2, 5, {"a": 3, "b": 2})
    assert facts.out_of_order == 1


def test_deliveries_in_the_order_of_the_events_are_none() -> None:
    assert noisy(arrived="aabb").out_of_order == 0


def test_an_attempt_that_failed_is_no_delivery() -> None:
    notes = a_journal()
    notes.event(2.0, "a")
    notes.delivered(3.0, "a", "Http500")
    assert facts_of(notes, Mishap()).delivered == 0


def test_events_that_were_dropped_are_counted_as_such() -> None:
    facts = lost("dropped", "dropped")
    assert (facts.sent, facts.dropped, facts.delivered) == (2, 2, 0)


@pytest.mark.parametrize("facts", [noisy(), lost("dropped", "dropped")])
def test_a_good_run_passes_and_says_so_in_numbers(facts: MishapFacts) -> None:
    report = report_of(facts)
    assert report["problems"] == []
    assert report["summary"]["verdict"].startswith("PASSED: 1 of 1 devices rolled once")
    assert "1 of 1 certificates rolled exactly once" in report["summary"]["verdict"]
    assert report["events"]["rolled_once"] == report["events"]["certificates"] == 1


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lost, "events: the vault sent none"),
        (lambda: lost("dropped", "published"), "events: 1 of 2 were not dropped"),
        (lambda: lost("dropped", rolls=(DONE,)), "events: 1 rollovers were begun by something else than the sweep"),
        (lambda: noisy(arrived="aba"), "events: 1 of 2 were delivered fewer than 2 times"),
        (lambda: noisy(arrived="aabb"), "events: all came in order"),
        (rolled, f"{NAME}: 0 rollovers of certificate AAAAAAAA, not one"),
        (lambda: rolled(DONE, SWEPT), f"{NAME}: 2 rollovers of certificate AAAAAAAA, not one"),
        (
            lambda: rolled(DONE, Roll(NAME, NEW, "done", "sweep")),
            "a rollover of certificate BBBBBBBB, which the device",
        ),
        (lambda: rolled(Roll(NAME, OLD, "refused", "sweep")), "its rollover of certificate AAAAAAAA is refused"),
        (lambda: noisy(moved_at=21.5), f"{NAME}: it left certificate AAAAAAAA 0:00:01.500000 after its end"),
        (without_an_end, f"{NAME}: nobody knows when certificate AAAAAAAA ends"),
    ],
)
def test_a_run_fails_and_says_why(spoilt: Callable[[], MishapFacts], said: str) -> None:
    report = report_of(spoilt())
    assert report["summary"]["verdict"].startswith("FAILED")
    assert any(said in problem for problem in report["problems"]), report["problems"]


def test_the_page_tells_what_became_of_the_events() -> None:
    page = page_of(report_of(noisy()))
    assert "Each event was delivered 2 times on request" in page
    assert "Every event was dropped on request" in page_of(report_of(lost("dropped")))


def test_the_closing_table_fits_a_terminal_of_eighty_columns() -> None:
    console = Console(width=80, color_system=None, highlight=False)
    with console.capture() as shown:
        show_report(console, report_of(noisy()), [])
    lines = shown.get().splitlines()
    [head] = [number for number, line in enumerate(lines) if line.startswith("events")]
    assert lines[head].rstrip().endswith("rolled once  begun by")
    assert lines[head + 1].split() == ["2", "0", "5", "1", "1", "of", "1", "event:", "1"]
