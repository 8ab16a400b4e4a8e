"""What people do in the walk of a breach: calls of the API, and hands in DPS, at the hub and in the vault."""

from dataclasses import replace
from typing import Any

from shared.breaching import confirm, preview
from shared.callers import Role
from shared.enrollment import HubIdentity
from shared.incident import Mode
from shared.operating import allow, approve, cancel, disallow, retry
from shared.rollover import Outcome
from shared.starting import start_rollover
from tests.fakes import info, somebody
from tests.walk.breach_model import BreachState
from tests.walk.breach_services import NEXT, PAST, SAME_KEY
from tests.walk.explore import Move
from tests.walk.model import CERTIFICATE, NAME, NEW, OLD

ONCALL, SECOND = somebody("oncall", Role.BREACH_EXECUTE), somebody("oncall-2", Role.BREACH_EXECUTE)
CALL, AGAIN, OTHER_CALL = "a breach is called", "the call is confirmed again", "a breach is called in another mode"
CANCEL, RETRY, APPROVE = "a person cancels", "a person retries", "a second person approves"
DISALLOW, ALLOW = "the device is disallowed", "the device is allowed again"


# --- calls ------------------------------------------------------------------------------------------------------


def _asked(state: BreachState, mode: Mode) -> dict[str, Any]:
    asked: dict[str, Any] = {"reason": "stolen", "mode": mode.value}
    match state.knobs.stolen:
        case "primary":
            asked["thumbprint"] = OLD.sha256_thumbprint
        case "secondary":
            asked |= {"registration_id": NAME, "compromised": ["secondary"]}
        case _:
            asked["registration_id"] = NAME
    return asked


def call(mode: Mode) -> Move:
    """A person looks at a preview and confirms it."""

    def move(state: BreachState) -> None:
        if state.knobs.stolen == "all":
            state.stolen |= {one for one in state.dps.slots(NAME) if one}
        state.previewing = True
        try:
            token = preview(_asked(state, mode), ONCALL, state.services)["confirm_token"]
        finally:
            state.previewing = False
        state.tokens = (*state.tokens, (mode, token))
        confirm({"confirm": token}, ONCALL, state.services)

    return move  # type: ignore[return-value]


def do_again(state: BreachState) -> None:
    confirm({"confirm": state.tokens[-1][1]}, ONCALL, state.services)


def _on(state: BreachState, do: Any) -> None:
    rollover = state.rollover()
    if rollover is not None:
        do(rollover.id)


def do_cancel(state: BreachState) -> None:
    _on(state, lambda known: cancel(known, "a false alarm", ONCALL, state.services))


def do_retry(state: BreachState) -> None:
    _on(state, lambda known: retry(known, "mended", (), ONCALL, state.services))


def do_approve(state: BreachState) -> None:
    _on(state, lambda known: approve(known, "agreed", SECOND, state.services))


def do_disallow(state: BreachState) -> None:
    state.tokens = ((Mode.DISABLE, ""),)
    disallow(NAME, "lost", None, ONCALL, state.services)


def do_allow(state: BreachState) -> None:
    allow(NAME, "found", ONCALL, state.services)


# --- hands ------------------------------------------------------------------------------------------------------


def _edits(change: Any) -> Move:
    def edit(state: BreachState) -> None:
        if NAME in state.dps.enrolled:
            state.dps.edit(NAME, change)

    return edit  # type: ignore[return-value]


def _slot(slot: str, certificate: Any) -> Any:
    def apply(body: dict[str, Any]) -> None:
        certificates = dict(body["attestation"]["x509"]["clientCertificates"])
        certificates[slot] = {"info": info(certificate)} if certificate else None
        if any(certificates.get(name) for name in ("primary", "secondary")):
            body["attestation"]["x509"]["clientCertificates"] = certificates

    return apply


def _identity(**fields: Any) -> Move:
    def edit(state: BreachState) -> None:
        known: HubIdentity | None = state.hub.identities.get(NAME)
        if known is not None:
            state.hub.rewrite(replace(known, **fields))

    return edit  # type: ignore[return-value]


def _delete_identity(state: BreachState) -> None:
    known = state.hub.identities.get(NAME)
    if known is not None:
        state.hub.delete(known)


HANDS: dict[str, Move] = {
    "enables the enrollment": _edits(lambda body: body.update(provisioningStatus="enabled")),
    "disables the enrollment": _edits(lambda body: body.update(provisioningStatus="disabled")),
    "clears secondary": _edits(_slot("secondary", None)),
    "puts what is stolen into primary": _edits(_slot("primary", OLD)),
    "deletes the enrollment": lambda state: state.dps.enrolled.pop(NAME, None) and None,
    "deletes the identity": _delete_identity,  # type: ignore[dict-item]
    "enables the identity": _identity(enabled=True),
    "writes what is stolen to the hub": _identity(primary=OLD.sha256_thumbprint),
}


def event(state: BreachState) -> None:
    last = state.rollover()
    if last is None and state.knobs.calm:
        return  # an expiry rollover is for the other worlds
    if last is None or last.outcome is None or last.outcome is Outcome.NEEDS_PERSON:
        start_rollover(CERTIFICATE, "event", state.services)


def _adds(*versions: Any) -> Move:
    def add(state: BreachState) -> None:
        state.vault.add(CERTIFICATE, *versions)
        event(state)

    return add  # type: ignore[return-value]


def _disables_latest(state: BreachState) -> None:
    state.vault.kept[CERTIFICATE].enabled = False


VAULT: dict[str, Move] = {
    "a newer version": _adds(NEW, NEXT),
    "a version with the stolen key": _adds(SAME_KEY),
    "an expired version": _adds(PAST),
    "the latest is disabled": _disables_latest,  # type: ignore[dict-item]
}
