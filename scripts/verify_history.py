"""Verifies that nobody edited the ledger's history.

    python -m scripts.verify_history [--registration-id ID] [--anchors FILE]

Reads the table that the application settings in the environment name: the connection string `RolloverStorage`, or
`RolloverStorage__tableServiceUri` with whatever identity is found (reading the table is all it needs: Storage
Table Data Reader). FILE holds lifecycle CloudEvents as JSON, one a line, as a subscriber of the topic kept them;
with it even a history that was written anew as a whole is noticed (docs/decisions/0008-history-is-chained.md).

One line for each target with a break, then one with totals. Exit code 0: clean; 1: broken; 2: could not be read.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from shared.chain import Anchors, Verified, verify
from shared.errors import BadInput, Misconfigured, RolloverError
from shared.ledger import Row, Table, split_id
from shared.rollover import individual_partition
from shared.settings import STORAGE

BROKEN, UNREADABLE = 1, 2
LOOKS = 5


def verify_all(table: Table, anchors: Anchors, registration_id: str | None = None) -> Iterator[Verified]:
    """Every target of the table, and those that only anchors know of; or the one target."""
    unseen = {rollover_id.rpartition(".")[0] for rollover_id in anchors}
    if registration_id is None:
        # A table gives its rows by partition, then by key (azure-docs: Query timeout and pagination).
        for partition, found in groupby(table.scan(""), key=lambda row: str(row[0]["PartitionKey"])):
            rows = [row for row, _ in found]
            if any(row["RowKey"] == "target" or row["RowKey"].startswith(("rollover.", "history.")) for row in rows):
                unseen.discard(partition)
                yield _settled(table, partition, rows, anchors)
    else:
        unseen = {individual_partition(registration_id)}
    for partition in sorted(unseen):
        yield _settled(table, partition, _rows(table, partition), anchors)


def _rows(table: Table, partition: str) -> list[Row]:
    return [row for row, _ in table.scan("", partition=partition)]


def _settled(table: Table, partition: str, rows: list[Row], anchors: Anchors) -> Verified:
    """What two looks agree on: a record that is written between two pages of one look is no break."""
    found = verify(partition, rows, anchors)
    for _ in range(LOOKS):
        if found.first_break is None:
            break
        before, found = found, verify(partition, _rows(table, partition), anchors)
        if found.first_break == before.first_break:
            break
    return found


def read_anchors(text: str) -> Anchors:
    """The anchors in lifecycle CloudEvents, one a line; events of a release without heads say nothing.

    Raises:
        ValueError: a line is no CloudEvent, with its number.
    """
    anchors: dict[str, set[tuple[int, str]]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)["data"]
            if "historyHead" in data:
                partition, rollover = split_id(data["rolloverId"])
                said = int(data["historyRecords"]), str(data["historyHead"])
                anchors.setdefault(f"{partition}.{rollover}", set()).add(said)
        except (BadInput, ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"line {number} is no lifecycle event") from None
    return anchors


def open_table(environment: Mapping[str, str]) -> Table:
    """The ledger's table, as the settings name it.

    Raises:
        Misconfigured: they do not name one.
    """
    # Imported here: a wrong call is answered without waiting for the SDKs.
    from azure.data.tables import TableServiceClient
    from azure.identity import DefaultAzureCredential

    from shared.clients.storage import TABLE, StoredTable

    connection = environment.get(STORAGE) or environment.get(f"AzureWebJobs{STORAGE}")
    url = environment.get(f"{STORAGE}__tableServiceUri")
    if not connection and not url:
        raise Misconfigured(f"neither {STORAGE} nor {STORAGE}__tableServiceUri is set")
    try:
        if connection:
            service = TableServiceClient.from_connection_string(connection)
        else:
            credential = DefaultAzureCredential(managed_identity_client_id=environment.get("AZURE_CLIENT_ID"))
            service = TableServiceClient(str(url), credential=credential)
    except ValueError:
        # The SDK's own words may repeat the setting, which holds a key.
        which = STORAGE if connection else f"{STORAGE}__tableServiceUri"
        raise Misconfigured(f"{which} cannot be understood") from None
    return StoredTable(service.get_table_client(TABLE))


def run(table: Table, anchors: Anchors, registration_id: str | None = None) -> int:
    """Print what is broken and the totals; the exit code."""
    found = []
    for one in verify_all(table, anchors, registration_id):
        found.append(one)
        if (broken := one.first_break) is not None:
            target = one.partition.partition(".")[2]
            record = f"record {broken.record}" if broken.record else "itself"
            typer.echo(f"BROKEN {target}: {broken.rollover_id}, {record}: {broken.what}")
    if not any(one.rollovers or one.first_break for one in found):
        _say("no history was found; look whether it is this storage account, and this registration ID")
        return UNREADABLE
    breaks = sum(one.first_break is not None for one in found)
    typer.echo(
        f"{'BROKEN' if breaks else 'clean'}: {len(found)} targets, {breaks} broken;"
        f" {sum(one.rollovers for one in found)} rollovers, {sum(one.covered for one in found)} records covered,"
        f" {sum(sum(one.older.values()) for one in found)} older than hashes,"
        f" {sum(one.anchored for one in found)} anchors hold"
    )
    return BROKEN if breaks else 0


def main(
    registration_id: Annotated[str | None, typer.Option(help="Only this device's history.")] = None,
    anchors: Annotated[Path | None, typer.Option(help="Lifecycle CloudEvents, one JSON object a line.")] = None,
) -> None:
    """Verify that nobody edited the ledger's history."""
    logging.getLogger("azure").setLevel(logging.CRITICAL)  # what fails is said here, in one line
    code = UNREADABLE
    try:
        kept = read_anchors(anchors.read_text("utf-8")) if anchors else {}
        code = run(open_table(os.environ), kept, registration_id)
    except Misconfigured as error:
        _say(f"{error}; set what local.settings.example.json shows")
    except RolloverError as error:
        _say(
            f"the table cannot be read: {error}; look at its address, at who is signed in and at the role"
            " Storage Table Data Reader"
        )
    except OSError as error:
        _say(f"the anchors cannot be read: {error.strerror}; look at the path")
    except ValueError as error:
        _say(f"the anchors cannot be read: {error}; export the events as JSON, one a line")
    raise typer.Exit(code)


def _say(text: str) -> None:
    typer.echo(f"verify_history: {' '.join(text.split())}", err=True)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
