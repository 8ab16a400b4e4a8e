"""The real Python worker library in this process: it indexes the app and runs its functions."""

import json
import logging
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime

from local.host import protos
from local.host.protos import ParameterBinding, TypedData

log = logging.getLogger("host")


class AppNotIndexed(Exception):
    """The app cannot be indexed; the text is one line."""


@dataclass(frozen=True)
class Function:
    """One indexed function with its trigger binding, as the host sees it."""

    name: str
    id: str
    trigger: dict[str, Any]
    retry: "Retry | None"

    @property
    def kind(self) -> str:
        """``httpTrigger``, ``queueTrigger``, ..."""
        return str(self.trigger["type"])


@dataclass(frozen=True)
class Retry:
    """A ``@retry`` policy: -1 means for ever."""

    count: int
    delay: timedelta


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended."""

    ok: bool
    value: TypedData | None
    error: str = ""


running: dict[str, str] = {}
"""Function name by invocation ID, of the invocations that run now: for log lines."""


class Worker:
    """Indexes one app (the library allows one a process) and invokes its functions."""

    def __init__(self, look_at_clock: Callable[[], None] = lambda: None) -> None:
        self._look_at_clock = look_at_clock
        self.functions: dict[str, Function] = {}

    async def start(self, app: Path) -> None:
        """Index the app. ``AppNotIndexed`` with the library's own words when it does not index."""
        # Production has the app's folder on the path, so that `functions` and `shared` import plainly.
        sys.path.insert(0, str(app))
        runtime.start_threadpool_executor()
        init = SimpleNamespace(capabilities={}, function_app_directory=str(app))
        request = SimpleNamespace(
            request=SimpleNamespace(worker_init_request=init), properties={"protos": protos, "host": "127.0.0.1"}
        )
        answer = await runtime.worker_init_request(request)
        if answer.result.status != protos.StatusResult.Success:
            raise AppNotIndexed(" ".join(answer.result.exception.message.split()))
        metadata = await runtime.functions_metadata_request(None)
        for found in metadata.function_metadata_results or []:
            bindings = [json.loads(raw) for raw in found.raw_bindings]
            trigger = next(b for b in bindings if b["type"].lower().endswith("trigger"))
            self.functions[found.name] = Function(found.name, found.function_id, trigger, _retry(found.retry_options))

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
        self._look_at_clock()  # what causes an invocation may have followed a move of the clock at once
        try:
            request = SimpleNamespace(request=SimpleNamespace(invocation_request=invocation))
            answer = await runtime.invocation_request(request)
        finally:
            running.pop(invocation_id, None)
        if answer.result.status == protos.StatusResult.Success:
            return Outcome(True, answer.return_value)
        error = " ".join(answer.result.exception.message.split())
        log.error("function %s failed (invocation %s): %s", function.name, invocation_id, error)
        log.debug("%s", answer.result.exception.stack_trace)
        return Outcome(False, None, error)

    def stop(self) -> None:
        """Let the thread pool end."""
        runtime.stop_threadpool_executor()


def _retry(options: protos.RpcRetryOptions | None) -> Retry | None:
    if options is None:
        return None
    delay = options.delay_interval or options.minimum_interval or timedelta(0)
    return Retry(options.max_retry_count, delay)
