"""Azurite: Microsoft's own stand-in for Storage, for queues, tables and blobs, in memory."""

import asyncio
import os
import shutil
import socket
from pathlib import Path

from local.children import Child

BLOB, QUEUE, TABLE = 10000, 10001, 10002
READY_S = 60.0
ACCOUNT = "devstoreaccount1"
# The one account key that every Azurite in the world has (docs: "Use the Azurite emulator").
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class AzuriteMissing(Exception):
    """There is no Azurite on this machine; the text says how to get it."""


def connection_string(host: str) -> str:
    """How clients reach the Azurite on `host`."""
    endpoints = ((name, port) for name, port in (("Blob", BLOB), ("Queue", QUEUE), ("Table", TABLE)))
    urls = ";".join(f"{name}Endpoint=http://{host}:{port}/{ACCOUNT}" for name, port in endpoints)
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};{urls};"


def command(host: str) -> list[str]:
    """The command line; the copy beside the repository first, then the one on PATH. AzuriteMissing otherwise."""
    beside = Path(__file__).resolve().parents[1] / "node_modules" / ".bin" / "azurite"
    program = str(beside) if beside.exists() else shutil.which("azurite")
    if program is None:
        raise AzuriteMissing("Azurite is not installed: run `npm ci` in the repository.")
    hosts = [part for name in ("blob", "queue", "table") for part in (f"--{name}Host", host)]
    ports = ["--blobPort", str(BLOB), "--queuePort", str(QUEUE), "--tablePort", str(TABLE)]
    # Versions of the REST API newer than Azurite are taken as its newest: the SDKs are ahead of it.
    rest = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    return [program, *hosts, *ports, *rest]


async def start_azurite(host: str) -> Child:
    """Start Azurite on `host` and wait until all three services answer. OSError when a port is taken."""
    for port in (BLOB, QUEUE, TABLE):
        must_be_free(host, port)
    child = await Child.start("Azurite", command(host), os.environ)
    await child.ready(_all_answer(host), READY_S)
    return child


async def _all_answer(host: str) -> None:
    await asyncio.gather(*(_answers(host, port) for port in (BLOB, QUEUE, TABLE)))


def must_be_free(host: str, port: int) -> None:
    """OSError, naming the address, when somebody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None


async def _answers(host: str, port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
