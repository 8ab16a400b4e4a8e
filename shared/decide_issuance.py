"""What ``issue_certificate`` does while the vault's latest version is the one that must go, in every plan. Pure."""

from datetime import datetime, timedelta

from shared.pacing import LATER, pace, patience
from shared.rollover import Rollover
from shared.seen import Observation, Policy
from shared.verdict import Act, NeedsPerson, Verdict, Wait

UNSIGNED = "the vault's signing request waits to be signed and merged"


def ask_before_expiry(rollover: Rollover, seen: Observation) -> Verdict:
    """A new version is asked for, once; what then goes wrong is a person's."""
    issuance = seen.issuance
    if issuance is not None and issuance.in_progress:
        if issuance.needs_signing:
            return _signed_by_our_ca(seen) or Wait(UNSIGNED, patience(rollover, seen.now))
        # Seconds where the vault signs, days where an outside CA does: looked at ever more rarely.
        return Wait("the vault is issuing the new version", max(patience(rollover, seen.now), timedelta(seconds=2)))
    # A failure from before we asked is history: its cause may be mended by now.
    if issuance is not None and issuance.error and rollover.acts:
        return NeedsPerson(
            f"the vault could not issue a new version: {issuance.error}",
            "mend the certificate's issuer or policy in the vault; the sweep begins it again within a day",
        )
    return Act("the vault's latest version is the outgoing certificate; a new version is asked for")


def ask_after_breach(rollover: Rollover, seen: Observation, policy: Policy) -> Verdict:
    """Another version is asked for; whatever goes wrong, the rollover rests as contained as it is."""
    issuance = seen.issuance
    if issuance is not None and issuance.in_progress:
        if not issuance.needs_signing:
            return rest("the vault is issuing a new version", rollover, seen.now)
        if not seen.issuer:
            return rest(UNSIGNED, rollover, seen.now)
    elif issuance is not None and issuance.error and rollover.acts:
        return rest(f"the vault could not issue a new version ({issuance.error})", rollover, seen.now)
    if rollover.acts >= policy.max_acts:
        return rest(f"the vault was asked {rollover.acts} times for a new version", rollover, seen.now)
    if issuance is not None and issuance.in_progress and (sign := _signed_by_our_ca(seen)):
        return sign
    return Act("the vault's latest version is compromised; a new one is asked for")


def rest(why: str, rollover: Rollover, now: datetime) -> Wait:
    """A breach waits for a replacement, and says whether it is contained meanwhile."""
    rests = "contained, no replacement yet" if rollover.contained else "no replacement yet, and not contained"
    return Wait(f"{rests}: {why}", pace(rollover, rests, now, LATER))


def _signed_by_our_ca(seen: Observation) -> Act | None:
    """What to do with a signing request where the certificate says which CA of the vault signs it."""
    if not seen.issuer:
        return None
    why = f"the vault's signing request is signed by the key of the vault's certificate {seen.issuer!r}, and merged"
    return Act(why, {"do": "sign", "ca": seen.issuer})
