"""Waiting that ends early when it is time to stop."""

import asyncio
import contextlib


async def rest(stop: asyncio.Event, seconds: float) -> bool:
    """Sleep, at most until ``stop`` is set; whether it is."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()


async def any_ends(tasks: set[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait until one of the tasks has ended, or ``stop`` is set."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
