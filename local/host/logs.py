"""Log lines on stderr: time, level, function, text. The invocation ID follows where a function speaks."""

import logging
import sys

from azure_functions_runtime.bindings.context import _invocation_id_local

from local.host.worker import running


class _Speaker(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        invocation_id = getattr(_invocation_id_local, "invocation_id", None)
        name = running.get(invocation_id or "")
        record.speaker = f"{name} {invocation_id[:8]}" if name and invocation_id else record.name
        return True


def set_up_logs() -> None:
    """One readable line each; the SDKs and the worker speak only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Speaker())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s [%(speaker)s] %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("azure", "uamqp", "msrest", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
