"""Which rollovers have waited too long at their step, and what somebody can do. Pure.

Waiting is normal; a budget says how long. It counts from the arrival at the step, so that a wait whose reason changes
from look to look is one wait. What a plan itself waits for is no wait: the outgoing certificate's end, an approval.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.decide_expiry import HANDS_OFF
from shared.decide_issuance import UNSIGNED
from shared.decide_member import LEFT_TO_GROUP
from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Policy
from shared.transitions import UNDONE_OFTEN

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

OF_EXPIRY: Mapping[Step, timedelta] = {
    Step.ISSUE_CERTIFICATE: HOUR,
    Step.ADD_CA_CERTIFICATE: HOUR,
    Step.UPLOAD_SECONDARY: HOUR,
    Step.STAGE_HUB_THUMBPRINT: HOUR,
    Step.DELETE_PRIMARY: HOUR,
    Step.DELETE_CA_CERTIFICATE: HOUR,
}
OF_BREACH: Mapping[Step, timedelta] = {
    Step.DISABLE_ENROLLMENT: 5 * MINUTE,
    Step.REMOVE_HUB_REGISTRATION: 15 * MINUTE,
    Step.VERIFY_CONTAINMENT: 15 * MINUTE,
    Step.ISSUE_CERTIFICATE: 4 * HOUR,
    Step.ADD_CA_CERTIFICATE: 30 * MINUTE,
    Step.UPLOAD_SECONDARY: 30 * MINUTE,
    Step.DELETE_PRIMARY: 30 * MINUTE,
    Step.DELETE_CA_CERTIFICATE: 30 * MINUTE,
    Step.ENABLE_ENROLLMENT: 15 * MINUTE,
}
"""Also of ``disallow`` and ``allow``."""

FOR_DEVICES = (Step.INVOKE_REPROVISION_JOB, Step.RESTORE_TWIN)
"""Steps that wait for devices: ``Policy.device_budget``, the one budget in which fleets differ."""
OF_REASONS: Mapping[str, timedelta] = {UNSIGNED: DAY, HANDS_OFF: DAY}
"""Where an expiry waits for what is a person's to do in working hours: instead of the step's budget."""
OF_GROUPS = HOUR
"""For containing a group, which takes as long as the hub's quota makes it: somebody must know that it still lasts."""
NOT_CONTAINED = 4 * HOUR
"""For the devices of a breach whose mode contains by their return: no more, whatever ``Policy.device_budget`` says."""
LEAST = HOUR
"""For the devices of a certificate that ends soon, and where one is left to its group's rollover, which is told of by
itself: half of what is left, but not less."""


@dataclass(frozen=True)
class Overdue:
    """A rollover that has waited too long: since when, why, and what somebody can do."""

    since: datetime
    why: str
    next_step: str


def overdue(rollover: Rollover, now: datetime, policy: Policy) -> Overdue | None:
    """What is to be said of a rollover that has waited too long at its step; None while it has not."""
    step = rollover.next_step
    if step is None or rollover.awaits_approval:
        return None
    here = f"at {step.value} since {rollover.here_since:%Y-%m-%d %H:%M:%SZ}"
    waits = f"it waits: {rollover.waiting_for}" if rollover.waiting_for else "no look at it was recorded"
    ends = budget_ends(rollover, step, policy)
    if ends <= now:
        return Overdue(ends, f"{here}; {waits}", _advice(rollover, step))
    if rollover.backs >= UNDONE_OFTEN:
        why = f"what it did was undone {rollover.backs} times; {here}; {waits}"
        undoes = "find out who or what changes the enrollment or the hub identity, and stop that; it goes on by itself"
        return Overdue(rollover.here_since, why, undoes)
    return None


def budget_ends(rollover: Rollover, step: Step, policy: Policy) -> datetime:
    """When the budget of the present step is spent."""
    here, ends = rollover.here_since, rollover.outgoing.not_after
    if rollover.plan.expires:
        for reason, budget in OF_REASONS.items():
            if reason in (rollover.waiting_for or ""):
                return here + budget
        if LEFT_TO_GROUP in (rollover.waiting_for or ""):
            return here + max((ends - here) / 2, LEAST)
        if step in FOR_DEVICES:
            return here + max(min(policy.device_budget, (ends - here) / 2), LEAST)
        if step is Step.DELETE_PRIMARY and not policy.retire_when_moved:
            here = max(here, ends)
        return here + OF_EXPIRY[step]
    if step in FOR_DEVICES:
        open_still = rollover.plan.contains and not rollover.contained
        return here + (min(policy.device_budget, NOT_CONTAINED) if open_still else policy.device_budget)
    if rollover.plan.of_group and step in (Step.REMOVE_HUB_REGISTRATION, Step.VERIFY_CONTAINMENT):
        return here + OF_GROUPS + policy.settle
    return here + OF_BREACH[step] + (policy.settle if step is Step.VERIFY_CONTAINMENT else timedelta())


def _advice(rollover: Rollover, step: Step) -> str:
    waiting_for = rollover.waiting_for or ""
    if rollover.refused_since is not None:
        return (
            "give the app the role that the service misses (docs/security.md, Role assignments); it goes on by itself"
        )
    if rollover.held_up_since is not None:
        return "look at the health and the quota of the service that does not answer; it goes on by itself"
    if rollover.waiting_for is None:
        return (
            f"see whether the function {step.value} runs: its exceptions, its queue {step.queue}, and that"
            " resume_rollovers completes; it goes on by itself"
        )
    if HANDS_OFF in waiting_for:
        return f"enable it, or cancel the rollover: POST /api/rollovers/{rollover.id}/cancel"
    if UNSIGNED in waiting_for:
        return "sign the vault's certificate request and merge the answer; it goes on by itself"
    if LEFT_TO_GROUP in waiting_for:
        return "see to the rollover of its group (GET /api/rollovers?enrollment_group=...); it goes on by itself"
    return _ADVICE[step]


_ADVICE: Mapping[Step, str] = {
    Step.ISSUE_CERTIFICATE: "issue a new version of the certificate in the vault, or mend its issuer or policy; it goes"
    " on by itself",
    Step.ADD_CA_CERTIFICATE: "look at the CA certificates of the DPS and at the vault's; it goes on by itself",
    Step.UPLOAD_SECONDARY: "look at the enrollment in DPS; it goes on by itself",
    Step.STAGE_HUB_THUMBPRINT: "look at the device's identity at the hub; it goes on by itself",
    Step.INVOKE_REPROVISION_JOB: "bring the device online, or give it its new certificate by hand; it goes on by itself"
    " when the hub shows it there",
    Step.DELETE_PRIMARY: "look at the enrollment in DPS and the device's identity at the hub; it goes on by itself",
    Step.DELETE_CA_CERTIFICATE: "see which group still needs the outgoing CA certificate; it goes on by itself",
    Step.DISABLE_ENROLLMENT: "disable the enrollment by hand, now; it goes on by itself",
    Step.REMOVE_HUB_REGISTRATION: "disable the device's identity at the hub by hand, now; it goes on by itself",
    Step.VERIFY_CONTAINMENT: "close what still lets it in (still_exposed of its status); it goes on by itself",
    Step.ENABLE_ENROLLMENT: "look at the enrollment in DPS; it goes on by itself",
    Step.RESTORE_TWIN: "bring the device online, or give it its new certificate by hand; it goes on by itself when it"
    " has registered",
}
