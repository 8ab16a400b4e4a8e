"""The real Python worker library in this process: it indexes the app and runs its functions."""

import asyncio
import json
import logging
import os
import sys
import uuid
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime  # type: ignore[import-untyped]

from local.host import protos
from local.host.protos import ParameterBinding, TypedData

log = logging.getLogger("host")
TRIGGERS = ("httpTrigger", "eventGridTrigger", "queueTrigger", "eventHubTrigger", "timerTrigger")

running: dict[str, str] = {}
"""Function name by invocation ID, of the invocations that run now."""
speaking: ContextVar[str] = ContextVar("speaking", default="")
"""The invocation that the event loop carries out right now: for log lines."""


class AppNotIndexed(Exception):
    """The app cannot be indexed; the text is one line."""


@dataclass(frozen=True)
class Retry:
    """A ``@retry`` policy: how many more tries (-1: without end), and the pause before them."""

    count: int
    pause: timedelta
    longest: timedelta | None
    """None for a fixed pause; otherwise it doubles up to this."""

    def delay(self, attempt: int) -> float:
        """The pause before the given attempt, in seconds; the first retry is attempt 1."""
        if self.longest is None:
            return self.pause.total_seconds()
        factor = 1 << min(attempt - 1, 32)
        return min(self.pause.total_seconds() * factor, self.longest.total_seconds())


@dataclass(frozen=True)
class Function:
    """One indexed function with its trigger binding, as the host sees it."""

    name: str
    id: str
    trigger: dict[str, Any]
    retry: Retry | None

    @property
    def kind(self) -> str:
        """``httpTrigger``, ``queueTrigger``, ..."""
        return str(self.trigger["type"])


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended."""

    ok: bool
    value: TypedData | None


class Worker:
    """Indexes one app (the library allows one a process) and invokes its functions."""

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}

    async def start(self, app: Path) -> None:
        """Index the app. ``AppNotIndexed`` with the library's own words when it does not index."""
        if not (app / "function_app.py").is_file():
            raise AppNotIndexed(f"there is no function_app.py in {app}")
        # Production starts the worker in the app's folder and has that on the path, so that `functions` and `shared`
        # import plainly.
        os.chdir(app)
        sys.path.insert(0, str(app))
        runtime.start_threadpool_executor()
        init = SimpleNamespace(capabilities={}, function_app_directory=str(app))
        request = SimpleNamespace(
            request=SimpleNamespace(worker_init_request=init), properties={"protos": protos, "host": "127.0.0.1"}
        )
        try:
            answer = await runtime.worker_init_request(request)
        except SystemExit as error:
            raise AppNotIndexed(f"the app ended the process while it was imported ({error!r})") from None
        if answer.result.status != protos.StatusResult.Success:
            # The library adds its advice and the whole module path after the reason.
            reason = answer.result.exception.message.partition("Cannot find module. Please check")[0]
            raise AppNotIndexed(f"the app cannot be indexed: {' '.join(reason.split())}")
        metadata = await runtime.functions_metadata_request(None)
        for found in metadata.function_metadata_results or []:
            trigger = _trigger(found.name, [json.loads(raw) for raw in found.raw_bindings])
            self.functions[found.name] = Function(found.name, found.function_id, trigger, _retry(found.retry_options))

    def of_kind(self, kind: str) -> list[Function]:
        """The functions with this type of trigger."""
        return [function for function in self.functions.values() if function.kind == kind]

    async def invoke(
        self, function: Function, data: TypedData, metadata: dict[str, TypedData] | None = None, attempt: int = 0
    ) -> Outcome:
        """Run a function once. Its exception becomes an outcome and a log line, never an exception here."""
        invocation_id = str(uuid.uuid4())
        maximum = function.retry.count if function.retry else 0
        invocation = SimpleNamespace(
            invocation_id=invocation_id,
            function_id=function.id,
            input_data=[ParameterBinding(function.trigger["name"], data)],
            trigger_metadata=metadata or {},
            trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=attempt, max_retry_count=maximum, exception=None),
        )
        running[invocation_id] = function.name
        token = speaking.set(invocation_id)
        try:
            request = SimpleNamespace(request=SimpleNamespace(invocation_request=invocation))
            answer = await runtime.invocation_request(request)
        except SystemExit as error:  # on Azure this ends the worker process; the invocation fails there too
            answer = protos.InvocationResponse(result=protos.failure(repr(error)))
        finally:
            speaking.reset(token)
            running.pop(invocation_id, None)
        if answer.result.status == protos.StatusResult.Success:
            return Outcome(True, answer.return_value)
        error_text = " ".join(answer.result.exception.message.split())
        log.error("function %s failed (invocation %s): %s", function.name, invocation_id, error_text)
        log.debug("%s", answer.result.exception.stack_trace)
        return Outcome(False, None)

    async def insist(
        self, function: Function, data: TypedData, metadata: dict[str, TypedData] | None = None
    ) -> Outcome:
        """Run a function until it succeeds or its ``@retry`` policy has ended; how the last try went."""
        attempt = 0
        while True:
            outcome = await self.invoke(function, data, metadata, attempt)
            if outcome.ok or function.retry is None or 0 <= function.retry.count <= attempt:
                return outcome
            attempt += 1
            await asyncio.sleep(function.retry.delay(attempt))


def _trigger(name: str, bindings: list[dict[str, Any]]) -> dict[str, Any]:
    # Refused rather than ignored: an output binding that nobody writes would look like work done.
    for binding in bindings:
        if binding["type"] not in (*TRIGGERS, "http"):
            raise AppNotIndexed(f"function {name}: this host has no binding of type {binding['type']}")
    return next(binding for binding in bindings if binding["type"] in TRIGGERS)


def _retry(options: protos.RpcRetryOptions | None) -> Retry | None:
    if options is None:
        return None
    if options.retry_strategy == "fixed_delay":
        return Retry(options.max_retry_count, options.delay_interval, None)
    return Retry(options.max_retry_count, options.minimum_interval, options.maximum_interval)
