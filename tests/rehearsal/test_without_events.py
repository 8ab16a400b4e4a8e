"""Every vault event is lost: the sweep alone finds what is due, and all devices roll before their certificates end."""

import uuid
from pathlib import Path
from typing import Any

from tests.rehearsal.plant import Plant, until

FLEET = 4


def test_the_sweep_alone_rolls_every_device_before_expiry(plant: Plant, tmp_path: Path) -> None:
    """Event Grid may drop an event for good after 24 h (azure-docs event-grid delivery-and-retry)."""
    run, control = uuid.uuid4().hex[:6], plant.standin.control  # a second try meets what the first one left
    control.put("/clock", {"set": control.get("/clock")["now"][:14] + "20:00Z"})
    devices = [plant.install(f"unheard-{run}-{n}", tmp_path) for n in range(FLEET)]
    host = plant.host()
    try:
        plant.move_clock(days=336)  # 29 days before the end; nothing is subscribed, so no event arrives
        for device in devices:
            device.live()

        def ours() -> list[dict[str, Any]]:
            return [r for r in host.rollovers() if r["registration_id"].startswith(f"unheard-{run}")]

        def moved() -> bool:
            return len(ours()) == FLEET and all(r["next_step"] == "delete_primary" for r in ours())

        until(moved, "all devices moved", host.tail)
        for n in range(FLEET):
            end = plant.end_state(f"unheard-{run}-{n}")
            assert end["versions"] == 2
            assert 1 in end["slots"].values(), "the incoming certificate is enrolled before the old one ends"
        assert all(r["cause"].startswith("sweep") for r in ours())
        plant.move_clock(days=31)
        until(lambda: all(r["status"] == "done" for r in ours()), "the old certificates are gone", host.tail)
    finally:
        for device in devices:
            device.stop()
        host.stop()
