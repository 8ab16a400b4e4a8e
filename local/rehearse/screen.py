"""What a person sees while a rehearsal runs, and its closing table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from local.rehearse.fleet_screen import show_group
from local.rehearse.report import MANY, breaches_of, gap_text, took_text
from local.rehearse.screen_live import KeepsUp
from local.rehearse.screen_words import COLOURS, DOING, SHOWN_DIGITS, THE

SHOWN_PROBLEMS = 8
TOLD_DEVICES = 40
"""Lines about single devices that a log gets: of a fleet, one is like another."""


class Screen(Protocol):
    """What scenario, fleet and stage tell. Called from many threads."""

    def phase(self, name: str, clock: datetime) -> None:
        """A new part begins; `clock` is what the clock says now."""

    def progress(self, what: str, done: int, total: int) -> None:
        """How many devices have got where."""

    def device(self, name: str, event: str, fields: Mapping[str, Any]) -> None:
        """What a device says of itself."""

    def thief(self, name: str, what: str, service: str) -> None:
        """What becomes of the thief of a device's key, at "dps" or "hub"."""

    def rollover(self, name: str, status: str, next_step: str | None) -> None:
        """What the app says of a device's latest rollover."""

    def stop(self) -> None:
        """Nothing more comes."""


@dataclass
class _Row:
    fed_by: str
    certificates: list[str] = field(default_factory=list)
    doing: str = "switched off"
    last: str | None = None
    rollover: str = ""
    thief: dict[str, str] = field(default_factory=dict)


class LiveScreen(KeepsUp):
    """A table that keeps up, for a terminal."""

    def __init__(self, console: Console, title: str, fleet: Mapping[str, str]) -> None:
        self._rows = {name: _Row(fed_by) for name, fed_by in fleet.items()}
        super().__init__(console, title)

    def device(self, name: str, event: str, fields: Mapping[str, Any]) -> None:
        with self._lock:
            row = self._rows[name]
            sha256 = fields.get("sha256")
            if event == "connected" and sha256 and sha256 not in row.certificates:
                row.certificates.append(sha256)
            row.doing, row.last = DOING.get(event, event), sha256

    def thief(self, name: str, what: str, service: str) -> None:
        with self._lock:
            row = self._rows.setdefault(f"{name}, thief", _Row("stolen key"))
            row.thief = {**row.thief, service: what}
            said = ", ".join(f"{what} by {THE[service]}" for service, what in row.thief.items())
            row.doing = said.replace("refused", "REFUSED")

    def rollover(self, name: str, status: str, next_step: str | None) -> None:
        with self._lock:
            self._rows[name].rollover = f"{status}: {next_step}" if next_step else status

    def _picture(self) -> Group:
        table = Table(expand=False, box=None, padding=(0, 2, 0, 0))
        for title in ("device", "fed by", "certificates", "what it does", "its rollover"):
            table.add_column(title, no_wrap=True)
        with self._lock:
            for name, row in self._rows.items():
                doing = f"{row.doing} {row.last[:SHOWN_DIGITS]}" if row.last else row.doing
                style = "red" if "REFUSED" in doing else ""
                table.add_row(name, row.fed_by, prefixes(row.certificates), Text(doing, style), row.rollover)
            head = Text.assemble((self._title, "bold"), "\n", self._phase)
            return Group(head, table, Text(self._progress, "dim"))


class PlainScreen:
    """Lines, for a log."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._last = ""
        self._told: set[str] = set()
        self._about_devices = 0
        console.print(title)

    def phase(self, name: str, clock: datetime) -> None:
        self._console.print(f"{name}: the clock says {clock:%Y-%m-%d %H:%M} UTC")

    def progress(self, what: str, done: int, total: int) -> None:
        line = f"  {what}: {done} of {total}"
        if line != self._last:
            self._last = line
            self._console.print(line)

    def device(self, name: str, event: str, fields: Mapping[str, Any]) -> None:
        if event not in ("refused", "unreachable", "rolled_back"):
            return
        self._about_devices += 1
        if self._about_devices <= TOLD_DEVICES:
            self._once(f"  {name}: {event}: {fields.get('why', '')}")
        else:
            self._once("  and so on; the report tells all")

    def thief(self, name: str, what: str, service: str) -> None:
        self._once(f"  thief with the key of {name}: {what} by {THE[service]}")

    def _once(self, line: str) -> None:
        """What goes on and on is told once: the counts are in the report."""
        if line not in self._told:
            self._told.add(line)
            self._console.print(line)

    def rollover(self, name: str, status: str, next_step: str | None) -> None:
        if status in ("refused", "needs_person"):
            self._console.print(f"  {name}: its rollover is {status} at {next_step}")

    def stop(self) -> None:
        """Nothing is held back."""


def prefixes(thumbprints: list[str]) -> Text:
    """The first digits of each thumbprint, each certificate in its own colour."""
    text = Text()
    for number, thumbprint in enumerate(thumbprints):
        text.append(" → " if number else "")
        text.append(thumbprint[:SHOWN_DIGITS], COLOURS[number % len(COLOURS)])
    return text


def show_report(console: Console, report: Mapping[str, Any], files: list[Path]) -> None:
    """The closing tables, the verdict in one line, and where the reports are."""
    if len(report["devices"]) <= MANY:
        _show_devices(console, report)
    if breaches := breaches_of(report):
        _show_breaches(console, breaches)
    if report["group"]:
        show_group(console, report["group"])
    if report["events"]:
        _show_events(console, report["events"])
    summary = report["summary"]
    style = "bold green" if summary["passed"] else "bold red"
    console.print(Text(summary["verdict"], style), soft_wrap=True)
    problems = report["problems"]
    for problem in problems[:SHOWN_PROBLEMS]:
        console.print(f"  {problem}", style="red", markup=False, soft_wrap=True)
    if len(problems) > SHOWN_PROBLEMS:
        console.print(f"  and {len(problems) - SHOWN_PROBLEMS} more in the report", style="red")
    for file in files:
        console.print(f"  {file}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _show_devices(console: Console, report: Mapping[str, Any]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), caption_justify="left")
    table.add_column("device", no_wrap=True)
    table.add_column("certificates (SHA-256), old → new", no_wrap=True)
    for title in ("rollovers", "registrations", "refused", "longest gap"):
        table.add_column(title, justify="right", no_wrap=True)
    for device in report["devices"]:
        refused = device["refused_connects"]
        table.add_row(
            device["registration_id"],
            prefixes(device["thumbprints"]),
            str(device["rollovers"]),
            str(device["registrations"]),
            Text(str(refused), "bold red" if refused else ""),
            gap_text(device["longest_gap_s"]),
        )
    console.print(table)
    console.print()


def _show_breaches(console: Console, breaches: Sequence[Mapping[str, Any]]) -> None:
    """A table of stolen keys; the times are counted from the call that confirmed."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("stolen key", no_wrap=True)
    table.add_column("mode", no_wrap=True)
    titles = ("door shut", "evicted", "contained", "device back", "thief refused", "let in", "twin")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for one in breaches:
        thief = one["thief"]
        let_in = thief["accepted_after"]
        table.add_row(
            one["registration_id"],
            one["mode"],
            *(took_text(one[name]) for name in ("door_shut_s", "evicted_s", "verified_s", "recovered_s")),
            f"{thief['dps_refused']} DPS, {thief['hub_refused']} hub",
            Text(str(let_in), "bold red" if let_in else ""),
            Text("restored" if one["twin_restored"] else "LOST", "" if one["twin_restored"] else "bold red"),
        )
    console.print(table)
    console.print()


def _show_events(console: Console, events: Mapping[str, Any]) -> None:
    """What became of the vault's events, and of the certificates that they were about."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("events", "dropped", "delivered", "out of order", "rolled once"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("begun by", no_wrap=True)
    once, certificates = events["rolled_once"], events["certificates"]
    table.add_row(
        *(str(events[name]) for name in ("sent", "dropped", "delivered", "out_of_order")),
        Text(f"{once} of {certificates}", "" if once == certificates else "bold red"),
        ", ".join(f"{who}: {times}" for who, times in events["begun_by"].items()),
    )
    console.print(table)
    console.print()
