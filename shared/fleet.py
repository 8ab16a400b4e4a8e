"""The works on a group's whole fleet, and how far one has come, as decisions see it. Pure.

A *work* is what one step does to every device of a group, in *batches* of at most a hundred.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.plans import Step
from shared.rollover import Outcome, Rollover


class Work(StrEnum):
    """What is done to every device."""

    EVICT = "evict"
    """Its identity leaves the hub; its twin is kept."""
    CHECK = "check"
    """Its identity is read back: gone."""
    WAVE = "wave"
    """It is asked to register again, in waves."""
    LEAVES = "leaves"
    """It gets a certificate under the CA that took over, where a CA in the vault issues it."""
    RESTORE = "restore"
    """Its twin is put back once it is back."""

    @property
    def step(self) -> Step:
        """The step whose queue wakes it."""
        return _STEPS[self]


_STEPS: Mapping[Work, Step] = {
    Work.EVICT: Step.REMOVE_HUB_REGISTRATION,
    Work.CHECK: Step.VERIFY_CONTAINMENT,
    Work.WAVE: Step.INVOKE_REPROVISION_JOB,
    Work.LEAVES: Step.RESTORE_TWIN,
    Work.RESTORE: Step.RESTORE_TWIN,
}


BRINGS_BACK = (Work.LEAVES, Work.RESTORE)
"""What goes on when the rollover is done already."""


@dataclass(frozen=True)
class Wave:
    """One wave of the devices that are asked to move."""

    number: int
    size: int
    moved: int
    asked: bool
    stragglers: tuple[str, ...] = ()
    reachable: int = 0
    """How many were connected when it was planned, or have moved: the others say nothing of the incoming CA."""
    asked_at: datetime | None = None
    """When the last of its devices were first asked."""


@dataclass(frozen=True)
class FleetProgress:
    """How far a work is in its present round."""

    work: str
    listed: bool
    """Every registration of the group was paged through."""
    devices: int
    done: int
    batches: int
    batches_done: int
    stragglers: tuple[str, ...] = ()
    """Some of those that are left, at most 100; ``devices - done`` counts all."""
    waves: tuple[Wave, ...] = ()
    halted: str | None = None
    """Why no further device is asked."""
    threshold_reached: bool = False
    """So many are done that the rest may not hold up the others (waves, restore)."""
    spared: int = 0
    """How many the work left alone as no thief can have made their identity; not among ``devices``."""
    newcomers: int = 0
    """How many of those that are left were not there before the theft, as far as anybody knows (restore)."""
    seconds_left: float | None = None
    """The least time that the hub's quota leaves for the rest; None where that does not bound it."""
    digest: str = ""
    """Of every batch as it stands, so that a record of the rollover's chained history vouches for their rows."""

    @property
    def finished(self) -> bool:
        """Whether every batch has come to its end, be it good or not."""
        return self.listed and self.batches_done == self.batches

    @property
    def complete(self) -> bool:
        """Whether it is done for every device."""
        return self.finished and self.done == self.devices


def may_go_on(rollover: Rollover, work: Work, round_: int) -> bool:
    """Whether a work's turn may still touch devices: the rollover is at the step that it belongs to.

    Bringing devices back goes on when the rollover is done: it ends at its threshold, and who comes later gets leaf and
    twin, too. So do the waves while the outgoing certificate waits for its end.
    """
    if rollover.outcome is Outcome.DONE:
        return work in BRINGS_BACK and rollover.round == round_
    if rollover.outcome is not None or rollover.awaits_approval or rollover.round != round_:
        return False
    late = work is Work.WAVE and rollover.next_step is Step.DELETE_PRIMARY
    return late or rollover.next_step is work.step
