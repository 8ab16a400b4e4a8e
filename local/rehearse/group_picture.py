"""The timeline of a report about a group: how many devices are on which CA, and a lane for each name of the forger."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from local.rehearse.group_roll import BREACH
from local.rehearse.picture import (
    CERTIFICATES,
    CONFIRMED,
    CONTAINED,
    INK,
    REFUSED,
    THIEF,
    Row,
    draw_phases,
    draw_row,
    drawing,
    written,
)
from local.rehearse.report import took_text

OLD, NEW = CERTIFICATES[0], CERTIFICATES[1]


def describe_group(report: Mapping[str, Any]) -> str:
    """The picture in words, for who does not see it."""
    group, summary = report["group"], report["summary"]
    phases = ", ".join(f"{one['name']} from {one['began_s']:.0f} s" for one in report["phases"])
    said = (
        f"Timeline of {group['devices']} devices over {summary['duration_s']:.0f} seconds: how many have a session with"
        f" the hub by a leaf of the old CA, and how many by one of the new. At the end {group['moved']} moved and"
        f" {group['lost']} are lost; the last one had moved after {took_text(group['recovered_s'])}."
    )
    if thief := group["thief"]:
        said += (
            f" A forger has a lane for each of {len(thief['names'])} names: thrown out {took_text(group['evicted_s'])}"
            f" after the call, refused {thief['dps_refused']} times by DPS and {thief['hub_refused']} times by the hub."
        )
    return f"{said} Phases: {phases}."


def group_picture(report: Mapping[str, Any]) -> str:
    """The `<svg>` element."""
    group = report["group"]
    rows = _forgers(group)
    with drawing():
        figure = Figure(figsize=(10, 4.2 + 0.5 * len(rows)), layout="constrained")
        axes, *below = _panels(figure, len(rows))
        draw_phases(axes, report)
        _devices(axes, group, report["summary"]["duration_s"])
        for panel in below:
            for number, row in enumerate(rows):
                draw_row(panel, number, row)
            panel.set_yticks(range(len(rows)), [row.name for row in rows])
            panel.set_ylim(len(rows) - 0.4, -0.75)
        for panel in (axes, *below):
            _calls(panel, group)
            _frame(panel, report)
        figure.axes[-1].set_xlabel("seconds since the start (real time); dates are what the clock of the stand-in said")
        _legend(figure, group, rows)
        return written(figure)


def _panels(figure: Figure, rows: int) -> list[Axes]:
    if not rows:
        return [figure.add_subplot()]
    return list(figure.subplots(2, 1, sharex=True, height_ratios=[5, 0.7 * rows]))


def _forgers(group: Mapping[str, Any]) -> list[Row]:
    names = group["thief"]["names"] if group["thief"] else {}
    rows = []
    for name, lane in names.items():
        colours = {one["sha256"]: REFUSED for one in lane["sessions"]}
        rows.append(Row(f"forger as {name}", [lane], colours, is_thief=True))
    return rows


def _devices(axes: Axes, group: Mapping[str, Any], until: float) -> None:
    """Old below, new above it; what is missing to the top has no session."""
    curve = group["curve"] or [[0.0, 0, 0]]
    at, old, new = [list(one) for one in zip(*[*curve, [until, *curve[-1][1:]]], strict=True)]
    both = [low + high for low, high in zip(old, new, strict=True)]
    axes.fill_between(at, old, step="post", color=OLD, lw=0, zorder=3)
    axes.fill_between(at, old, both, step="post", color=NEW, lw=0, zorder=3)
    axes.axhline(group["devices"], color=INK, lw=0.8, ls=":", zorder=4)
    axes.set_ylim(0, group["devices"] * 1.06)
    axes.set_ylabel("devices with a session")


def _calls(axes: Axes, group: Mapping[str, Any]) -> None:
    if group["plan"] != BREACH:
        return
    axes.axvline(group["began_at_s"], color=INK, lw=1.1, ls=CONFIRMED, zorder=6)
    if group["contained_s"] is not None:
        axes.axvline(group["began_at_s"] + group["contained_s"], color=INK, lw=1.1, ls=CONTAINED, zorder=6)


def _frame(axes: Axes, report: Mapping[str, Any]) -> None:
    axes.set_xlim(min((one["began_s"] for one in report["phases"]), default=0), report["summary"]["duration_s"])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _legend(figure: Figure, group: Mapping[str, Any], rows: Sequence[Row]) -> None:
    handles: list[Patch | Line2D] = [
        Patch(color=OLD, label="session by a leaf of the old CA"),
        Patch(color=NEW, label="session by a leaf of the new CA"),
    ]
    if rows:
        handles += [
            Patch(facecolor="none", edgecolor=REFUSED, hatch=THIEF, label="session of the forger"),
            Line2D([], [], ls="", marker="v", ms=5, mew=0, color=INK, label="registration at DPS"),
            Line2D([], [], ls="", marker="x", ms=6, mew=2, color=REFUSED, label="refused"),
        ]
    if group["plan"] == BREACH:
        handles += [
            Line2D([], [], color=INK, lw=1.1, ls=CONFIRMED, label="call confirmed"),
            Line2D([], [], color=INK, lw=1.1, ls=CONTAINED, label="contained"),
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False, fontsize=9)
