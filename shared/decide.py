"""What a step does, from what was seen. Pure: facts in, a verdict with its reason out.

The reason goes word for word into the history, so it is written for the operator. What the steps of a plan decide is
in the module of that plan; here is what holds for all of them.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from shared import decide_breach, decide_expiry, decide_group, decide_group_breach, decide_member
from shared.plans import Plan, Step
from shared.rollover import Rollover
from shared.seen import Observation, Policy, Sources
from shared.transitions import UNDONE_OFTEN
from shared.verdict import Act, Back, NeedsPerson, Refuse, Verdict, Wait


def looks_at(step: Step, plan: Plan) -> Sources:
    """What a step has to read before it can decide."""
    if plan.of_group:
        return decide_group.LOOKS_AT[step] if plan.expires else decide_group_breach.LOOKS_AT[step]
    if plan is Plan.MEMBER_EXPIRY:
        return decide_member.LOOKS_AT[step]
    return decide_expiry.LOOKS_AT[step] if plan.expires else decide_breach.LOOKS_AT[step]


def _of_plan(plan: Plan) -> Callable[[Step, Rollover, Observation, Policy], Verdict]:
    if plan.of_group:
        return decide_group.decide_step if plan.expires else decide_group_breach.decide_step
    if plan is Plan.MEMBER_EXPIRY:
        return decide_member.decide_step
    return decide_expiry.decide_step if plan.expires else decide_breach.decide_step


def decide(step: Step, rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    """The verdict on ``step`` of ``rollover``, given what was seen."""
    if rollover.awaits_approval:
        return _unapproved(rollover, seen.now)
    expiry = rollover.plan.expires
    verdict = _of_plan(rollover.plan)(step, rollover, seen, policy)
    if isinstance(verdict, Act) and step is not Step.INVOKE_REPROVISION_JOB and rollover.acts >= policy.max_acts:
        return NeedsPerson(
            f"{step.value} acted {rollover.acts} times and what it establishes still does not hold: {verdict.why}",
            decide_expiry.ACTING_DOES_NOT_HELP if expiry else decide_breach.ACTING_DOES_NOT_HELP,
        )
    if isinstance(verdict, Wait) or (isinstance(verdict, Back) and rollover.backs >= UNDONE_OFTEN):
        return bounded(verdict, rollover, seen.now, policy)
    return verdict


def _unapproved(rollover: Rollover, now: datetime) -> Verdict:
    until = rollover.incident.approve_by if rollover.incident else None
    if until is not None and now < until:
        return Wait("a second person must approve it", until - now)
    return Refuse("no second person approved it in time; nothing was done", "call the breach again")


def bounded(wait: Wait | Back, rollover: Rollover, now: datetime, policy: Policy) -> Verdict:
    """The wait, or the way back, or a call for a person when it has lasted too long: no rollover goes on for ever."""
    began = rollover.reopened_at or rollover.started_at
    if rollover.plan.expires:
        since, given = max(rollover.outgoing.not_after, began), "after the outgoing certificate's end"
        next_step = "mend what it waits for; the sweep begins it again within a day"
    else:
        since, given = began, "after the call"
        next_step = "mend what it waits for, then POST /api/rollovers/{id}/retry"
    deadline = since + policy.straggler_grace
    if now < deadline:
        return replace(wait, delay=min(wait.delay, deadline - now)) if isinstance(wait, Wait) else wait
    if isinstance(wait, Back):
        why = f"still undone again and again, {policy.straggler_grace.days} days {given}: {wait.why}"
        return NeedsPerson(why, "find out who or what changes what it did, and stop that; then " + next_step)
    why = f"still waiting {policy.straggler_grace.days} days {given}: {wait.why}"
    return NeedsPerson(why, wait.next_step or next_step)
