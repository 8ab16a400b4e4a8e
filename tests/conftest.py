"""Fixtures that every test may use: the stand-in for Azure, once for each session, and fresh for each test."""

import os
from collections.abc import Iterator

import pytest

from tests.standin import StandIn


def test_net() -> str:
    """The loopback net of this test process: three numbers of an address, its own for each xdist worker."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return os.environ.get("ROLLOVER_TEST_NET", f"127.0.{100 + int(worker)}")


test_net.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def standin() -> Iterator[StandIn]:
    """The emulated Azure services of this session, with the environment that clients need."""
    running = StandIn(test_net())
    running.start()
    before = {name: os.environ.get(name) for name in running.endpoints["environment"]}
    os.environ.update(running.endpoints["environment"])
    yield running
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    running.stop()


@pytest.fixture
def azure(standin: StandIn) -> StandIn:
    """The emulated Azure services as right after their start."""
    standin.control.post("/reset")
    return standin
