"""The part of a report about a group whose CA was rolled."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from local.rehearse.group_roll import BREACH, GroupFacts, work_of
from local.rehearse.lanes import lane


def group_section(facts: GroupFacts | None, began: float) -> dict[str, Any] | None:
    """`group` of report.json. Times ending in `_s` count from the call that confirmed, or from the new version in the
    vault; those ending in `_at_s`, and `curve`, from the start of the rehearsal.
    """
    if facts is None:
        return None
    roll, gaps = facts.roll, [one.longest_gap_s for one in facts.devices]
    last = work_of(roll.shown, "restore" if roll.plan == BREACH else "wave")
    return {
        "group": roll.group_id,
        "anchor": roll.anchor,
        "plan": roll.plan,
        "rollover": roll.rollover_id,
        "status": roll.shown.get("status"),
        "outgoing": roll.outgoing,
        "incoming": roll.incoming,
        "devices": len(facts.devices),
        "moved": len(facts.moved_s),
        "lost": len(facts.lost),
        "lost_devices": list(facts.lost),
        "refused_connects": sum(len(one.refusals) for one in facts.devices),
        "longest_gap_s": round(max(gaps), 4) if gaps and all(map(isfinite, gaps)) else None,
        "began_at_s": round((roll.confirmed or roll.began) - began, 3),
        "first_moved_s": _rounded(min(facts.moved_s.values(), default=None)),
        "recovered_s": _rounded(facts.recovered_s),
        "door_shut_s": _rounded(facts.door_shut_s),
        "evicted": facts.evicted,
        "evicted_s": _rounded(facts.evicted_s),
        "contained_s": _rounded(facts.contained_s),
        "waves": last.get("waves") or [],
        "stragglers": last.get("stragglers") or [],
        "thief": _forger(facts, began) if roll.forged else None,
        "twins_kept": roll.twins_kept,
        "still_exposed_at_end": roll.still_exposed,
        "curve": [[round(roll.began - began + at, 3), old, new] for at, old, new in facts.curve],
    }


def _forger(facts: GroupFacts, began: float) -> dict[str, Any]:
    return {
        "address": facts.roll.address,
        "dps_refused": facts.refused_by("dps"),
        "hub_refused": facts.refused_by("iothub"),
        "accepted_after": facts.accepted_after,
        "names": {
            one.registration_id: {
                "dps_refused": facts.refused_by("dps", one.registration_id),
                "hub_refused": facts.refused_by("iothub", one.registration_id),
                **lane(one, began),
            }
            for one in facts.forgers
        },
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def group_in_words(group: Mapping[str, Any] | None) -> list[str]:
    """What the verdict says of it."""
    if group is None:
        return []
    on = f"{group['moved']} of {group['devices']} devices"
    if group["plan"] != BREACH:
        waves = len(group["waves"])
        return [f"{on} moved to the new CA in {waves} wave{'' if waves == 1 else 's'}, {group['lost']} lost"]
    thief = group["thief"] or {"dps_refused": 0, "hub_refused": 0, "accepted_after": 0}
    return [
        f"{group['evicted']} sessions evicted, the forger refused {thief['dps_refused'] + thief['hub_refused']} times"
        f" and let in {thief['accepted_after']} times after, {on} back on the new CA, {group['lost']} lost"
    ]
