"""`python -m local.host`: run a Functions app here, in the foreground."""

import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from aiohttp import web

from local.host.clock import MovedClock
from local.host.logs import set_up_logs
from local.host.queues import QueueListener
from local.host.settings import BadSetting, read_host_json, read_keys
from local.host.timers import Timer
from local.host.web import Web
from local.host.worker import AppNotIndexed, Worker
from local.host.writes import Writes

log = logging.getLogger("host")
LET_END_S = 10.0
LEASE_S = 600.0  # the real extension's lease, renewed while a function runs


def main(
    app: Annotated[Path, typer.Option(help="The folder with function_app.py and host.json.")],
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 7071,
    clock_file: Annotated[Path | None, typer.Option(help="A file with the clock's offset in seconds.")] = None,
    keys_file: Annotated[Path | None, typer.Option(help="Where the keys are kept; made when missing.")] = None,
    queue_lease: Annotated[
        float, typer.Option(help="Seconds a message stays leased; Azure's are 600, less lets a kill be survived fast.")
    ] = LEASE_S,
    die_after_write: Annotated[int | None, typer.Option(help="Kill the process after the app's Nth write.")] = None,
    lose_reply_of_write: Annotated[int | None, typer.Option(help="Lose the answer to the app's Nth write.")] = None,
) -> None:
    """Run the app until SIGTERM or SIGINT."""
    set_up_logs()
    writes = Writes(die_after_write, lose_reply_of_write)
    writes.watch()
    clock = MovedClock(clock_file)
    clock.look()
    try:
        asyncio.run(_run(app.resolve(), address, port, clock, read_keys(keys_file), writes, queue_lease))
    except (AppNotIndexed, BadSetting, OSError) as error:
        typer.echo(f"host: {error}", err=True)
        sys.exit(1)


async def _run(
    app: Path, address: str, port: int, clock: MovedClock, keys: dict[str, str], writes: Writes, lease_s: float
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    options = read_host_json(app)
    worker = Worker(clock.look)
    await worker.start(app)
    functions = worker.functions.values()
    listeners = [QueueListener(worker, f, options.queues, lease_s) for f in functions if f.kind == "queueTrigger"]
    timers = [Timer(worker, f) for f in functions if f.kind == "timerTrigger"]
    served = Web(worker, options, keys, writes)
    runner = web.AppRunner(served.app, access_log=None, shutdown_timeout=LET_END_S)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    loops = [asyncio.create_task(one.run()) for one in (*listeners, *timers)]
    following = asyncio.create_task(clock.follow())
    log.info("running %d functions on http://%s:%d", len(worker.functions), address, port)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, following, *loops}, return_when=asyncio.FIRST_COMPLETED)
    failed = [loop for loop in (following, *loops) if loop.done() and not loop.cancelled() and loop.exception()]
    await _end(loops, listeners, served, runner, worker)
    following.cancel()
    if failed:
        raise failed[0].exception() or RuntimeError("a listener ended")


async def _end(
    loops: list[asyncio.Task[None]], listeners: list[QueueListener], served: Web, runner: web.AppRunner, worker: Worker
) -> None:
    """Take nothing new, let what runs end, go."""
    for loop in loops:
        loop.cancel()
    await runner.cleanup()
    with contextlib.suppress(TimeoutError):
        running = (*(listener.drain() for listener in listeners), served.drain())
        await asyncio.wait_for(asyncio.gather(*running), LET_END_S)
    for listener in listeners:
        await listener.close()
    worker.stop()


if __name__ == "__main__":
    typer.run(main)
