"""The report: facts of the journal and what the scenario saw, as one JSON document, and the page made of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from local.rehearse.group_report import group_in_words, group_section
from local.rehearse.group_roll import GroupFacts
from local.rehearse.group_roll import problems_of as problems_of_group
from local.rehearse.journal import DeviceFacts
from local.rehearse.lanes import lane
from local.rehearse.mishaps import MishapFacts, mishap_in_words, mishap_section
from local.rehearse.mishaps import problems_of as problems_of_events
from local.rehearse.scenario import Found, Phase
from local.rehearse.theft import TheftFacts, problems_of

GAP_ALLOWED_S = 2.0
MANY = 20
"""Devices from which on the page folds their table away."""
TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True)
class Played:
    """Which scenario, and when: seconds since 1970, real time."""

    scenario: str
    title: str
    proves: str
    rollovers: int
    began: float
    ended: float


def make_report(
    played: Played,
    fed_by: Mapping[str, str],
    facts: Sequence[DeviceFacts],
    found: Found,
    thefts: Sequence[TheftFacts] = (),
    group: GroupFacts | None = None,
    mishap: MishapFacts | None = None,
) -> dict[str, Any]:
    """The content of report.json. Times ending in `_s` are seconds; positions in time are counted from the start.

    What `devices` says of one whose key, or whose group's CA, was stolen ends there: a breach cuts a device off, and
    that has figures of its own.
    """
    devices = [_device(one, fed_by[one.registration_id], found, played.began) for one in facts]
    problems = [*found.problems, *(text for one in devices for text in _problems(one, found, played.rollovers))]
    problems += [text for one in thefts for text in problems_of(one)]
    problems += [] if group is None else problems_of_group(group)
    problems += (
        [] if mishap is None else problems_of_events(mishap, {one.registration_id: one.thumbprints for one in facts})
    )
    events = mishap_section(mishap)
    rolled = group_section(group, played.began)
    breaches = [_breach(one, played.began) for one in thefts]
    return {
        "scenario": played.scenario,
        "title": played.title,
        "proves": played.proves,
        "devices": devices,
        "breach": _breaches(breaches),
        "group": rolled,
        "events": events,
        "summary": _summary(played, devices, breaches, [*mishap_in_words(events), *group_in_words(rolled)], problems),
        "problems": problems,
        "phases": [_phase(phase, played.began) for phase in found.phases],
    }


def _device(facts: DeviceFacts, fed_by: str, found: Found, began: float) -> dict[str, Any]:
    name = facts.registration_id
    return {
        "registration_id": name,
        "fed_by": fed_by,
        "rollovers": found.rollovers.get(name, 0),
        "registrations": len(facts.registrations),
        "refused_connects": len(facts.refusals),
        # JSON has no infinity: null stands for a device that was never on.
        "longest_gap_s": round(facts.longest_gap_s, 4) if isfinite(facts.longest_gap_s) else None,
        "thumbprints": list(facts.thumbprints),
        "slots": found.slots.get(name, []),
        **lane(facts, began),
    }


def _breaches(breaches: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The first one's figures; with those of each mode where there are several."""
    if not breaches:
        return None
    return {**breaches[0], "modes": {one["mode"]: one for one in breaches}} if len(breaches) > 1 else breaches[0]


def _breach(facts: TheftFacts, began: float) -> dict[str, Any]:
    theft, gap = facts.theft, facts.device.longest_gap_s
    return {
        "registration_id": theft.registration_id,
        "mode": theft.mode,
        "incident": theft.incident,
        "confirmed_at_s": _rounded(theft.confirmed - began if theft.confirmed else None),
        "door_shut_s": _rounded(facts.door_shut_s),
        "evicted_s": _rounded(facts.evicted_s),
        "verified_s": _rounded(facts.verified_s),
        "recovered_s": _rounded(facts.recovered_s),
        "thief": {
            "address": theft.address,
            "sha256": theft.stolen,
            "dps_refused": facts.refused_by("dps"),
            "hub_refused": facts.refused_by("iothub"),
            "accepted_after": facts.accepted_after,
            **lane(facts.thief, began),
        },
        "device": {
            "without_session_s": _rounded(gap if isfinite(gap) else None),
            "refused": len(facts.device.refusals),
            "thumbprints": list(facts.device.thumbprints),
            **lane(facts.device, began),
        },
        "twin_restored": theft.twin_restored,
        "queued_messages_previewed": theft.previewed_messages,
        "still_exposed_at_end": theft.still_exposed,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def breaches_of(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The breaches of a report, in the order they were played."""
    breach = report["breach"]
    return [] if breach is None else list(breach.get("modes", {"": breach}).values())


def _problems(device: Mapping[str, Any], found: Found, rollovers: int) -> list[str]:
    name, gap_s = device["registration_id"], device["longest_gap_s"]
    problems = [
        f"{name}: {one['service']} refused it at {one['at_s']:.1f} s: {one['reason']}" for one in device["refusals"]
    ]
    if gap_s is None:
        problems.append(f"{name}: it never had a session with the hub")
    elif gap_s > GAP_ALLOWED_S:
        problems.append(f"{name}: it was without a session for {gap_s:.1f} s")
    if not _ended_on_newest(device, found):
        problems.append(f"{name}: it did not end on the newest certificate")
    if not _rolled(device, rollovers):
        problems.append(
            f"{name}: it rolled {_swaps(device)} times and the app reports {device['rollovers']}, not {rollovers}"
        )
    return problems


def _ended_on_newest(device: Mapping[str, Any], found: Found) -> bool:
    return list(device["thumbprints"][-1:]) == [found.newest.get(device["registration_id"])]


def _swaps(device: Mapping[str, Any]) -> int:
    return max(0, len(device["thumbprints"]) - 1)


def _rolled(device: Mapping[str, Any], rollovers: int) -> bool:
    """Both sides say so: the journal's sessions changed certificate, the app's rollovers ended as done."""
    return _swaps(device) == rollovers and device["rollovers"] == rollovers


def _summary(
    played: Played,
    devices: Sequence[Mapping[str, Any]],
    breaches: Sequence[Mapping[str, Any]],
    more: Sequence[str],
    problems: Sequence[str],
) -> dict[str, Any]:
    rolled = sum(_rolled(device, played.rollovers) for device in devices)
    refused = sum(device["refused_connects"] for device in devices)
    gaps = [device["longest_gap_s"] for device in devices]
    long_gaps = sum(gap is None or gap > GAP_ALLOWED_S for gap in gaps)
    duration = played.ended - played.began
    times = {1: "once", 2: "twice"}.get(played.rollovers, f"{played.rollovers} times")
    said = [
        f"{rolled} of {len(devices)} devices rolled {times}, {refused} refused connects, {long_gaps} gaps over"
        f" {GAP_ALLOWED_S:g} s"
    ]
    verdict = "; ".join([*said[: played.rollovers], *_breaches_in_words(breaches), *more])
    verdict = f"{'PASSED' if not problems else 'FAILED'}: {verdict}, in {duration:.0f} s"
    return {
        "passed": not problems,
        "verdict": verdict,
        "devices": len(devices),
        "rolled_twice": sum(_rolled(device, 2) for device in devices),
        "refused_connects": refused,
        "gaps_over_2s": long_gaps,
        "longest_gap_s": max((gap for gap in gaps if gap is not None), default=None),
        "registrations": sum(device["registrations"] for device in devices),
        "keys_stolen": len(breaches),
        "keys_contained": sum(_is_contained(one) for one in breaches),
        "started_at": datetime.fromtimestamp(played.began, UTC).isoformat(timespec="seconds"),
        "duration_s": round(duration, 2),
    }


def _breaches_in_words(breaches: Sequence[Mapping[str, Any]]) -> list[str]:
    if not breaches:
        return []
    thieves = [one["thief"] for one in breaches]
    keys = "stolen key" if len(breaches) == 1 else "stolen keys"
    return [
        f"{sum(_is_contained(one) for one in breaches)} of {len(breaches)} {keys} contained,"
        f" the thief refused {sum(one['dps_refused'] + one['hub_refused'] for one in thieves)} times and let in"
        f" {sum(one['accepted_after'] for one in thieves)} times after,"
        f" {sum(one['recovered_s'] is not None for one in breaches)} of {len(breaches)} devices back"
    ]


def _is_contained(breach: Mapping[str, Any]) -> bool:
    """The app says so, and nobody was let in after."""
    return breach["verified_s"] is not None and breach["thief"]["accepted_after"] == 0


def _phase(phase: Phase, began: float) -> dict[str, Any]:
    return {
        "name": phase.name,
        "began_s": round(phase.began - began, 3),
        "duration_s": round(phase.ended - phase.began, 3),
        "clock": phase.clock.isoformat(timespec="seconds"),
    }


def gap_text(seconds: float | None) -> str:
    """A gap in words; None stands for a device that was never on."""
    if seconds is None:
        return "never on"
    return "under 1 ms" if seconds < 0.001 else f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def took_text(seconds: float | None) -> str:
    """How long something took from the confirmation on; None: it never came."""
    return "never" if seconds is None else f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def write_report(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write report.json and report.html into `folder`; their paths."""
    data, page = folder / "report.json", folder / "report.html"
    data.write_text(json.dumps(report, indent=2) + "\n")
    page.write_text(page_of(report))
    return [data, page]


def page_of(report: Mapping[str, Any]) -> str:
    """The report as one HTML page that needs nothing but itself."""
    # Only at the end of a rehearsal: both are slow to load.
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from local.rehearse.group_picture import describe_group, group_picture
    from local.rehearse.picture import describe, picture

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["gap"] = gap_text
    environment.filters["took"] = took_text
    template = environment.from_string(TEMPLATE.read_text())
    # A lane for each device is too much for a fleet.
    draw, in_words = (group_picture, describe_group) if report["group"] else (picture, describe)
    # The picture is SVG made here; matplotlib escapes the names in it.
    drawn = Markup(draw(report))  # noqa: S704
    return template.render(
        report=report,
        breaches=breaches_of(report),
        group=report["group"],
        events=report["events"],
        many=len(report["devices"]) > MANY,
        picture=drawn,
        description=in_words(report),
    )
