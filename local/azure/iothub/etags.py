"""If-Match, as clients of the hub send it: bare, quoted, `*` and `"*"`."""

from local.azure.iothub.refusals import PreconditionFailed


def require_match(if_match: str | None, etag: str) -> None:
    """PreconditionFailed unless `if_match` is absent, `*`, or names `etag`.

    The Python, Node and az clients put quotes even around `*` (azure-iot-hub, `_ensure_quoted`).
    """
    if if_match is not None and if_match.strip().strip('"') not in ("*", etag):
        raise PreconditionFailed
