"""The report: facts of the journal and what the scenario saw, as one JSON document, and the page made of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from local.rehearse.journal import DeviceFacts
from local.rehearse.scenario import Found, Phase

GAP_ALLOWED_S = 2.0
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
    played: Played, fed_by: Mapping[str, str], facts: Sequence[DeviceFacts], found: Found
) -> dict[str, Any]:
    """The content of report.json. Times ending in `_s` are seconds; positions in time are counted from the start."""
    devices = [_device(one, fed_by[one.registration_id], found, played.began) for one in facts]
    problems = [*found.problems, *(text for one in devices for text in _problems(one, found, played.rollovers))]
    return {
        "scenario": played.scenario,
        "title": played.title,
        "proves": played.proves,
        "devices": devices,
        "summary": _summary(played, devices, problems),
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


def _summary(played: Played, devices: Sequence[Mapping[str, Any]], problems: Sequence[str]) -> dict[str, Any]:
    rolled = sum(_rolled(device, played.rollovers) for device in devices)
    refused = sum(device["refused_connects"] for device in devices)
    gaps = [device["longest_gap_s"] for device in devices]
    long_gaps = sum(gap is None or gap > GAP_ALLOWED_S for gap in gaps)
    duration = played.ended - played.began
    times = {1: "once", 2: "twice"}.get(played.rollovers, f"{played.rollovers} times")
    verdict = (
        f"{'PASSED' if not problems else 'FAILED'}: {rolled} of {len(devices)} devices rolled {times},"
        f" {refused} refused connects, {long_gaps} gaps over {GAP_ALLOWED_S:g} s, in {duration:.0f} s"
    )
    return {
        "passed": not problems,
        "verdict": verdict,
        "devices": len(devices),
        "rolled_twice": sum(_rolled(device, 2) for device in devices),
        "refused_connects": refused,
        "gaps_over_2s": long_gaps,
        "longest_gap_s": max((gap for gap in gaps if gap is not None), default=None),
        "registrations": sum(device["registrations"] for device in devices),
        "started_at": datetime.fromtimestamp(played.began, UTC).isoformat(timespec="seconds"),
        "duration_s": round(duration, 2),
    }


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

    from local.rehearse.picture import describe, picture

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["gap"] = gap_text
    template = environment.from_string(TEMPLATE.read_text())
    # The picture is SVG made here; matplotlib escapes the names in it.
    return template.render(report=report, picture=Markup(picture(report)), description=describe(report))  # noqa: S704
