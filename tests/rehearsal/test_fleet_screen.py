"""What a person sees of hundreds of devices: counts while it runs, one table at the end."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from local.rehearse.fleet_screen import FleetScreen, show_group
from local.rehearse.group_report import group_section
from tests.rehearsal.test_group_roll import EXPIRING, STOLEN, evicted, facts, moved

FLEET = [f"meter-{n:03}" for n in range(1, 101)]


def console() -> Console:
    return Console(file=io.StringIO(), width=140, force_terminal=False, record=True)


def shown(screen: FleetScreen) -> str:
    picture = console()
    picture.print(screen._picture())
    return picture.export_text()


def test_devices_are_counted_by_how_many_certificates_they_have_used() -> None:
    screen = FleetScreen(console(), "A fleet", FLEET)
    try:
        assert "nobody connected, of 100" in shown(screen)
        for name in FLEET:
            screen.device(name, "connected", {"sha256": f"old {name}"})
        for name in FLEET[:25]:
            screen.device(name, "connected", {"sha256": f"new {name}"})
        screen.device(FLEET[99], "refused", {"sha256": "old"})
        screen.rollover("meters", "waiting", "delete_primary")
        screen.thief("meter-666", "refused", "dps")
        text = shown(screen)
    finally:
        screen.stop()
    assert "74 on certificate 1, 25 on certificate 2, of 100" in text
    assert "1  REFUSED with" in text
    assert "forger as meter-666: refused by DPS" in text
    assert "the app, meters: waiting: delete_primary" in text


def test_a_phase_that_is_over_stays_in_sight() -> None:
    out = console()
    screen = FleetScreen(out, "A fleet", FLEET)
    screen.phase("set-up", datetime(2026, 11, 25, tzinfo=UTC))
    screen.stop()
    assert "start: stand-in, Azurite and Functions host" in out.export_text()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (facts(moved(), EXPIRING), ["00000000 → 11111111", "all moved", "7.0 s"]),
        (facts(evicted(), STOLEN), ["3 in 2.0 s", "forger as meter-666", "let in after contained: 0 times"]),
    ],
)
def test_the_closing_table_has_the_figures(found: object, said: list[str]) -> None:
    out = console()
    section = group_section(found, 0.0)  # type: ignore[arg-type]
    assert section is not None
    show_group(out, section)
    text = out.export_text()
    assert all(one in text for one in said), text
