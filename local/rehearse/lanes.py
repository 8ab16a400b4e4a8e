"""What a timeline shows of somebody who connects: a part of report.json. Pure."""

from typing import Any

from local.rehearse.journal import DeviceFacts


def lane(facts: DeviceFacts, began: float) -> dict[str, Any]:
    """Sessions, registrations and refusals; seconds since `began`."""
    return {
        "sessions": [
            {
                "began_s": round(session.began - began, 3),
                "ended_s": round(session.ended - began, 3),
                "sha256": session.sha256,
                "ended_because": session.ended_because,
            }
            for session in facts.sessions
        ],
        "registered_at_s": [round(one.wall - began, 3) for one in facts.registrations],
        "refusals": [
            {"at_s": round(one.wall - began, 3), "service": one.service, "reason": one.reason, "sha256": one.sha256}
            for one in facts.refusals
        ],
    }
