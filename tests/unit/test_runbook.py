"""The runbook is found from what wakes somebody, and each of its procedures is run by a test."""

import re
from pathlib import Path

import pytest

from scripts.bicep import read_folder
from shared.events import NOTES, Lifecycle, Urgency, urgency
from tests.rehearsal.runbook import PAGE, SETUP, sections

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "infra" / "modules" / "alerts.bicep"
PROCEDURES = (ROOT / "tests" / "rehearsal" / "test_runbook.py").read_text()
SECTIONS = sections()
WOKEN = SECTIONS["what-woke-you"].text
LINK = re.compile(r"\]\(((?:[\w/.-]*runbook\.md)?#[\w-]+)\)")


def rows() -> list[tuple[str, str]]:
    """What woke somebody, and the anchor of the section to go to."""
    return re.findall(r"^\| (.+?) \| \[.+\]\(#(.+)\) \|$", WOKEN, re.MULTILINE)


@pytest.mark.parametrize("anchor", [anchor for anchor, one in SECTIONS.items() if one.commands and anchor != SETUP])
def test_a_procedure_is_run_by_a_test(anchor: str) -> None:
    """The test runs it to its last block (fixture ``follow``)."""
    assert f'"{anchor}"' in PROCEDURES


def test_every_block_says_whether_it_is_run() -> None:
    languages = {language for one in SECTIONS.values() for language, _ in one.blocks}
    assert languages == {"sh", "az", "kusto"}
    assert sum(len(one.blocks) for one in SECTIONS.values()) * 2 == PAGE.read_text().count("```")


def test_a_block_of_az_runs_nothing_else_and_no_other_block_needs_az() -> None:
    for anchor, one in SECTIONS.items():
        for language, text in one.blocks:
            asks_azure = re.search(r"\b(az|azd) ", text) is not None
            assert asks_azure == (language == "az"), f"{anchor}: {text}"


def test_every_alert_leads_to_its_section() -> None:
    rules = read_folder(ROOT / "infra")[ALERTS].variables["rules"]
    of_alert = {rule["name"]: rule["section"] for rule in rules}
    for name, anchor in re.findall(
        r"'rollover-([a-z-]+)-\$\{token\}'(?:.|\n)*?\$\{runbook\}([a-z-]+)'", ALERTS.read_text()
    ):
        of_alert[name] = anchor
    assert {"undelivered", "unpublished", "keys-read"} < set(of_alert)
    told = {name: anchor for what, anchor in rows() for name in re.findall(r"\*([a-z-]+)\*", what)}
    assert told == of_alert
    assert set(of_alert.values()) <= set(SECTIONS)


def test_every_event_that_somebody_must_act_on_leads_to_its_section() -> None:
    named = {name for what, _ in rows() for name in re.findall(r"`(Rollover\.\w+)`", what)}
    wanted = {kind for kind in (*Lifecycle, *NOTES) if urgency(kind, contains=True) is not Urgency.CHAT}
    assert wanted <= named <= set(Lifecycle)


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")), ids=lambda p: p.name)
def test_a_link_to_a_section_leads_to_one(page: Path) -> None:
    anchors = {
        target.partition("#")[2] for target in LINK.findall(page.read_text()) if page == PAGE or target[0] != "#"
    }
    assert anchors <= set(SECTIONS)
