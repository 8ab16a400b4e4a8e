"""The storage account: the ledger's table and the nudges' queues (azure-data-tables, azure-storage-queue)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient, TableServiceClient, UpdateMode
from azure.storage.queue import QueueClient, QueueServiceClient, TextBase64EncodePolicy

from shared.clients.answers import answers_of
from shared.clients.limits import LIMITS, Limits
from shared.errors import NotFound
from shared.ledger import Row, Write
from shared.nudges import Nudges, encode_nudge, visibility_seconds
from shared.plans import Step
from shared.settings import Settings

TABLE = "rollovers"
FLEETS = "fleets"
NEVER = -1


def open_storage(
    settings: Settings, credential: TokenCredential, limits: Limits = LIMITS
) -> tuple["StoredTable", "StoredTable", Nudges]:
    """The ledger's table, that of the works on fleets, and the queues: by connection string or by identity, whichever
    the settings hold."""
    if settings.storage_connection:
        tables = TableServiceClient.from_connection_string(settings.storage_connection, **limits.of_tables())
        queues = QueueServiceClient.from_connection_string(settings.storage_connection, **limits.of_queues())
    else:
        tables = TableServiceClient(str(settings.table_url), credential=credential, **limits.of_tables())
        queues = QueueServiceClient(str(settings.queue_url), credential=credential, **limits.of_queues())
    ledger, fleets = (StoredTable(tables.get_table_client(name)) for name in (TABLE, FLEETS))
    return ledger, fleets, QueuedNudges(queues)


class StoredTable:
    """A table. Made when it is not there."""

    def __init__(self, client: TableClient) -> None:
        self._client = client

    def read(self, partition: str, row: str) -> tuple[Row, str] | None:
        """One row with its ETag."""
        try:
            with answers_of("table", f"GET {partition}/{row}"):
                found = self._client.get_entity(partition, row)
        except NotFound:
            return None
        return dict(found), str(found.metadata["etag"])

    def commit(self, writes: Sequence[Write]) -> list[str]:
        """Write rows of one partition, all or none; the new ETags in order.

        Raises:
            Conflict: a row exists already, or is not the one that was read.
        """
        try:
            with answers_of("table", f"write of {writes[0].row['PartitionKey']}"):
                return self._submit(writes)
        except NotFound:
            with answers_of("table", "its creation"):
                self._create()
            with answers_of("table", f"write of {writes[0].row['PartitionKey']}"):
                return self._submit(writes)

    def _create(self) -> None:
        with suppress(ResourceExistsError):
            self._client.create_table()

    def _submit(self, writes: Sequence[Write]) -> list[str]:
        operations: list[Any] = []
        for write in writes:
            if write.etag is None:
                operations.append(("create", write.row))
            else:
                options: Mapping[str, Any] = {
                    "mode": UpdateMode.MERGE if write.merge else UpdateMode.REPLACE,
                    "etag": write.etag,
                    "match_condition": MatchConditions.IfNotModified,
                }
                operations.append(("update", write.row, options))
        answers = self._client.submit_transaction(operations)
        return [str(answer["etag"]) for answer in answers]

    def scan(
        self,
        prefix: str,
        *,
        partition: str | None = None,
        due: str | None = None,
        is_open: bool = False,
        given_up: str | None = None,
        after: str = "",
        equal: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[tuple[Row, str]]:
        """Rows by key prefix, page after page, with ETags."""
        parts = []
        values: dict[str, Any] = {}
        if partition is not None:
            parts.append("PartitionKey eq @partition")
            values["partition"] = partition
        if after:
            parts.append("PartitionKey gt @after")
            values["after"] = after
        if prefix:
            parts.append("RowKey ge @first and RowKey lt @beyond")
            values["first"] = prefix
            values["beyond"] = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        if due is not None:
            # The SDK replaces a parameter only where blanks stand on both sides of it.
            parts.append("( ( open eq true and due_at le @due ) or unpublished eq true )")
            values["due"] = due
        if is_open:
            parts.append("open eq true")
        if given_up is not None:
            parts.append("plan eq @plan and open eq false and status ne 'done' and status ne 'preempted'")
            values["plan"] = given_up
        for column, value in equal.items():
            parts.append(f"{column} eq @{column}")
            values[column] = value
        yield from self._query(parts, values, None)

    def slice(
        self,
        partition: str,
        first: str,
        beyond: str,
        *,
        columns: Sequence[str] | None = None,
        due: str | None = None,
        is_open: bool = False,
    ) -> Iterator[tuple[Row, str]]:
        """Rows of a partition from key ``first`` to before ``beyond``, page after page, with ETags."""
        parts = ["PartitionKey eq @partition and RowKey ge @first and RowKey lt @beyond"]
        values: dict[str, Any] = {"partition": partition, "first": first, "beyond": beyond}
        if due is not None or is_open:
            parts.append("open eq true")
        if due is not None:
            parts.append("due_at gt '' and due_at le @due")
            values["due"] = due
        yield from self._query(parts, values, columns)

    def _query(
        self, parts: Sequence[str], values: Mapping[str, Any], columns: Sequence[str] | None
    ) -> Iterator[tuple[Row, str]]:
        try:
            with answers_of("table", "a query"):
                query = " and ".join(parts)
                for found in self._client.query_entities(
                    query, parameters=dict(values), select=list(columns) if columns else None
                ):
                    yield dict(found), str(found.metadata["etag"])
        except NotFound:
            return


class QueuedNudges:
    """One queue per step. Made when it is not there."""

    def __init__(self, queues: QueueServiceClient) -> None:
        self._queues = queues

    def send(self, step: Step, rollover_id: str, delay: timedelta = timedelta(), life: timedelta | None = None) -> None:
        """Wake ``step`` after ``delay``. Without ``life`` a message never expires: it may outlive any outage.

        Base64, because that is what the queue trigger reads (azure-docs functions-bindings-storage-queue).

        Raises:
            ServiceUnavailable, ServiceRefused.
        """
        queue = self._queues.get_queue_client(step.queue, message_encode_policy=TextBase64EncodePolicy())
        with answers_of("queue", f"a message to {step.queue}"):
            try:
                _send(queue, rollover_id, delay, life)
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):
                    queue.create_queue()
                _send(queue, rollover_id, delay, life)


def _send(queue: QueueClient, rollover_id: str, delay: timedelta, life: timedelta | None) -> None:
    queue.send_message(
        encode_nudge(rollover_id),
        visibility_timeout=visibility_seconds(delay),
        time_to_live=int(life.total_seconds()) if life else NEVER,
    )
