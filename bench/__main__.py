"""`make bench`: what the product costs beside the least that a script can do, in one run.

Rolling N enrollments: the product (events to done) against a plain script with the minimal SDK calls, one after
another and with asyncio. Shutting the door of a breach: from the confirmation on, against the raw calls. Importing:
`function_app` against the SDKs that it does not import until they are needed.
"""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.breaching import measure_door
from bench.importing import measure_imports
from bench.rolling import Measured, measure_rolling


def main(enrollments: Annotated[int, typer.Option(help="How many enrollments are rolled in each way.")] = 200) -> None:
    """Measure and print."""
    console = Console(width=110)
    imports = measure_imports()
    table = Table(title="import time (median of 7 fresh processes, interpreter start taken off)")
    for column in ("what", "seconds", "ratio"):
        table.add_column(column, justify="left" if column == "what" else "right")
    table.add_row("function_app", f"{imports.app_s:.3f}", f"{imports.app_s / imports.sdks_s:.2f}")
    table.add_row("the SDKs it uses", f"{imports.sdks_s:.3f}", "1.00")
    console.print(table)

    doors = measure_door(min(enrollments, 30))
    table = Table(title="the door at DPS is shut, seconds from the call on")
    for column in ("way", "median", "worst", "ratio of medians"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for door in doors:
        ratio = door.median_s / doors[0].median_s
        table.add_row(door.way, f"{door.median_s:.3f}", f"{door.worst_s:.3f}", f"{ratio:.1f}")
    console.print(table)

    rolled = measure_rolling(enrollments)
    table = Table(title=f"rolling {enrollments} enrollments on the stand-in, quotas lifted")
    for column in ("way", "seconds", "requests", "per rollover", "time / script", "requests / script"):
        table.add_column(column, justify="left" if column == "way" else "right")
    script = rolled[0]
    for one in rolled:
        _add(table, one, script, enrollments)
    console.print(table)
    console.print("requests: to DPS, hub, vault and topic, as the stand-in counted them; storage is not counted")


def _add(table: Table, one: Measured, script: Measured, enrollments: int) -> None:
    table.add_row(
        one.way,
        f"{one.seconds:.1f}",
        str(one.requests),
        f"{one.requests / enrollments:.1f}",
        f"{one.seconds / script.seconds:.2f}",
        f"{one.requests / script.requests:.2f}",
    )


if __name__ == "__main__":
    typer.run(main)
