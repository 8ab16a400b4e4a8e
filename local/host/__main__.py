"""`python -m local.host`: run a Functions app here, in the foreground."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from aiohttp import web

from local.host.clock import MovedClock
from local.host.keys import Keys, read_keys
from local.host.logs import set_up_logs
from local.host.queues import QueueListener
from local.host.settings import BadSetting, HostOptions, read_host_json
from local.host.timers import Timer
from local.host.web import Web
from local.host.worker import AppNotIndexed, Worker, running
from local.host.writes import Writes

log = logging.getLogger("host")
LET_END_S = 10.0
LEASE_S = 600.0  # the real extension's lease, renewed while a function runs


def main(
    app: Annotated[Path, typer.Option(help="The folder with function_app.py and host.json.", resolve_path=True)],
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 7071,
    clock_file: Annotated[
        Path | None, typer.Option(help="A file with the clock's offset in seconds.", resolve_path=True)
    ] = None,
    keys_file: Annotated[
        Path | None, typer.Option(help="Where the keys are kept; made when missing.", resolve_path=True)
    ] = None,
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
        options, keys = read_host_json(app), read_keys(keys_file)
        asyncio.run(_run(app, address, port, options, keys, clock, writes, queue_lease))
    except (AppNotIndexed, BadSetting) as error:
        typer.echo(f"host: {error}", err=True)
        sys.exit(1)


async def _run(
    app: Path,
    address: str,
    port: int,
    options: HostOptions,
    keys: Keys,
    clock: MovedClock,
    writes: Writes,
    lease_s: float,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    worker = Worker()
    await worker.start(app)
    listeners = [QueueListener(worker, f, options.queues, lease_s) for f in worker.of_kind("queueTrigger")]
    timers = [Timer(worker, f) for f in worker.of_kind("timerTrigger")]
    served = Web(worker, options.route_prefix, keys, writes)
    runner = web.AppRunner(served.app, access_log=None, shutdown_timeout=LET_END_S)
    await runner.setup()
    await _listen(runner, address, port)
    log.info("running %d functions on http://%s:%d", len(worker.functions), address, port)
    following = asyncio.create_task(clock.follow())
    loops = [asyncio.create_task(listener.run(stop)) for listener in listeners]
    loops += [asyncio.create_task(timer.run(stop)) for timer in timers]
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopping, *loops}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    log.info("stopping; what runs may end")
    ending = {asyncio.create_task(one) for one in (runner.cleanup(), served.drain())}
    await asyncio.wait({*loops, *ending}, timeout=LET_END_S)
    following.cancel()
    for listener in listeners:
        await listener.close()
    for task in done:
        task.result()
    _leave()


async def _listen(runner: web.AppRunner, address: str, port: int) -> None:
    try:
        await web.TCPSite(runner, address, port).start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise BadSetting(f"cannot listen on {address}:{port}: {reason}") from None


def _leave() -> NoReturn:
    """End the process without the interpreter's own end.

    That would wait for a thread that is stuck, and native parts that the app holds complain when they are torn down
    by it (uamqp, in azure-iot-hub).
    """
    if running:
        names = ", ".join(sorted(running.values()))
        log.warning("still running after %g s, cut off: %s", LET_END_S, names)
    sys.stdout.flush()
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    typer.run(main)
