"""`python -m local rehearse`."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from local.rehearse.scenario import UnknownScenario, load

DEFAULT = "expiry"
INTERRUPTED = 130
PLAIN_WIDTH = 120


def rehearse(
    scenario: Annotated[str, typer.Argument(help="What to play.")] = DEFAULT,
    net: Annotated[str, typer.Option(help="The loopback net: the first three numbers of every address.")] = "127.0.0",
    output: Annotated[Path, typer.Option(help="Where report and logs go.")] = Path("rehearsal"),
) -> None:
    """Rehearse on this computer: real certificates, TLS, MQTT, device SDKs, queues and tables."""
    # The other commands must not wait for the SDKs.
    try:
        chosen = load(scenario)
    except UnknownScenario as error:
        typer.echo(f"rehearse: {error}", err=True)
        raise typer.Exit(2) from None
    from rich.console import Console

    from local.rehearse.fleet_screen import FleetScreen
    from local.rehearse.play import DEVICES_LOG, LOG, play
    from local.rehearse.report import MANY, write_report
    from local.rehearse.running import StartFailed
    from local.rehearse.screen import LiveScreen, PlainScreen, Screen, show_report

    plain = not sys.stdout.isatty() or os.environ.get("CI", "").lower() in ("1", "true")
    console = Console(width=PLAIN_WIDTH, color_system=None, highlight=False) if plain else Console(highlight=False)

    def make_screen(fleet: Mapping[str, str]) -> Screen:
        if plain:
            return PlainScreen(console, chosen.title)
        if len(fleet) > MANY:
            return FleetScreen(console, chosen.title, list(fleet))
        return LiveScreen(console, chosen.title, fleet)

    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        output.mkdir(parents=True, exist_ok=True)
        report = play(chosen, net, output, make_screen)
        files = write_report(report, output)
        if not report["summary"]["passed"]:
            files += [output / LOG, output / DEVICES_LOG]
    except KeyboardInterrupt:
        typer.echo("rehearse: stopped; no report was written", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (StartFailed, OSError) as error:
        typer.echo(f"rehearse: {error}", err=True)
        raise typer.Exit(1) from None
    show_report(console, report, files)
    raise typer.Exit(0 if report["summary"]["passed"] else 1)


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Ended from outside is ended like by Ctrl-C: everything that was started is stopped."""
    raise KeyboardInterrupt
