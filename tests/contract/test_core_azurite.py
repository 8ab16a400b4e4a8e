"""Azurite as the tests start it, with the real storage clients."""

from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueClient

from tests.contract.reasons import OURS

pytestmark = OURS


def test_queues_and_tables_work(azurite: str) -> None:
    queue = QueueClient.from_connection_string(azurite, "contract")
    queue.create_queue()
    queue.send_message("nudge")
    assert queue.receive_message().content == "nudge"
    queue.delete_queue()
    table = TableServiceClient.from_connection_string(azurite).create_table("contract")
    table.create_entity({"PartitionKey": "a", "RowKey": "b", "n": 1})
    assert table.get_entity("a", "b")["n"] == 1
    table.delete_table()
