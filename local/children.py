"""Child processes that never outlive this one."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

PR_SET_PDEATHSIG = 1
PATIENCE_S = 12.0  # a Functions host lets running invocations end, 10 s at most


class ChildFailed(Exception):
    """A child ended though nobody asked it to; the text is one clear line."""


def tied(command: Sequence[str]) -> list[str]:
    """`command`, made to end when the process that starts it dies, however that happens.

    On Linux a tiny first program asks the kernel for it and then becomes the command; `preexec_fn` could do the same,
    but not safely beside threads. On other systems the process group and the signals must do.
    """
    if sys.platform != "linux":
        return list(command)
    first = f"import ctypes,os,sys; ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, {int(signal.SIGTERM)});"
    first += " os.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-I", "-S", "-c", first, *command]


class Child:
    """One running child in a process group of its own, so that Ctrl-C reaches only the parent."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process

    @classmethod
    async def start(cls, name: str, command: Sequence[str], env: Mapping[str, str]) -> "Child":
        """Start `command`; what it prints goes to our stderr, because stdout belongs to the JSON document."""
        process = await asyncio.create_subprocess_exec(
            *tied(command),
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sys.stderr,
            process_group=0,
        )
        return cls(name, process)

    async def ready[T](self, waiting: Coroutine[Any, Any, T], within_s: float) -> T:
        """What `waiting` gives. ChildFailed when the child ends first or takes too long; it is stopped then."""
        died, answered = asyncio.create_task(self.died()), asyncio.create_task(waiting)
        try:
            done, _ = await asyncio.wait({died, answered}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if died in done:
                await died
            if not done:
                self._too_late(within_s)
            return await answered
        except BaseException:
            await self.stop()
            raise
        finally:
            died.cancel()
            answered.cancel()

    def _too_late(self, within_s: float) -> None:
        raise ChildFailed(f"{self.name} was not ready within {within_s:g} s")

    async def died(self) -> None:
        """Wait for an end that nobody asked for; then ChildFailed."""
        code = await self.process.wait()
        raise ChildFailed(f"{self.name} ended by itself (exit code {code}); see its lines above")

    async def stop(self) -> None:
        """Ask the whole group to end, then make it."""
        for request in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, request)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), PATIENCE_S)
                break
        with contextlib.suppress(ProcessLookupError):  # a grandchild that stayed
            os.killpg(self.process.pid, signal.SIGKILL)
