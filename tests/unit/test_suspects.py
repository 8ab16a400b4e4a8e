"""Whom a breach of a CA may leave alone, and when it may not: the rules, and every order of four moments."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from shared.enrollment import Member, Shown, Twin
from shared.incident import Incident, Mode
from shared.pins import merged
from shared.suspects import CLOCKS, count_since, is_newcomer, is_suspect, scope_of, why_spared

THEFT = datetime(2026, 11, 20, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
BEFORE = THEFT - CLOCKS - timedelta(microseconds=1)
OURS, THIEFS = "A" * 64, "B" * 64


def an_incident(since: datetime | None = THEFT, *, only: bool = True) -> Incident:
    return Incident("i", Mode.REMOVE, "stolen", "oncall", "oid", (), compromised_since=since, suspects_only=only)


def shown(*thumbprints: str, authentication: str = "selfSigned") -> Shown:
    primary, secondary = (*thumbprints, None, None)[:2]
    return Shown("pump-1", True, primary, secondary, "e", authentication, connected=True, twin=Twin("t", {}, {}))


def test_it_is_narrowed_only_when_the_leaf_keys_are_said_to_be_safe():
    scope = scope_of(THEFT, leaf_keys_safe=False, by_authority=[], known_since=THEFT - HOUR)
    assert not scope.only
    assert "leaf_keys_safe" in scope.why


def test_it_is_not_narrowed_while_the_hub_admits_devices_by_a_ca():
    by_ca = [f"pump-{number}" for number in range(5)]
    scope = scope_of(THEFT, leaf_keys_safe=True, by_authority=by_ca, known_since=THEFT - HOUR)
    assert not scope.only
    assert "pump-0, pump-1, pump-2 and 2 more" in scope.why


@pytest.mark.parametrize(
    ("known_since", "said"), [(None, "never looked at"), (THEFT + HOUR, "known from 2026-11-20 04")]
)
def test_it_says_when_too_little_is_known_of_the_time_before(known_since: datetime | None, said: str):
    scope = scope_of(THEFT, leaf_keys_safe=True, by_authority=[], known_since=known_since)
    assert scope.only
    assert said in scope.why


@pytest.mark.parametrize(
    ("updated", "suspect"),
    [(None, True), (BEFORE, False), (BEFORE + CLOCKS, True), (THEFT, True), (THEFT + HOUR, True)],
)
def test_who_registered_since_is_a_suspect_and_so_is_who_has_no_date(updated: datetime | None, suspect: bool):
    assert is_suspect(Member("pump-1", "pump-1", "assigned", updated, None), THEFT) is suspect


@pytest.mark.parametrize(
    ("pinned", "new"),
    [({}, True), ({THIEFS: THEFT}, True), ({OURS: BEFORE}, False), ({OURS: BEFORE, THIEFS: THEFT}, False)],
)
def test_a_name_that_the_hub_was_seen_to_know_before_the_theft_is_no_newcomer(pinned: dict[str, datetime], new: bool):
    assert is_newcomer(pinned, THEFT) is new


def test_registrations_are_counted_since_each_moment():
    at = [Member(str(n), str(n), "assigned", THEFT + n * HOUR, None) for n in range(4)]
    assert count_since(at, [THEFT + HOUR, THEFT + 9 * HOUR]) == [4, 3, 0]


def test_a_leaf_that_was_pinned_before_the_theft_is_spared():
    why = why_spared(shown(OURS, OURS), {OURS: BEFORE}, an_incident())
    assert why
    assert "2026-11-20 02:54:59" in why


def test_a_thief_who_was_quick_is_not_spared_because_a_clock_is_slow():
    """He registered a minute after the theft, DPS noted that by its clock and we what the hub pins by ours."""
    by_slow_clock = THEFT + timedelta(minutes=1) - timedelta(minutes=3)
    assert is_suspect(Member("pump-1", "pump-1", "assigned", by_slow_clock, None), THEFT)
    assert why_spared(shown(THIEFS), {THIEFS: by_slow_clock}, an_incident()) is None


@pytest.mark.parametrize(
    ("identity", "pinned"),
    [
        (shown(THIEFS), {OURS: BEFORE}),
        (shown(OURS, THIEFS), {OURS: BEFORE}),
        (shown(OURS, THIEFS), {OURS: BEFORE, THIEFS: THEFT + HOUR}),
        (shown(OURS), {OURS: THEFT}),
        (shown(OURS), {}),
        (shown(), {}),
        (shown(OURS, authentication="certificateAuthority"), {OURS: BEFORE}),
        (shown(OURS, authentication="sas"), {OURS: BEFORE}),
    ],
)
def test_what_was_not_pinned_before_is_not_spared(identity: Shown, pinned: dict[str, datetime]):
    assert why_spared(identity, pinned, an_incident()) is None


def test_nobody_is_spared_when_all_are_to_go():
    assert why_spared(shown(OURS), {OURS: BEFORE}, an_incident(only=False)) is None
    assert why_spared(shown(OURS), {OURS: BEFORE}, an_incident(None)) is None


def test_a_thumbprint_that_was_away_in_between_counts_anew():
    first = merged({}, [OURS], THEFT)
    assert merged(first, [OURS], THEFT + HOUR) == {OURS: THEFT}
    gone = merged(first, [THIEFS], THEFT + HOUR)
    assert gone == {THIEFS: THEFT + HOUR}
    assert merged(gone, [OURS], THEFT + 2 * HOUR) == {OURS: THEFT + 2 * HOUR}


def test_in_every_order_of_looks_theft_and_registrations_no_identity_of_the_thief_is_spared():
    """The thief registers after the theft, the device before or after it or after the thief; looks at any moment."""
    spared = checked = 0
    for moments in itertools.product(range(7), repeat=4):
        ours_at, thief_at, ours_again_at, call_at = moments
        for theft, looks in itertools.product(range(4), ([], [0], [1, 3], [2, 4], [0, 2, 5])):
            if not (theft <= thief_at <= call_at and ours_at <= call_at and ours_again_at <= call_at):
                continue
            writes = sorted([(ours_at, 0, OURS), (thief_at, 2, THIEFS), (ours_again_at, 1, OURS)])
            known = {}
            for look in looks:
                if (now := [held for at, _, held in writes if at <= look]) and look <= call_at:
                    known = merged(known, [now[-1]], THEFT + look * HOUR)
            at_hub, last = writes[-1][2], writes[-1][0]
            incident = an_incident(THEFT + theft * HOUR)
            member = Member("pump-1", "pump-1", "assigned", THEFT + last * HOUR, None)
            assert incident.compromised_since
            left = not is_suspect(member, incident.compromised_since) or why_spared(shown(at_hub), known, incident)
            checked += 1
            spared += bool(left)
            assert not (left and at_hub == THIEFS)
    assert 0 < spared < checked
