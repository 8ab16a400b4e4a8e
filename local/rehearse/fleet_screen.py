"""What a person sees of a rehearsal with hundreds of devices: counts, and not a line for each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from local.rehearse.group_roll import BREACH
from local.rehearse.report import gap_text, took_text
from local.rehearse.screen_live import KeepsUp
from local.rehearse.screen_words import COLOURS, DOING, SHOWN_DIGITS, THE

BAR = 60
"""Characters for the whole fleet."""


class FleetScreen(KeepsUp):
    """A picture that keeps up, for a terminal: who is on which generation of certificates, and what the others do."""

    def __init__(self, console: Console, title: str, fleet: Sequence[str]) -> None:
        self._used: dict[str, list[str]] = {name: [] for name in fleet}
        self._doing = dict.fromkeys(fleet, "switched off")
        self._thieves: dict[str, dict[str, str]] = {}
        self._app: dict[str, str] = {}
        super().__init__(console, title)

    def device(self, name: str, event: str, fields: Mapping[str, Any]) -> None:
        with self._lock:
            sha256 = fields.get("sha256")
            if event == "connected" and sha256 and sha256 not in self._used[name]:
                self._used[name].append(sha256)
            self._doing[name] = event

    def thief(self, name: str, what: str, service: str) -> None:
        with self._lock:
            self._thieves.setdefault(name, {})[service] = what

    def rollover(self, name: str, status: str, next_step: str | None) -> None:
        with self._lock:
            self._app[name] = f"{status}: {next_step}" if next_step else status

    def _picture(self) -> Group:
        with self._lock:
            on = ("connected", "swapped", "method")
            generations = Counter(len(used) for name, used in self._used.items() if used and self._doing[name] in on)
            others = Counter(DOING.get(event, event) for event in self._doing.values() if event not in on)
            lines = [Text.assemble((self._title, "bold"), "\n", self._phase), self._bar(generations)]
            lines += [Text(f"  {count:4}  {what}", _style(what)) for what, count in sorted(others.items())]
            for name, told in self._thieves.items():
                said = ", ".join(f"{what} by {THE[service]}" for service, what in told.items())
                lines.append(Text(f"forger as {name}: {said}", _style(said)))
            lines += [Text(f"the app, {name}: {said}") for name, said in self._app.items()]
            return Group(*lines, Text(self._progress, "dim"))

    def _bar(self, generations: Mapping[int, int]) -> Text:
        total = len(self._used)
        bar = Text()
        for generation, count in sorted(generations.items()):
            bar.append("█" * round(BAR * count / total), COLOURS[(generation - 1) % len(COLOURS)])
        bar.append("░" * max(0, BAR - len(bar)), "dim")
        told = ", ".join(f"{count} on certificate {generation}" for generation, count in sorted(generations.items()))
        return bar.append(f"  {told or 'nobody connected'}, of {total}")


def _style(said: str) -> str:
    return "red" if "refused" in said.lower() else ""


def show_group(console: Console, group: Mapping[str, Any]) -> None:
    """The closing table of a group; times count from the call that confirmed, or from the new version in the vault."""
    breach = group["plan"] == BREACH
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("group", "CA (SHA-256), old → new"):
        table.add_column(title, no_wrap=True)
    titles = (
        ("door shut", "evicted", "contained", "all back")
        if breach
        else ("waves", "refused", "longest gap", "all moved")
    )
    for title in ("devices", "moved", "lost", *titles):
        table.add_column(title, justify="right", no_wrap=True)
    lost, incoming = group["lost"], group["incoming"] or "none"
    if breach:
        evicted = f"{group['evicted']} in {took_text(group['evicted_s'])}"
        shown = [took_text(group["door_shut_s"]), evicted, took_text(group["contained_s"])]
    else:
        shown = [str(len(group["waves"])), str(group["refused_connects"]), gap_text(group["longest_gap_s"])]
    table.add_row(
        group["group"],
        f"{group['outgoing'][:SHOWN_DIGITS]} → {incoming[:SHOWN_DIGITS]}",
        str(group["devices"]),
        str(group["moved"]),
        Text(str(lost), "bold red" if lost else ""),
        *shown,
        took_text(group["recovered_s"]),
    )
    console.print(table)
    if thief := group["thief"]:
        for name, one in thief["names"].items():
            console.print(
                f"forger as {name}: refused by DPS {one['dps_refused']}, by the hub {one['hub_refused']} times"
            )
        let_in = thief["accepted_after"]
        console.print(Text(f"let in after contained: {let_in} times", "bold red" if let_in else ""))
    console.print()
