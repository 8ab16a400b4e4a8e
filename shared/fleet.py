"""How far a work on a group's whole fleet has come, as decisions see it. Pure.

A *work* is what one step does to every device of a group: ``evict`` (its identity leaves the hub), ``check`` (is it
gone?), ``wave`` (the device is asked to register again), ``restore`` (its twin is put back).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wave:
    """One wave of the devices that are asked to move."""

    number: int
    size: int
    moved: int
    asked: bool
    stragglers: tuple[str, ...] = ()


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

    @property
    def finished(self) -> bool:
        """Whether every batch has come to its end, be it good or not."""
        return self.listed and self.batches_done == self.batches

    @property
    def complete(self) -> bool:
        """Whether it is done for every device."""
        return self.finished and self.done == self.devices
