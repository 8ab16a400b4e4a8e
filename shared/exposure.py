"""What still lets a compromised certificate in. Pure: what was read of DPS and hub in, sentences out.

The same rules decide a step and fill the "still exposed" of the status, so that the two cannot disagree.
"""

from datetime import timedelta

from shared.enrollment import Enrollment, HubIdentity, Slot
from shared.escape import Route
from shared.plans import Plan, Step
from shared.rollover import Rollover
from shared.seen import Observation

SESSION_ENDS = timedelta(minutes=1)
"""How long the hub may take to end the session of an identity that was disabled or deleted (azure-iot-sdk-c#2300)."""


def door_is_open(rollover: Rollover, enrollment: Enrollment | None) -> bool:
    """Whether DPS admits the device with a certificate that must not get in."""
    if enrollment is None or not enrollment.enabled:
        return False
    return rollover.plan is Plan.DISALLOW or bool(compromised_slots(rollover, enrollment))


def compromised_slots(rollover: Rollover, enrollment: Enrollment) -> list[Slot]:
    """The slots that hold a certificate that must leave."""
    return [
        slot for slot in Slot for one in rollover.leaving if slot in enrollment.slots_holding(one.sha256_thumbprint)
    ]


def pins_compromised(rollover: Rollover, identity: HubIdentity | None) -> bool:
    """Whether the identity, enabled or not, is one that a compromised certificate opens.

    An identity of type certificateAuthority takes any leaf of a CA that the hub knows; DPS never makes one
    (azure-docs#70976), but where a person did, a leaf that was issued by a CA counts as accepted.
    """
    if identity is None:
        return False
    if rollover.plan is Plan.DISALLOW:
        return True
    if identity.authentication == "certificateAuthority":
        return any(not one.self_issued for one in rollover.leaving)
    return any(identity.holds(one.sha1_thumbprint, one.sha256_thumbprint) for one in rollover.leaving)


def hub_accepts(rollover: Rollover, identity: HubIdentity | None) -> bool:
    """Whether the hub lets in, at a new connect, what must not get in."""
    return identity is not None and identity.enabled and pins_compromised(rollover, identity)


def old_session(rollover: Rollover, seen: Observation) -> str | None:
    """Why a session made with a compromised certificate may still live; None when none can.

    X.509 is judged when a session is set up: it outlives a change of thumbprints (azure-iot-sdk-python#968), not
    the disabling or deletion of its identity.
    """
    identity, removed = seen.identity, seen.removed
    if identity is not None and identity.connected and not _is_newer(rollover, seen):
        return f"the hub still has a session of {identity.device_id}"
    if identity is None and removed is not None and removed.connected and seen.now < removed.at + SESSION_ENDS:
        return f"the hub had a session of {rollover.device_id} when its identity was removed; it ends within a minute"
    return None


def _is_newer(rollover: Rollover, seen: Observation) -> bool:
    """Whether the session began after the hub stopped accepting what is compromised."""
    identity, enrollment = seen.identity, seen.enrollment
    if identity is None or pins_compromised(rollover, identity):
        return False
    if rollover.plan is Plan.BREACH:
        return Step.REMOVE_HUB_REGISTRATION in rollover.done and Step.ENABLE_ENROLLMENT in rollover.done
    record = enrollment.registration if enrollment else None
    began, registered = identity.connection_changed, record.last_updated if record else None
    return began is not None and registered is not None and began > registered


def exposures(rollover: Rollover, seen: Observation) -> list[str]:
    """Everything that still lets in what must not get in, in an operator's words; empty means contained."""
    found = []
    if seen.enrollment is not None and door_is_open(rollover, seen.enrollment):
        slots = " and ".join(slot.value for slot in compromised_slots(rollover, seen.enrollment)) or "no"
        found.append(
            f"DPS: the enrollment {rollover.registration_id} is enabled and slot {slots} holds a compromised"
            " certificate: its holder can register"
            if rollover.plan is not Plan.DISALLOW
            else f"DPS: the enrollment {rollover.registration_id} is enabled: the device can register"
        )
    if hub_accepts(rollover, seen.identity):
        found.append(
            f"IoT Hub: the identity {rollover.device_id} accepts a compromised certificate: its holder can connect"
            if rollover.plan is not Plan.DISALLOW
            else f"IoT Hub: the identity {rollover.device_id} is enabled: the device can connect"
        )
    if session := old_session(rollover, seen):
        found.append(f"IoT Hub: {session}")
    found += [f"{route.name}: {route.why}" for route in unaccepted(rollover, seen)]
    return found


def unaccepted(rollover: Rollover, seen: Observation) -> list[Route]:
    """The escape routes that nobody has said do not matter."""
    accepted = rollover.incident.accepted_routes if rollover.incident else ()
    return [route for route in seen.routes if route.name not in accepted]


def nobody_closes(rollover: Rollover, routes: list[Route]) -> list[Route]:
    """Those of the routes that the same breach call does not close as well, so that a person must."""
    together = rollover.incident.together if rollover.incident else ()
    return [route for route in routes if route.name not in together]
