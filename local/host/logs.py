"""Log lines on stderr: time, level, function, text. The invocation ID follows where a function speaks."""

import logging
import sys
import threading

from azure_functions_runtime.bindings.context import _invocation_id_local  # type: ignore[import-untyped]

from local.host.worker import running, speaking


class _Speaker(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        invocation_id = _invocation()
        name = running.get(invocation_id)
        record.speaker = f"{name} {invocation_id[:8]}" if name else record.name
        return True


def _invocation() -> str:
    # The library's thread-local tells invocations apart in its pool, but not in the event loop's thread, where many
    # share it with this host.
    if threading.current_thread() is threading.main_thread():
        return speaking.get()
    return getattr(_invocation_id_local, "invocation_id", None) or ""


def set_up_logs() -> None:
    """One readable line each; the SDKs and the worker speak only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Speaker())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s [%(speaker)s] %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("azure", "uamqp", "msrest", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # What the worker library logs as an error it also answers, and ``worker`` says it in one line.
    logging.getLogger("azure.functions").setLevel(logging.CRITICAL)
