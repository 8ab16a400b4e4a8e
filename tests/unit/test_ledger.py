"""The ledger over an in-memory table: numbers, conflicts, history, what is due, what could not be used."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.enrollment import Removed, Twin
from shared.errors import BadInput, Conflict, NotFound
from shared.ledger import Ledger, split_id
from shared.plans import Step
from shared.rollover import Outcome, Rollover, individual_partition
from shared.rows import History
from shared.transitions import reopened
from tests.builders import DEVICE, a_rollover, begin_next
from tests.certificates import NOW
from tests.fakes import InMemoryTable

RECORD = History(NOW, "test", "started", "for a test")
LATER = NOW + timedelta(hours=1)


def a_ledger() -> Ledger:
    return Ledger(InMemoryTable())


def started(ledger: Ledger, **changes: Any) -> Rollover:
    """Begin a rollover after the last one of its target."""
    rollover = a_rollover(id="", **changes)
    return begin_next(ledger, rollover, RECORD)


def test_a_rollover_gets_its_id_from_its_target_and_number():
    ledger = a_ledger()
    assert [started(ledger).id for _ in range(3)] == [f"individual.{DEVICE}.{n}" for n in (1, 2, 3)]
    assert started(ledger, registration_id="dev-02").id == "individual.dev-02.1"


def test_a_rollover_is_read_as_it_was_written():
    ledger = a_ledger()
    begun = started(ledger)
    assert ledger.read(begun.id) == begun == ledger.last(DEVICE)


def test_targets_ignore_case_as_registration_ids_do():
    ledger = a_ledger()
    begun = started(ledger, registration_id="Dev-01")
    assert begun.id == "individual.dev-01.1"
    assert ledger.last("DEV-01") == begun
    assert list(ledger.rollovers("dEv-01")) == [begun]


def test_beginning_twice_from_the_same_sight_begins_once():
    """Five copies of an event arrive at once: one rollover, four conflicts."""
    ledger = a_ledger()
    last = ledger.last(DEVICE)
    begun = ledger.begin(a_rollover(id=""), last, RECORD)
    for _ in range(4):
        with pytest.raises(Conflict):
            ledger.begin(a_rollover(id=""), last, RECORD)
    assert list(ledger.rollovers()) == [begun]
    assert [record.what for record in ledger.history(begun)] == ["started"]


def test_beginning_from_an_old_sight_of_the_last_rollover_is_a_conflict():
    ledger = a_ledger()
    first = started(ledger)
    started(ledger)
    with pytest.raises(Conflict):
        ledger.begin(a_rollover(id=""), first, RECORD)


def test_two_that_begin_at_the_very_same_moment_are_told_apart_by_the_table():
    """The second reads that there is none before the first commits, and commits after it."""

    class Overtaken(InMemoryTable):
        rival: Rollover | None = None

        def commit(self, writes):
            if self.rival is None:
                self.rival = a_rollover(id="")
                Ledger(self).begin(self.rival, None, RECORD)
            return super().commit(writes)

    ledger = Ledger(Overtaken())
    with pytest.raises(Conflict):
        ledger.begin(a_rollover(id=""), None, RECORD)
    assert [rollover.id for rollover in ledger.rollovers()] == [f"individual.{DEVICE}.1"]


def test_a_rollover_that_was_changed_since_it_was_read_is_not_overwritten():
    ledger = a_ledger()
    begun = started(ledger)
    ledger.record(replace(begun, acts=1), None)
    with pytest.raises(Conflict):
        ledger.record(replace(begun, acts=2), RECORD)
    assert ledger.read(begun.id).acts == 1
    assert len(ledger.history(begun)) == 1, "the record was not written either"


def test_a_record_and_the_rollover_are_written_together_and_numbered():
    ledger = a_ledger()
    rollover = started(ledger)
    for number in range(2, 13):
        rollover = ledger.record(rollover, replace(RECORD, what=f"record {number}", step=Step.UPLOAD_SECONDARY))
        assert rollover.records == number
    history = ledger.history(rollover)
    assert [record.seq for record in history] == list(range(1, 13))
    assert [record.what for record in history][1:] == [f"record {n}" for n in range(2, 13)]


def test_the_history_of_one_rollover_is_its_own():
    ledger = a_ledger()
    first, second = started(ledger), started(ledger)
    ledger.record(second, replace(RECORD, what="second's"))
    assert [record.what for record in ledger.history(first)] == ["started"]
    assert [record.what for record in ledger.history(second)] == ["started", "second's"]


def test_a_rollover_may_be_written_without_a_record():
    ledger = a_ledger()
    begun = started(ledger)
    assert ledger.record(replace(begun, outbox=()), None).records == begun.records


DUE: dict[str, tuple[dict[str, Any], bool]] = {
    "it is open and its time has come": ({"due_at": NOW}, True),
    "it is open and its time is past": ({"due_at": NOW - timedelta(days=2)}, True),
    "it is open and its time is to come": ({"due_at": LATER}, False),
    "it ended": ({"due_at": None, "outcome": Outcome.DONE}, False),
    "it ended and an event is unpublished": (
        {"due_at": None, "outcome": Outcome.DONE, "outbox": ("Rollover.Completed/9",)},
        True,
    ),
    "its time is to come and an event is unpublished": ({"due_at": LATER, "outbox": ("Rollover.Started/1",)}, True),
}


@pytest.mark.parametrize(("facts", "due"), DUE.values(), ids=DUE.keys())
def test_the_timer_sees_a_rollover_or_not_when(facts, due):
    ledger = a_ledger()
    started(ledger, **facts)
    assert len(list(ledger.due(NOW))) == due


def test_an_input_that_cannot_be_used_is_counted_not_repeated():
    ledger = a_ledger()
    for minute in range(3):
        ledger.note_refused("event", "subject", "reason", NOW + timedelta(minutes=minute))
    ledger.note_refused("event", "subject", "another reason", LATER)
    latest, counted = ledger.refused_inputs()
    assert latest.reason == "another reason"
    assert (counted.count, counted.first_seen, counted.last_seen) == (3, NOW, NOW + timedelta(minutes=2))
    assert ledger.refused_input("event", "subject", "reason") == counted
    assert ledger.refused_input("event", "subject", "a reason that never was") is None


def test_whether_the_topic_was_told_is_remembered_with_a_refused_input():
    ledger = a_ledger()
    ledger.note_refused("certificate", "c", "r", NOW)
    assert ledger.refused_inputs()[0].announced is False
    ledger.note_refused("certificate", "c", "r", NOW, announced=True)
    assert ledger.refused_inputs()[0].announced is True


def test_noting_an_input_at_the_same_moment_as_somebody_else_is_as_good():
    class Taken(InMemoryTable):
        def commit(self, writes):
            raise Conflict("somebody was first")

    Ledger(Taken()).note_refused("event", "s", "r", NOW)


def test_refused_inputs_are_no_rollovers():
    ledger = a_ledger()
    ledger.note_refused("event", "rollover.000001", "r", NOW)
    assert list(ledger.rollovers()) == []
    assert list(ledger.due(NOW)) == []


# --- IDs --------------------------------------------------------------------------------------------------------

IDS = {
    "individual.dev-01.1": ("individual.dev-01", 1),
    "individual.a.b.c.12": ("individual.a.b.c", 12),
    "individual.1.2": ("individual.1", 2),
    "individual.site:plant_7-x.3": ("individual.site:plant_7-x", 3),
    f"individual.{'x' * 128}.999999999": (f"individual.{'x' * 128}", 999_999_999),
}


@pytest.mark.parametrize(("rollover_id", "parts"), IDS.items())
def test_an_id_is_taken_apart(rollover_id, parts):
    assert split_id(rollover_id) == parts


NO_IDS = {
    "nothing": "",
    "a word": "rollover",
    "no number": "individual.dev-01.",
    "no target": "individual..1",
    "no target at all": "individual.1",
    "another kind": "refused-input.x.1",
    "a number that is a word": "individual.dev-01.one",
    "a negative number": "individual.dev-01.-1",
    "digits of another script": "individual.dev-01.٣",
    "a number that is endless": "individual.dev-01." + "1" * 10,
    "a target that is endless": f"individual.{'x' * 129}.1",
    "a slash": "individual.dev/01.1",
    "a backslash": "individual.dev\\01.1",
    "a question mark": "individual.dev?.1",
    "a hash": "individual.dev#.1",
    "a quote": "individual.dev'.1",
    "a line break": "individual.dev\n.1",
    "a zero byte": "individual.dev\0.1",
    "a control character of Latin-1": "individual.dev\x85.1",
    "half of a surrogate pair": "individual.dev\ud800.1",
}


@pytest.mark.parametrize("rollover_id", NO_IDS.values(), ids=NO_IDS.keys())
def test_is_no_id(rollover_id):
    """Keys hold no / \\ # ? and no control character (azure-docs: Table service data model); registration IDs hold
    letters, digits and - . _ : only (azure-docs concepts-service)."""
    with pytest.raises(BadInput, match="not a rollover ID"):
        split_id(rollover_id)


def test_an_id_of_nothing_is_not_found():
    with pytest.raises(NotFound, match=r"individual\.dev-01\.7"):
        a_ledger().read("individual.dev-01.7")


def test_a_partition_can_be_read_back_from_any_id():
    assert split_id(f"{individual_partition('A.9')}.2") == ("individual.a.9", 2)


def test_the_last_rollover_cannot_be_opened_again_at_the_moment_at_which_the_next_begins():
    """One open rollover of a target: whoever is second meets a conflict, in either order."""
    ledger = a_ledger()
    ended = ledger.record(replace(started(ledger), outcome=Outcome.NEEDS_PERSON, due_at=None), RECORD)
    ledger.begin(a_rollover(id=""), ended, RECORD)
    with pytest.raises(Conflict):
        ledger.record(reopened(ended, NOW), RECORD)
    ended = ledger.record(replace(started(ledger, registration_id="dev-02"), outcome=Outcome.REFUSED), RECORD)
    ledger.record(reopened(ended, NOW), RECORD)
    with pytest.raises(Conflict):
        ledger.begin(a_rollover(id="", registration_id="dev-02"), ended, RECORD)


def test_an_open_rollover_ends_in_the_transaction_in_which_another_takes_its_place():
    ledger = a_ledger()
    first = started(ledger)
    second = ledger.begin(a_rollover(id=""), first, RECORD, preempting=replace(RECORD, what="preempted"))
    first = ledger.read(first.id)
    assert (first.status, first.outcome_reason) == ("preempted", f"{second.id} took its place")
    assert [record.what for record in ledger.history(first)] == ["started", "preempted"]
    with pytest.raises(Conflict):
        ledger.begin(a_rollover(id=""), second, RECORD)


def test_a_removed_identity_is_kept_with_a_twin_of_any_size():
    """A text column holds 32,768 characters; tags and desired properties are 8 and 32 KB at most."""
    ledger = a_ledger()
    begun = started(ledger)
    assert ledger.removed(begun) is None
    twin = Twin("", {"ø" * 10: "x" * 8000}, {"k": "ü" * 33_000, "n": [1, 2.5, None, True]})
    kept = Removed(NOW, "g1", True, twin)
    ledger.keep_removed(begun.id, kept)
    assert ledger.removed(begun) == kept
    ledger.keep_removed(begun.id, replace(kept, connected=False))
    assert ledger.removed(begun) == replace(kept, connected=False)
