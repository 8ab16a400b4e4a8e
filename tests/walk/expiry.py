"""The walk of the expiry plan: what the device, a person, the vault, time and the queues do, and how it ends."""

from datetime import timedelta

from shared.resuming import resume_due
from shared.rollover import Outcome, Rollover
from shared.starting import start_rollover
from tests.fakes import info
from tests.walk.explore import ANYTHING, Move, Rules, Touch, deliveries, touch
from tests.walk.model import CERTIFICATE, NAME, NEW, NEWER, OLD, STRANGER, Broken, State


def _slot_edit(change: dict[str, object]) -> Move:
    def edit(state: State) -> None:
        if NAME not in state.dps.enrolled:
            return

        def apply(body: dict) -> None:  # type: ignore[type-arg]
            certificates = dict(body["attestation"]["x509"]["clientCertificates"])
            certificates.update(change)
            if any(certificates.get(slot) for slot in ("primary", "secondary")):
                body["attestation"]["x509"]["clientCertificates"] = certificates

        state.dps.edit(NAME, apply)

    return edit


def _status_edit(status: str) -> Move:
    def edit(state: State) -> None:
        if NAME in state.dps.enrolled:
            state.dps.edit(NAME, lambda body: body.update(provisioningStatus=status))

    return edit


def _stranger() -> dict[str, object]:
    return {"info": info(STRANGER)}


def _hub_by_hand(state: State) -> None:
    # After a registration since the start, or where none changes the hub, DPS and a person's hand look alike:
    # docs/differences.md says so.
    rollover = state.rollover()
    if rollover is None or state.registered(rollover) not in ("never", "before") or not state.knobs.refreshes:
        return
    state.hub.put(NAME, NEW.sha256_thumbprint, NEW.sha256_thumbprint)


PERSON: dict[str, Move] = {
    "clears primary": _slot_edit({"primary": None}),
    "clears secondary": _slot_edit({"secondary": None}),
    "puts a stranger in primary": _slot_edit({"primary": _stranger()}),
    "puts a stranger in secondary": _slot_edit({"secondary": _stranger()}),
    "disables the enrollment": _status_edit("disabled"),
    "deletes the enrollment": lambda state: state.dps.enrolled.pop(NAME, None) and None,
    "writes the hub thumbprints": _hub_by_hand,
    "deletes the identity": lambda state: state.hub.identities.pop(NAME, None) and None,
}


def _newer_version(state: State) -> None:
    versions = state.vault.kept[CERTIFICATE].versions
    if len(versions) < 3:
        versions.append(NEW if len(versions) == 1 else NEWER)


def _disable_version(state: State) -> None:
    state.vault.kept[CERTIFICATE].enabled = False


VAULT: dict[str, Move] = {"a newer version": _newer_version, "the latest is disabled": _disable_version}


def _device_takes(state: State) -> None:
    vault = state.vault.kept[CERTIFICATE].versions[-1].sha256_thumbprint
    state.device_has = state.device_has | {vault}


DEVICE: dict[str, Move] = {
    "the device gets the latest certificate": _device_takes,
    "the device registers with the old one": lambda state: state.register(OLD.sha256_thumbprint),
    "the device registers with the new one": lambda state: state.register(NEW.sha256_thumbprint),
}


def _later(state: State) -> None:
    rollover = state.rollover()
    if rollover and rollover.due_at:
        state.clock.time = max(state.clock.time, rollover.due_at)


def _much_later(state: State) -> None:
    state.clock.advance(timedelta(hours=13))


def _expiry(state: State) -> None:
    state.clock.time = max(state.clock.time, OLD.not_after + timedelta(minutes=1))


def _deadline(state: State) -> None:
    state.clock.time = max(state.clock.time, OLD.not_after + timedelta(days=8))


TIME: dict[str, Move] = {
    "time passes": _later,
    "hours pass": _much_later,
    "the outgoing certificate expires": _expiry,
    "the deadline passes": _deadline,
}


LAST = 2
"""How many rollovers of the target are walked, one after the other."""


def _event(state: State) -> None:
    last = state.rollover()
    if last is not None and last.outcome is not None and last.id.endswith(f".{LAST}"):
        return
    start_rollover(CERTIFICATE, "event", state.services)


def _timer(state: State) -> None:
    resume_due(state.services)


def _lose(state: State) -> None:
    if state.bag:
        state.bag.pop(0)


QUEUE: dict[str, Move] = {"an event": _event, "the timer": _timer, "a nudge is lost": _lose}


def touched(name: str) -> Touch:
    """What the moves of the device touch."""
    if name == "the device gets the latest certificate":
        return touch("vault", "truth")
    return touch("dps", "registrations hub truth") if name in DEVICE else ANYTHING


def rules(budget: int) -> Rules:
    """The expiry plan, with so many mishaps on a path."""

    def moves(state: State) -> dict[str, Move]:
        found: dict[str, Move] = {**DEVICE, **TIME, **QUEUE}
        if len(state.spent) < budget:
            found |= {name: move for name, move in {**PERSON, **VAULT}.items() if name not in state.spent}
        if "disables the enrollment" in state.spent:
            found["enables the enrollment"] = _status_edit("enabled")
        return found

    def races(state: State) -> dict[str, Move]:
        hands = {name: move for name, move in PERSON.items() if name not in state.spent}
        return {**DEVICE, **(hands if len(state.spent) < budget else {})}

    def check(state: State, _known: dict) -> str:  # type: ignore[type-arg]
        return check_end(state, settle(state))

    return Rules(moves, deliveries, races, frozenset({*PERSON, *VAULT}), check, touched)


def settle(state: State) -> State:
    """Let the world be kind: messages arrive, the timer runs, the device does as it is asked; until the end."""
    kind = state.clone()
    for turn in range(200):
        rollover = kind.rollover()
        if rollover is None or rollover.outcome is not None:
            return kind
        kind.bag = []
        if rollover.due_at is not None and rollover.due_at > kind.clock.time:
            kind.clock.time = rollover.due_at
        if turn > 40:
            kind.clock.advance(timedelta(days=1))  # it waits for something that will not come
        _timer(kind)
        for nudge in list(kind.bag):
            kind.deliver(nudge)
        _answer(kind, rollover)
    return kind


def _answer(kind: State, rollover: Rollover) -> None:
    """What a good device does: it takes its new certificate when asked, and registers when the hub forgot it."""
    if rollover.incoming is None:
        return
    asked = [payload for _, payload in kind.hub.asked]
    kind.hub.asked = []
    kind.clock.advance(timedelta(seconds=1))
    incoming = rollover.incoming.sha256_thumbprint
    if NAME not in kind.hub.identities or asked:
        kind.device_has |= {incoming}
        if kind.device_uses != incoming or NAME not in kind.hub.identities or asked[-1].get("register_again"):
            kind.register(incoming)


def check_end(state: State, end: State) -> str:
    """How a rollover ended, once the world was kind; raises when it did not, or not as it should."""
    rollover = end.rollover()
    if rollover is None:
        return "not begun"
    if rollover.outcome is None:
        raise Broken(f"I4: no end is reached; it waits for {rollover.waiting_for!r} at {rollover.next_step}")
    slots = set(end.dps.slots(NAME))
    if rollover.outcome is Outcome.DONE:
        identity = end.hub.identities.get(NAME)
        held = set(identity.thumbprints()) if identity else set()
        if rollover.outgoing.sha256_thumbprint in slots | held and not end.spent:
            raise Broken("I0: done, and the outgoing certificate is still held")
    if rollover.outcome is Outcome.NEEDS_PERSON and not rollover.next_action:
        raise Broken("I4: a person is needed and not told what for")
    gave_up = "times and what it establishes still" in (rollover.outcome_reason or "")
    on_time = state.clock.time < OLD.not_after
    if not state.spent and rollover.outcome is not Outcome.DONE and on_time and not gave_up:
        raise Broken(f"nothing went wrong and it ended as {rollover.outcome}: {rollover.outcome_reason}")
    return rollover.outcome.value
