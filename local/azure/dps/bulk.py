"""Up to ten writes in one call, each with its own outcome."""

from typing import Any

from local.azure.dps.entries import Entries
from local.azure.dps.paging import object_list
from local.azure.dps.refusals import AlreadyExists, BadRequest, DpsRefusal

LARGEST = 10  # azure-docs about-iot-dps
MODES = ("create", "update", "updateIfMatchETag", "delete")


def run_bulk(entries: Entries, member: str, body: object) -> dict[str, Any]:
    """The result: HTTP says 200 even when no item succeeded, so `isSuccessful` must be read.

    REST: BulkEnrollmentOperationResult. One bad item does not roll the others back.
    BadRequest for a body that is no bulk at all.
    """
    items = object_list(body, member)
    mode = body.get("mode") if isinstance(body, dict) else None
    if mode not in MODES:
        raise BadRequest(f"mode must be one of: {', '.join(MODES)}.")
    if not 1 <= len(items) <= LARGEST:
        raise BadRequest(f"A bulk operation takes from 1 to {LARGEST} {member}.")
    errors = []
    for item in items:
        entry_id = str(item.get(entries.id_member, ""))
        try:
            _run(entries, entry_id, item, mode)
        except DpsRefusal as no:
            errors.append({entries.id_member: entry_id, "errorCode": no.code, "errorStatus": str(no)})
    return {"errors": errors, "isSuccessful": not errors}


def _run(entries: Entries, entry_id: str, item: dict[str, Any], mode: str) -> None:
    etag = item.get("etag")
    match mode:
        case "create":
            entries.put(entry_id, item, None)
        case "delete":
            entries.delete(entry_id, etag)
        case _ if etag is None:
            # Recorded, 2023: mode "update" without etags answers 409201 for each, though the entries are
            # there.
            entries.get(entry_id)
            raise AlreadyExists
        case _:
            entries.put(entry_id, item, etag)
