"""The timeline of a report: a lane for each device, as SVG to stand in a page, readable on light and dark."""

import io
import logging
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

# Okabe and Ito's colours, which people with any colour vision can tell apart, on white and on black.
CERTIFICATES = ("#3b8fd0", "#e69f00", "#1fa67a", "#cc79a7")
REFUSED = "#d55e00"
# Colours that mean "the page's own", put in place after drawing.
INK, FAINT = "#010203", "#040506"
PAGE = {INK: "currentColor", FAINT: "var(--faint)"}
MARK_ABOVE = 0.36


def describe(report: Mapping[str, Any]) -> str:
    """The picture in words, for who does not see it."""
    summary = report["summary"]
    phases = ", ".join(f"{one['name']} from {one['began_s']:.0f} s" for one in report["phases"])
    gap = summary["longest_gap_s"]
    return (
        f"Timeline of {summary['devices']} devices over {summary['duration_s']:.0f} seconds, one lane each."
        f" Bars are sessions with the hub, in the colour of the certificate. {summary['registrations']} registrations"
        f" and {summary['refused_connects']} refused connects are marked."
        f" Longest gap between sessions: {'unknown' if gap is None else f'{gap:.2f} seconds'}. Phases: {phases}."
    )


def picture(report: Mapping[str, Any]) -> str:
    """The `<svg>` element."""
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
        figure = Figure(figsize=(10, 1.5 + 0.36 * len(report["devices"])), layout="constrained")
        axes = figure.add_subplot()
        _phases(axes, report)
        certificates = [_lane(axes, row, device) for row, device in enumerate(report["devices"])]
        _frame(axes, report)
        _legend(figure, max(certificates, default=1), refused=bool(report["summary"]["refused_connects"]))
        written = io.StringIO()
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None, "Creator": None})
    return _for_page(written.getvalue())


def _phases(axes: Axes, report: Mapping[str, Any]) -> None:
    for number, phase in enumerate(report["phases"]):
        began, ended = phase["began_s"], phase["began_s"] + phase["duration_s"]
        if number % 2:
            axes.axvspan(began, ended, color=FAINT, alpha=0.28, lw=0, zorder=0)
        axes.axvline(began, color=FAINT, lw=0.9, zorder=1)
        clock = datetime.fromisoformat(phase["clock"])
        label = f"{phase['name']}\n{clock:%Y-%m-%d}"
        axes.annotate(
            label,
            (began, 1.0),
            (3, 4 + 26 * (number % 2)),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="bottom",
        )


def _lane(axes: Axes, row: int, device: Mapping[str, Any]) -> int:
    """Draw one device; gives the number of certificates it used."""
    order = {sha256: number for number, sha256 in enumerate(dict.fromkeys(device["thumbprints"]))}
    for session in device["sessions"]:
        colour = CERTIFICATES[order[session["sha256"]] % len(CERTIFICATES)]
        width = max(session["ended_s"] - session["began_s"], 0.02)
        axes.barh(row, width, left=session["began_s"], height=0.46, color=colour, lw=0, zorder=3)
    registered = device["registered_at_s"]
    axes.plot(registered, [row - MARK_ABOVE] * len(registered), "v", ms=4.5, color=INK, mew=0, zorder=4)
    refused = [one["at_s"] for one in device["refusals"]]
    axes.plot(refused, [row] * len(refused), "x", ms=8, mew=2.2, color=REFUSED, zorder=5)
    return len(order)


def _frame(axes: Axes, report: Mapping[str, Any]) -> None:
    devices = report["devices"]
    axes.set_yticks(range(len(devices)), [device["registration_id"] for device in devices])
    axes.set_ylim(len(devices) - 0.4, -0.75)
    axes.set_xlim(min((one["began_s"] for one in report["phases"]), default=0), report["summary"]["duration_s"])
    axes.set_xlabel("seconds since the start (real time); dates are what the clock of the stand-in said")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _legend(figure: Figure, certificates: int, *, refused: bool) -> None:
    names = ("first certificate", "second certificate", "third certificate", "fourth certificate")
    handles: list[Patch | Line2D] = [
        Patch(color=colour, label=f"session, {name}")
        for colour, name in zip(CERTIFICATES[:certificates], names, strict=False)
    ]
    handles.append(Line2D([], [], ls="", marker="v", ms=5, mew=0, color=INK, label="registration at DPS"))
    name = "refused connect" if refused else "refused connect (none)"
    handles.append(Line2D([], [], ls="", marker="x", ms=7, mew=2, color=REFUSED, label=name))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)


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
