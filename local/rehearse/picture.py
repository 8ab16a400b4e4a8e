"""The timeline of a report, as SVG to stand in a page, readable on light and dark: a lane for each device and thief."""

import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from local.rehearse.report import breaches_of, took_text

# Okabe and Ito's colours, which people with any colour vision can tell apart, on white and on black.
CERTIFICATES = ("#3b8fd0", "#e69f00", "#1fa67a", "#cc79a7")
REFUSED = "#d55e00"
# Colours that mean "the page's own", put in place after drawing.
INK, FAINT = "#010203", "#040506"
PAGE = {INK: "currentColor", FAINT: "var(--faint)"}
MARK_ABOVE = 0.36
THIEF = "/////"
# Where a thief's refusals stand in its lane, above and below its middle.
DOORS: Mapping[str, float] = {"dps": -0.2, "iothub": 0.2}
CONFIRMED, CONTAINED = "-", (0, (4, 2))
type Lane = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """What stands beside one another: a device's lanes, or a thief's."""

    name: str
    lanes: Sequence[Lane]
    colours: Mapping[str, str]
    """By certificate: a thief's is the stolen one's."""
    is_thief: bool = False


def describe(report: Mapping[str, Any]) -> str:
    """The picture in words, for who does not see it."""
    summary = report["summary"]
    phases = ", ".join(f"{one['name']} from {one['began_s']:.0f} s" for one in report["phases"])
    gap = summary["longest_gap_s"]
    return (
        f"Timeline of {summary['devices']} devices over {summary['duration_s']:.0f} seconds, one lane each."
        f" Bars are sessions with the hub, in the colour of the certificate. {summary['registrations']} registrations"
        f" and {summary['refused_connects']} refused connects are marked."
        f" Longest gap between sessions: {'unknown' if gap is None else f'{gap:.2f} seconds'}."
        f"{''.join(map(_breach_in_words, breaches_of(report)))} Phases: {phases}."
    )


def _breach_in_words(breach: Mapping[str, Any]) -> str:
    thief = breach["thief"]
    return (
        f" The key of {breach['registration_id']} is stolen, its thief has a lane of its own: thrown out"
        f" {took_text(breach['evicted_s'])} after the call, refused {thief['dps_refused']} times by DPS and"
        f" {thief['hub_refused']} times by the hub; the device is back after {took_text(breach['recovered_s'])}."
    )


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib as every picture here wants it."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "rollover",
        "font.family": "sans-serif",
        "font.size": 9.5,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with mpl.rc_context(style):
        yield


def written(figure: Figure) -> str:
    """The figure as an `<svg>` element for the page."""
    text = io.StringIO()
    FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    return _for_page(text.getvalue())


def picture(report: Mapping[str, Any]) -> str:
    """The `<svg>` element."""
    with drawing():
        rows = _rows(report)
        figure = Figure(figsize=(10, 1.7 + 0.36 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        draw_phases(axes, report)
        for number, row in enumerate(rows):
            draw_row(axes, number, row)
        _calls(axes, report, [row.name for row in rows])
        _frame(axes, report, rows)
        _legend(figure, report, rows)
        return written(figure)


def _rows(report: Mapping[str, Any]) -> list[Row]:
    breaches = {one["registration_id"]: one for one in breaches_of(report)}
    rows = []
    for device in report["devices"]:
        name = device["registration_id"]
        breach = breaches.get(name)
        used = [*device["thumbprints"], *(breach["device"]["thumbprints"] if breach else [])]
        colours = {one: CERTIFICATES[n % len(CERTIFICATES)] for n, one in enumerate(dict.fromkeys(used))}
        rows.append(Row(name, [device, breach["device"]] if breach else [device], colours))
        if breach:
            rows.append(Row(_thief_of(name), [breach["thief"]], colours, is_thief=True))
    return rows


def _thief_of(name: str) -> str:
    return f"thief of {name}"


def draw_phases(axes: Axes, report: Mapping[str, Any]) -> None:
    """The phases as stripes, their names and dates above."""
    before = ""
    for number, phase in enumerate(report["phases"]):
        began, ended = phase["began_s"], phase["began_s"] + phase["duration_s"]
        if number % 2:
            axes.axvspan(began, ended, color=FAINT, alpha=0.28, lw=0, zorder=0)
        axes.axvline(began, color=FAINT, lw=0.9, zorder=1)
        date = f"{datetime.fromisoformat(phase['clock']):%Y-%m-%d}"
        label = f"{phase['name']}\n{date if date != before else ''}"
        before = date
        axes.annotate(
            label,
            (began, 1.0),
            (3, 4 + 26 * (number % 2)),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="bottom",
        )


def draw_row(axes: Axes, number: int, row: Row) -> None:
    """Sessions as bars, registrations and refusals as marks."""
    for lane in row.lanes:
        for session in lane["sessions"]:
            colour = row.colours[session["sha256"]]
            width = max(session["ended_s"] - session["began_s"], 0.02)
            style: dict[str, Any] = {"color": colour, "lw": 0}
            if row.is_thief:
                style = {"facecolor": "none", "edgecolor": colour, "hatch": THIEF, "lw": 1}
            axes.barh(number, width, left=session["began_s"], height=0.46, zorder=3, **style)
        registered = lane["registered_at_s"]
        axes.plot(registered, [number - MARK_ABOVE] * len(registered), "v", ms=4.5, color=INK, mew=0, zorder=4)
        size = 3.5 if row.is_thief else 6
        for refusal in lane["refusals"]:
            at = number + (DOORS[refusal["service"]] if row.is_thief else 0)
            axes.plot(refusal["at_s"], at, "x", ms=size, mew=size / 3, color=REFUSED, zorder=5)


def _calls(axes: Axes, report: Mapping[str, Any], names: list[str]) -> None:
    """When the call was confirmed and when the app said contained, across the lanes of device and thief."""
    for breach in breaches_of(report):
        confirmed, verified = breach["confirmed_at_s"], breach["verified_s"]
        number = names.index(breach["registration_id"])
        marks = [
            (confirmed, CONFIRMED),
            (confirmed + verified if None not in (confirmed, verified) else None, CONTAINED),
        ]
        for at, style in marks:
            if at is not None:
                axes.vlines(at, number - 0.45, number + 1.45, color=INK, lw=1.1, ls=style, zorder=6)


def _frame(axes: Axes, report: Mapping[str, Any], rows: Sequence[Row]) -> None:
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.75)
    axes.set_xlim(min((one["began_s"] for one in report["phases"]), default=0), report["summary"]["duration_s"])
    axes.set_xlabel("seconds since the start (real time); dates are what the clock of the stand-in said")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _legend(figure: Figure, report: Mapping[str, Any], rows: Sequence[Row]) -> None:
    names = ("first certificate", "second certificate", "third certificate", "fourth certificate")
    certificates = max((len(row.colours) for row in rows), default=1)
    handles: list[Patch | Line2D] = [
        Patch(color=colour, label=f"session, {name}")
        for colour, name in zip(CERTIFICATES[:certificates], names, strict=False)
    ]
    handles.append(Line2D([], [], ls="", marker="v", ms=5, mew=0, color=INK, label="registration at DPS"))
    refused = any(lane["refusals"] for row in rows for lane in row.lanes)
    name = "refused" if refused else "refused (none)"
    handles.append(Line2D([], [], ls="", marker="x", ms=6, mew=2, color=REFUSED, label=name))
    if breaches_of(report):
        handles += [
            Patch(facecolor="none", edgecolor=INK, hatch=THIEF, label="session of a thief"),
            Line2D([], [], color=INK, lw=1.1, ls=CONFIRMED, label="call confirmed"),
            Line2D([], [], color=INK, lw=1.1, ls=CONTAINED, label="contained"),
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False, fontsize=9)


def _for_page(svg: str) -> str:
    """Without prologue, background and fixed size; in the page's own colours and fonts; hidden behind its name."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="patch_[12]">.*?</g>', "", svg, count=2, flags=re.DOTALL)
    svg = re.sub(r"'[^';\"]*(?:Sans|Vera|Grande|Verdana|Geneva|Lucid|Arial|Helvetica|Avant Garde)[^';\"]*', ", "", svg)
    for drawn, meant in PAGE.items():
        svg = svg.replace(drawn, meant)
    return svg.replace("<svg ", '<svg role="img" aria-labelledby="picture-text" ', 1)
