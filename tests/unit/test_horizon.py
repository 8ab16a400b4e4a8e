"""The horizon: what expires when, what would roll it, and what nothing would roll, told from the lists alone."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.authority import DpsCertificate
from shared.enrollment import Enrolled, Slot
from shared.errors import ServiceUnavailable
from shared.group import Group
from shared.horizon import PATIENCE, Expiry, Fate, Kind, as_ended, due_at, horizon, is_urgent
from shared.plans import Plan
from shared.rollover import Outcome, group_partition, individual_partition
from shared.seen import Listed
from shared.survey import Source, Survey
from shared.target import Due
from tests.builders import DEVICE, EXPIRED, NEW, OLD, STRANGER, a_rollover, an_enrollment, as_incoming, as_outgoing
from tests.certificates import NOW
from tests.group_story import NEW_CA, NEW_ROOT, OLD_CA, OLD_ROOT, ROOT

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
DUE = Due(window=30 * DAY, share=0.34)
WARN = Due(window=60 * DAY, share=0.34)
OURS, GROUP = individual_partition(DEVICE), group_partition("line-1")
FAR = NOW - 100 * DAY
"""A time at which nothing of the story is due."""


def listed(certificate: Any, name: str = "cert") -> Listed:
    return Listed(name, certificate.not_after, certificate.sha1_thumbprint, {}, certificate.not_before)


def of_device(*slots: Any, vault: Sequence[Listed] = (), tied: bool = True, **more: Any) -> Survey:
    enrollment = replace(an_enrollment(*slots), **more.pop("enrollment", {}))
    ties = {one.name: OURS for one in vault} if tied else {}
    return Survey(vault=tuple(vault), ties=ties, enrollments={OURS: enrollment}, **more)


def a_group(signing: Sequence[Any] = (), names: Sequence[str] = (), *, enabled: bool = True) -> Group:
    held = [Enrolled(c.sha1_thumbprint, c.sha256_thumbprint, c.not_after, c.subject, c.issuer) for c in signing]
    slots: dict[Slot, Any] = dict(zip(Slot, [*held, None, None], strict=False))
    references: dict[Slot, Any] = dict(zip(Slot, [*names, None, None], strict=False))
    return Group("line-1", enabled, "x509", slots, references, "e", {})


def authority(name: str, certificate: Any, *, verified: bool = True) -> DpsCertificate:
    return DpsCertificate(name, certificate, verified, "e")


def found(survey: Survey, now: datetime = NOW, refused: dict[str, str] | None = None) -> list[Expiry]:
    return horizon(survey, now, DUE, refused or {})


def fates(survey: Survey, now: datetime = NOW, refused: dict[str, str] | None = None) -> list[Fate]:
    return [one.fate for one in found(survey, now, refused)]


# --- enrollments -------------------------------------------------------------------------------------------------


def test_what_the_vault_has_as_its_latest_version_rolls_when_it_is_due():
    [one] = found(of_device(OLD, OLD, vault=[listed(OLD)]), FAR)
    assert (one.kind, one.name, one.slots) == (Kind.ENROLLMENT, DEVICE, (Slot.PRIMARY, Slot.SECONDARY))
    assert (one.fate, one.certificate_name, one.due_at) == (Fate.ROLLS, "cert", OLD.not_after - 30 * DAY)
    assert (one.starts, one.ends) == (OLD.not_before, OLD.not_after)


def test_without_a_tag_nothing_rolls_it_and_the_reason_names_the_tag():
    [one] = found(of_device(OLD), FAR)
    assert (one.fate, one.due_at) == (Fate.UNCOVERED, None)
    assert "rollover-enrollment" in one.why


def test_a_certificate_of_the_vault_without_a_tag_is_known_by_the_slot_it_lies_in():
    assert fates(of_device(OLD, vault=[listed(OLD)], tied=False), FAR) == [Fate.ROLLS]
    assert fates(of_device(OLD, vault=[listed(NEW)], tied=False), FAR) == [Fate.UNCOVERED]


@pytest.mark.parametrize(("late", "fate"), [(-SECOND, Fate.ROLLS), (0 * DAY, Fate.UNCOVERED), (SECOND, Fate.UNCOVERED)])
def test_one_that_is_due_and_never_renewed_is_uncovered_after_two_sweeps(late, fate):
    at = due_at(listed(OLD), DUE)
    assert at is not None
    assert fates(of_device(OLD, vault=[listed(OLD)]), at + PATIENCE + late) == [fate]


@pytest.mark.parametrize(("late", "fate"), [(-SECOND, Fate.ROLLS), (0 * DAY, Fate.UNCOVERED)])
def test_one_that_lives_shorter_than_two_sweeps_is_uncovered_at_its_end(late, fate):
    short = replace(OLD, not_before=NOW - timedelta(hours=1), not_after=NOW)
    assert fates(of_device(short, vault=[listed(short)]), NOW + late) == [fate]


def test_what_a_sweep_could_not_begin_is_uncovered_with_its_reason():
    [one] = found(of_device(OLD, vault=[listed(OLD)]), NOW, {"cert": "Key Vault answered 403"})
    assert (one.fate, one.why, one.certificate_name) == (Fate.UNCOVERED, "Key Vault answered 403", "cert")


def test_an_open_rollover_is_named_and_what_it_brings_is_not_what_it_replaces():
    rollover = a_rollover(incoming=as_incoming(NEW))
    survey = of_device(OLD, NEW, vault=[listed(NEW)], open={OURS: rollover})
    old, new = found(survey)
    assert (old.fate, old.rollover_id) == (Fate.ROLLING, rollover.id)
    assert (new.fate, new.rollover_id, new.due_at) == (Fate.ROLLS, None, NEW.not_after - 30 * DAY)


def test_keeping_a_device_out_rolls_nothing():
    rollover = a_rollover(plan=Plan.DISALLOW)
    assert fates(of_device(OLD, open={OURS: rollover})) == [Fate.UNCOVERED]


def test_another_version_in_the_vault_is_rolled_to_at_once_unless_it_ends_no_later():
    [one] = found(of_device(OLD, vault=[listed(NEW)]))
    assert (one.fate, one.due_at) == (Fate.ROLLS, NOW)
    for vault, fate in ((listed(NEW), Fate.ROLLS), (replace(listed(NEW), ends=OLD.not_after), Fate.UNCOVERED)):
        assert fates(of_device(OLD, vault=[vault])) == [fate]
    assert fates(of_device(NEW, vault=[listed(EXPIRED)])) == [Fate.UNCOVERED]


def test_what_lies_beside_the_latest_version_is_retired_at_its_end_at_the_latest():
    stranger, new = found(of_device(NEW, STRANGER, vault=[listed(NEW)]), NOW)[::-1]
    assert (stranger.ends, new.ends) == (STRANGER.not_after, NEW.not_after)
    assert (stranger.fate, stranger.due_at) == (Fate.ROLLS, STRANGER.not_after)
    expired, _ = found(of_device(NEW, EXPIRED, vault=[listed(NEW)]))
    assert (expired.fate, expired.due_at) == (Fate.ROLLS, EXPIRED.not_after)


def test_an_expired_certificate_beside_a_living_one_is_told_where_nothing_takes_it_out():
    expired, alive = found(of_device(EXPIRED, NEW))
    assert (expired.fate, alive.fate) == (Fate.UNCOVERED, Fate.UNCOVERED)
    assert "beside one that lives" in expired.why
    assert "beside one that lives" not in alive.why
    assert not is_urgent(expired, NOW, WARN), "the device lives on the other one"


def test_what_is_disabled_or_not_ours_is_neither_covered_nor_missed():
    assert fates(of_device(OLD, enrollment={"enabled": False})) == [Fate.IDLE]
    [one] = found(of_device(OLD, enrollment={"credential_policy": "adr"}))
    assert one.fate is Fate.OTHERS
    assert "Azure Device Registry" in one.why


def test_of_two_vault_certificates_of_one_target_the_one_that_it_holds_rolls_it():
    [one] = found(of_device(OLD, vault=[listed(STRANGER, "another"), listed(OLD, "its-own")]), FAR)
    assert one.certificate_name == "its-own"


def test_while_the_vault_cannot_be_listed_nothing_is_called_uncovered():
    missing = {Source.VAULT: ServiceUnavailable("503")}
    assert fates(of_device(OLD, missing=missing)) == [Fate.UNKNOWN]


@pytest.mark.parametrize("outcome", [*Outcome, None])
def test_one_whose_last_rollover_ended_badly_is_uncovered(outcome):
    [one] = found(of_device(OLD, vault=[listed(OLD)]), NOW)
    last = a_rollover(outcome=outcome, outcome_reason="its key is the old one")
    badly = outcome in (Outcome.REFUSED, Outcome.NEEDS_PERSON)
    assert (as_ended(one, last, NOW).fate is Fate.UNCOVERED) is badly
    assert as_ended(one, None, NOW) == one
    another = replace(last, outgoing=as_outgoing(NEW), ended_at=NOW - DAY)
    assert as_ended(one, another, NOW) == one, "it was about another certificate, and no sweep minds it any more"
    assert (as_ended(one, another, NOW - SECOND).fate is Fate.UNCOVERED) is badly


# --- groups and CA certificates ----------------------------------------------------------------------------------


def of_group(group: Group, *authorities: DpsCertificate, vault: Sequence[Listed] = (), **more: Any) -> Survey:
    ties = {one.name: GROUP for one in vault}
    return Survey(vault=tuple(vault), ties=ties, groups={GROUP: group}, authorities=authorities, **more)


def test_the_anchor_of_a_group_is_rolled_by_the_certificate_that_is_tagged_for_it():
    [one] = found(of_group(a_group([OLD_CA]), vault=[listed(OLD_CA)]), FAR)
    assert (one.kind, one.name, one.fate, one.certificate_name) == (Kind.GROUP, "line-1", Fate.ROLLS, "cert")
    [one] = found(of_group(a_group([OLD_CA])), FAR)
    assert one.fate is Fate.UNCOVERED
    assert "rollover-group" in one.why


def test_a_ca_certificate_says_which_groups_name_it_and_is_rolled_as_they_are():
    group = a_group(names=["Line-Root"])
    for vault, fate in (([listed(OLD_ROOT)], Fate.ROLLS), ([], Fate.UNCOVERED)):
        [one] = found(of_group(group, authority("line-root", OLD_ROOT), vault=vault), FAR)
        assert (one.kind, one.name, one.used_by, one.fate) == (Kind.AUTHORITY, "line-root", ("line-1",), fate)
        assert one.ends == OLD_ROOT.not_after


def test_of_two_groups_the_worse_off_decides_about_the_ca_certificate_that_both_name():
    group = a_group(names=["line-root"])
    other = replace(group, enrollment_group_id="line-2")
    survey = of_group(group, authority("line-root", OLD_ROOT), vault=[listed(OLD_ROOT)])
    both = replace(survey, groups={**survey.groups, group_partition("line-2"): other})
    [one] = found(both, FAR)
    assert (one.fate, one.used_by) == (Fate.UNCOVERED, ("line-1", "line-2"))
    disabled = replace(both, groups={**survey.groups, group_partition("line-2"): replace(other, enabled=False)})
    assert fates(disabled, FAR) == [Fate.ROLLS]


def test_a_ca_certificate_that_is_not_verified_is_told_only_where_a_group_rests_on_it():
    unverified = authority("line-root", OLD_ROOT, verified=False)
    [one] = found(of_group(a_group(names=["line-root"]), unverified, vault=[listed(OLD_ROOT)]), FAR)
    assert (one.fate, one.verified) == (Fate.UNCOVERED, False)
    assert "not verified" in one.why
    assert fates(Survey(authorities=(unverified,)), FAR) == [Fate.IDLE]


def test_a_root_above_a_groups_own_certificate_is_used_by_it_and_nothing_rolls_it():
    ca, root = found(of_group(a_group([NEW_CA]), authority("root", ROOT), vault=[listed(NEW_CA)]), FAR)
    assert (ca.fate, root.fate, root.used_by) == (Fate.ROLLS, Fate.UNCOVERED, ("line-1",))
    assert "no plan rolls it" in root.why
    assert not is_urgent(root, FAR, WARN)


def test_a_group_that_names_what_is_not_there_is_told_without_a_date():
    [one] = found(of_group(a_group(names=["gone"])))
    assert (one.kind, one.ends, one.fate, one.used_by) == (Kind.GROUP, None, Fate.UNCOVERED, ("gone",))
    assert is_urgent(one, NOW, WARN)
    assert found(of_group(a_group(names=["gone"]), missing={Source.AUTHORITIES: ServiceUnavailable("503")})) == []


def test_a_ca_certificate_without_contents_ends_when_resource_manager_says():
    bare = DpsCertificate("line-root", None, True, "e", OLD_ROOT.sha1_thumbprint, "Line Root", OLD_ROOT.not_after)
    [one] = found(of_group(a_group(names=["line-root"]), bare, vault=[listed(OLD_ROOT)]), FAR)
    assert (one.fate, one.ends, one.sha256_thumbprint) == (Fate.ROLLS, OLD_ROOT.not_after, "")
    [one] = found(of_group(a_group(names=["line-root"]), replace(bare, expires=None)), FAR)
    assert (one.fate, one.ends) == (Fate.UNCOVERED, None)


def test_while_groups_cannot_be_listed_nobody_says_that_a_ca_certificate_is_of_no_use():
    survey = Survey(authorities=(authority("x", NEW_ROOT),), missing={Source.GROUPS: ServiceUnavailable("503")})
    assert fates(survey) == [Fate.UNKNOWN]


# --- order and thresholds ----------------------------------------------------------------------------------------


def test_the_soonest_comes_first_and_what_has_no_end_last():
    survey = replace(
        of_group(a_group([OLD_CA]), authority("root", ROOT)), enrollments={OURS: an_enrollment(EXPIRED, NEW)}
    )
    dangling = replace(survey, groups={**survey.groups, "group.x": replace(a_group(names=["gone"]))})
    ends = [one.ends for one in found(dangling)]
    assert ends == [*sorted(end for end in ends if end), None]
    assert len({one.order for one in found(dangling)}) == len(ends)


@pytest.mark.parametrize(
    ("lives", "left"),
    [
        (365 * DAY, 60 * DAY),  # the window is shorter
        (60 * DAY / 0.34, 60 * DAY),  # both are the same
        (90 * DAY, 90 * DAY * 0.34),  # the share of its life is shorter
        (timedelta(hours=1), timedelta(hours=0.34)),
        (None, 60 * DAY),  # nobody tells when it began: the window alone
    ],
)
def test_a_person_is_told_at_the_moment_when_window_and_share_are_both_reached(lives, left):
    [one] = found(of_device(OLD), FAR)
    one = replace(one, starts=lives and NOW - lives, ends=NOW)
    for at, urgent in ((NOW - left - SECOND, False), (NOW - left, True), (NOW - SECOND, True), (NOW, False)):
        assert is_urgent(one, at, WARN) is urgent, at


@pytest.mark.parametrize("fate", Fate)
def test_only_what_nothing_would_roll_is_urgent(fate):
    [one] = found(of_device(OLD), NOW)
    assert is_urgent(replace(one, fate=fate), NOW, WARN) is (fate is Fate.UNCOVERED)


@pytest.mark.parametrize(
    ("lives", "left"), [(365 * DAY, 30 * DAY), (30 * DAY / 0.34, 30 * DAY), (60 * DAY, 60 * DAY * 0.34)]
)
def test_a_rollover_is_foretold_for_the_moment_when_the_sweep_takes_it_for_due(lives, left):
    assert due_at(Listed("a", NOW, "", {}, NOW - lives), DUE) == NOW - left
    assert due_at(Listed("a", NOW), DUE) == NOW - DUE.window
    assert due_at(Listed("a"), DUE) is None


def test_an_enrollment_without_certificates_has_nothing_that_expires():
    assert found(Survey(enrollments={OURS: an_enrollment(None)})) == []
