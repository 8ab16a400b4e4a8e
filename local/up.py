"""`python -m local up`: stand-in, Azurite and Functions host, in the foreground until a signal comes."""

import asyncio
import json
import logging
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from local.azure.description import describe
from local.azure.serving import PortInUse, Serving
from local.azure.world import World
from local.azurite import AzuriteMissing, connection_string, start_azurite
from local.children import Child, ChildFailed
from local.functions_host import start_host

CERTIFICATE_EVENTS = [
    f"Microsoft.KeyVault.Certificate{name}" for name in ("NearExpiry", "NewVersionCreated", "Expired")
]
# What can go wrong at start and is said in one line; anything else is a defect and shows its traceback.
EXPECTED = (PortInUse, AzuriteMissing, ChildFailed, OSError, ValueError)


def up(
    net: Annotated[str, typer.Option(help="The loopback net: the first three numbers of every address.")] = "127.0.0",
    only: Annotated[str, typer.Option(help='"azure" starts the stand-in alone.')] = "",
    state: Annotated[
        Path | None, typer.Option(help="Where CA, clock and keys are kept; a new folder if not given.")
    ] = None,
) -> None:
    """Run everything that stands in for Azure; prints one JSON document when it is ready."""
    if only not in ("", "azure"):
        raise typer.BadParameter('there is only "azure"', param_hint="--only")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="rollover-") as fresh:
        folder = (state or Path(fresh)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            asyncio.run(_run(net, folder, alone=only == "azure"))
        except EXPECTED as error:
            typer.echo(f"local up: {error}", err=True)
            raise typer.Exit(1) from None


async def _run(net: str, folder: Path, *, alone: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        stopping = asyncio.create_task(stop.wait())
        starting = asyncio.create_task(_start(net, folder, stack, alone=alone))
        await asyncio.wait({stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        document, children = await starting
        typer.echo(json.dumps(document))
        sys.stdout.flush()
        deaths = [asyncio.create_task(child.died()) for child in children]
        done, _ = await asyncio.wait({stopping, *deaths}, return_when=asyncio.FIRST_COMPLETED)
        for death in deaths:
            death.cancel()
        for death in deaths:
            if death in done:
                await death


async def _start(net: str, folder: Path, stack: AsyncExitStack, *, alone: bool) -> tuple[dict[str, Any], list[Child]]:
    """Start part after part; each is stopped by `stack`, the last one first."""
    world = World(net)
    serving = Serving(world)
    stack.push_async_callback(serving.stop)
    await serving.start()
    document = describe(world.names, *serving.authority.write(folder))
    _keep_clock_file(world, folder / "clock")
    if alone:
        return document, []
    azurite = await start_azurite(world.names.host)
    stack.push_async_callback(azurite.stop)
    document["storage"] = {"connection_string": connection_string(world.names.host)}
    host = await start_host(document, world.names.host, folder)
    stack.push_async_callback(host.child.stop)
    document["functions"] = host.as_json()
    world.hub.log.reader = host.hub_log_url
    await world.eventgrid.subscribe("certificates", host.event_grid_url, "CloudEventSchemaV1_0", CERTIFICATE_EVENTS)
    return document, [azurite, host.child]


def _keep_clock_file(world: World, path: Path) -> None:
    """The offset of the stand-in's clock in seconds, for the Functions host to follow; replaced in one step."""

    def write(_distance: timedelta) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(f"{world.clock.offset.total_seconds()}")
        fresh.replace(path)

    write(timedelta(0))
    world.clock.subscribe(write)
