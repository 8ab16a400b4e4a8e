"""What each step does that rolls what an enrollment group trusts, from what was seen. Pure."""

from collections.abc import Mapping

from shared.rollover import PLANS, Plan, Refuse, Rollover, Step, Verdict
from shared.seen import Observation, Policy, Sources

LOOKS_AT: Mapping[Step, Sources] = {
    step: Sources() for plan in (Plan.GROUP_EXPIRY, Plan.GROUP_BREACH) for step in PLANS[plan]
}


def decide_step(_step: Step, _rollover: Rollover, _seen: Observation, _policy: Policy) -> Verdict:
    """The verdict on a step of a group's plan."""
    return Refuse("groups are not rolled yet")
