"""One breach under faults, by a seed: what was injected, how it ended, and every claim that the truth contradicts."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from shared.breaching import confirm, preview
from shared.callers import Role
from shared.enrollment import Twin
from shared.errors import NotFound, RolloverError, Unsuitable
from shared.incident import Mode
from shared.ledger import Ledger
from shared.nudges import encode_nudge
from shared.operating import retry
from shared.resuming import resume_due
from shared.rollover import Outcome, Rollover
from shared.services import Services
from shared.stepping import carry_out
from tests.builders import DEVICE, EFFECTS
from tests.certificates import NOW
from tests.fakes import somebody
from tests.faults.flaky import Flaky, Killed, Rates
from tests.faults.stage import OTHER_DEVICE, TWIN, Draw, Stage

ONCALL = somebody("oncall", Role.BREACH_EXECUTE)
LONGEST = timedelta(days=2)
TIMER = timedelta(minutes=1)
RETRIED = "POST /api/rollovers/{id}/retry"


@dataclass
class Result:
    """What one seed showed."""

    seed: int
    draw: Draw
    rates: Rates
    injected: Counter[str] = field(default_factory=Counter)
    claims: int = 0
    """How often the ledger came to say contained."""
    false: list[str] = field(default_factory=list)
    """What the truth said against it, each exposure once a claim."""
    wrong: list[str] = field(default_factory=list)
    """What else is not as it must be at the end."""
    end: str = ""
    persons: list[str] = field(default_factory=list)
    """Why a person was called for."""
    took: timedelta = timedelta()

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.end}; false {self.false}; wrong {self.wrong}; {self.draw}; {self.rates}"


class Play:
    """One breach from the call to the end."""

    def __init__(self, seed: int, **policy: Any) -> None:
        chance = random.Random(seed)
        self._chance = chance
        self.result = Result(seed, Draw.of(chance), Rates.of(chance))
        self._stage = Stage(self.result.draw, chance, **policy)
        self._ports = Flaky(self._stage, self.result.rates, self.result.injected, self._interleave)
        self._stage.watch = self._watch
        self._seen_version = -1
        self._contained = False
        self._said: set[str] = set()
        self._running = 0

    @property
    def services(self) -> Services:
        return self._ports.services

    def run(self) -> Result:
        """Play it."""
        stage, result = self._stage, self.result
        stage.elapse(self._chance.uniform(5.0, 20.0))
        self._call(result.draw.mode)
        timer = stage.clock.time + TIMER
        again = result.draw.second_call
        again_at = stage.clock.time + timedelta(seconds=again[0]) if again else None
        while (rollover := self._rollover()) is not None and stage.clock.time < NOW + LONGEST:
            if rollover.outcome is not None and not self._meet_person(rollover):
                break
            self._ports.nudged.sort()
            due = min([timer, *(at for at, _, _ in self._ports.nudged[:1]), *([again_at] if again_at else [])])
            stage.elapse(max((due - stage.clock.time).total_seconds(), 0.0))
            if again and due == again_at:
                again_at = None
                self._call(again[1], thumbprint=stage.stolen[0])
            elif due == timer:
                timer += TIMER
                self._guarded(lambda: resume_due(self.services))
            else:
                self._deliver()
        self._look_at_the_end()
        result.took = stage.clock.time - NOW
        return result

    # --- the product at work ------------------------------------------------------------------------------------------

    def _call(self, mode: Mode, thumbprint: str | None = None) -> None:
        """Preview and confirm over HTTP, again and again until it is answered; the same token gives the same."""
        asked: dict[str, Any] = {"reason": "stolen laptop", "mode": mode}
        asked |= {"thumbprint": thumbprint} if thumbprint else {"registration_id": DEVICE}
        if thumbprint is None and self.result.draw.compromised != "both" and not self.result.draw.lone:
            asked["compromised"] = [self.result.draw.compromised]
        token: str | None = None
        for _ in range(2000):
            try:
                token = token or preview(asked, ONCALL, self.services)["confirm_token"]
                confirm({"confirm": token}, ONCALL, self.services)
            except Killed:
                pass
            except NotFound:
                return  # the second call comes too late: the certificate is in no slot any more
            except Unsuitable as error:
                if "contains sooner" in str(error):
                    return
                token = None  # something has changed since the preview: the caller looks at a new one
            except RolloverError:
                pass
            else:
                return
            self._stage.elapse(self._chance.uniform(0.5, 3.0))
        raise AssertionError("the call was never answered")

    def _deliver(self) -> None:
        _, step, rollover_id = self._ports.nudged.pop(0)
        self._running += 1

        def run() -> None:
            carry_out(step, encode_nudge(rollover_id).encode(), self.services, EFFECTS[step])

        if not self._guarded(run):  # killed: the message becomes visible again, or its lease was lost with the host
            again = self._stage.clock.time + timedelta(seconds=self._chance.uniform(1.0, 60.0))
            self._ports.nudged.append((again, step, rollover_id))
        self._running -= 1

    def _guarded(self, run: Any) -> bool:
        try:
            run()
        except Killed:
            return False
        except RolloverError:
            pass  # the queue tries again, or the timer's next turn does
        return True

    def _interleave(self) -> None:
        """Now and then another function runs to its end while one waits for an answer."""
        if self._running == 1 and self._ports.nudged and self._chance.random() < 0.02:
            self.result.injected["another function in between"] += 1
            self._deliver()

    def _meet_person(self, rollover: Rollover) -> bool:
        """Whether a person was called, mended what it said and called retry, as the next step says."""
        if rollover.outcome is not Outcome.NEEDS_PERSON:
            return False
        self.result.persons.append(f"{rollover.next_step or ''}{rollover.outcome_reason}")
        if RETRIED not in (rollover.next_action or "") and "call the breach again" not in (rollover.next_action or ""):
            self.result.wrong.append(f"next step: {rollover.next_action}")
        if len(self.result.persons) > 5:
            return False
        self._stage.elapse(60.0)
        if OTHER_DEVICE in (rollover.outcome_reason or ""):
            self._stage.hub.identities.pop(OTHER_DEVICE, None)
            self._stage.happened()
        for _ in range(200):
            self._guarded(lambda: retry(rollover.id, "mended", (), ONCALL, self.services))
            if (now := self._rollover()) is not None and now.outcome is not Outcome.NEEDS_PERSON:
                break
        return True

    # --- the oracle ---------------------------------------------------------------------------------------------------

    def _rollover(self) -> Rollover | None:
        return Ledger(self._stage.world.table).last(DEVICE)

    def _watch(self) -> None:
        table = self._stage.world.table
        if table.version != self._seen_version:
            self._seen_version = table.version
            rollover = self._rollover()
            contained = rollover is not None and rollover.contained
            if contained and not self._contained:
                self.result.claims += 1
                self._said.clear()
            self._contained = contained
        if self._contained:
            for what in self._stage.exposed():
                if what not in self._said:
                    self._said.add(what)
                    since = (self._stage.clock.time - NOW).total_seconds()
                    self.result.false.append(f"{since:.1f} s: {what}")

    def _look_at_the_end(self) -> None:
        stage, result, rollover = self._stage, self.result, self._rollover()
        result.end = rollover.status if rollover else "nothing"
        if rollover is not None and rollover.outcome is not Outcome.DONE:
            result.wrong.append(f"{rollover.next_step}: {rollover.waiting_for or rollover.outcome_reason}")
            return
        if not set(stage.world.dps.slots(DEVICE)).isdisjoint(stage.stolen):
            result.wrong.append("a slot holds a compromised certificate")
        for identity in stage.hub.identities.values():
            if not set(identity.thumbprints()).isdisjoint(stage.stolen):
                result.wrong.append(f"the identity {identity.device_id} holds a compromised certificate")
        twin = stage.hub.twin(DEVICE) or Twin("", {}, {})
        if not twin.equals(TWIN):
            result.wrong.append(f"the twin is {twin.canonical()}")
        if result.draw.mode is not Mode.REPROVISION and result.claims == 0:
            result.wrong.append("it never said contained")


def play(seed: int, **policy: Any) -> Result:
    """One breach by a seed."""
    return Play(seed, **policy).run()
