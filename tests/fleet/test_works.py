"""Which works there are, and that the timer finds each that is open."""

import logging
from datetime import timedelta

from shared.fleet import Work
from shared.fleet_resuming import resume_works
from shared.fleet_work import FIRST, TURNS
from shared.ledger import Write
from tests.fleet.kit import a_fleet


def test_every_work_has_turns_and_a_line_to_wait_in() -> None:
    assert set(TURNS) == set(FIRST) == set(Work)


def test_a_row_that_a_later_release_or_a_person_wrote_keeps_no_other_work_from_being_looked_at(caplog) -> None:
    fleet = a_fleet(3)
    fleet.begin()
    table, nudges = fleet.world.fleets, []
    [(key, (row, _))] = [one for one in table.rows.items() if one[0][0] == "open"]
    table.commit([Write({**row, "RowKey": "0-of-a-later-release", "work": "polish"})])
    table.commit([Write({**row, "RowKey": "1-of-a-person", "rollover_id": "group.pumps.1", "work": "check"})])
    table.commit([Write({"PartitionKey": "group.pumps", "RowKey": "fleet.000001.check.000", "facts": "{}"})])
    fleet.world.nudges.send = lambda step, about, *_, **__: nudges.append(about)  # type: ignore[method-assign]
    fleet.world.clock.advance(timedelta(minutes=5))
    with caplog.at_level(logging.WARNING):
        resume_works(fleet.world.services)
    assert nudges == ["group.pumps.1/evict"], key
    assert [one.message.split(" ")[0] for one in caplog.records] == ["row_unreadable", "row_unreadable"]
