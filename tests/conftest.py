"""Fixtures that every test may use: the stand-in for Azure, once for each session, and fresh for each test."""

import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from local import azurite as azurite_process
from local.children import tied
from tests.standin import StandIn

# An example promises no time: on a busy machine it takes longer now and then.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--proof` runs the long proofs whole; without it a seeded sample of each runs. `--aim`: docs/contract.md."""
    parser.addoption("--proof", action="store_true", help="run the long proofs whole, not a seeded sample")
    parser.addoption("--seed", type=int, help="play one seed of the mixed faults (tests/faults/mixed)")
    parser.addoption("--aim", action="store_true", help="contract tests meet what ROLLOVER_LIVE_* names")


@pytest.fixture(scope="session")
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether a long proof runs whole."""
    return bool(request.config.getoption("--proof"))


def pytest_configure(config: pytest.Config) -> None:
    """pytest sets its own warning filters over those of the code: repeat the one of local/azure/http.py."""
    config.addinivalue_line("filterwarnings", "ignore::aiohttp.web.NotAppKeyWarning")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what seeded runs have to tell (``record_property("told", …)``): seeds and tally, also where all is well."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, told in report.user_properties:
            if name == "told" and report.when == "call":
                terminalreporter.write_line(told)


REAL_TIME = ("contract", "device", "host", "rehearsal")
"""Folders whose tests meet real sockets, processes and clocks: on a busy machine one may miss its deadline once. What
fails twice in a row is broken; what passed the second time is shown as a rerun."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Gives the tests of `REAL_TIME` a second try; whole proofs, and everything else, have one."""
    if config.getoption("--proof"):
        return
    root = Path(__file__).parent
    for item in items:
        if item.path.relative_to(root).parts[0] in REAL_TIME:
            item.add_marker(pytest.mark.flaky(reruns=1))


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


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """The connection string of an Azurite of this session, in memory."""
    host = f"{test_net()}.1"
    process = subprocess.Popen(tied(azurite_process.command(host)), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    for port in (azurite_process.BLOB, azurite_process.QUEUE, azurite_process.TABLE):
        while socket.socket().connect_ex((host, port)):
            assert process.poll() is None, "Azurite ended by itself"
            assert time.monotonic() < deadline, "Azurite did not answer within 30 s"
            time.sleep(0.05)
    yield azurite_process.connection_string(host)
    process.terminate()
    process.wait(30)


@pytest.fixture
def quiet() -> Iterator[None]:
    """No log lines of the product: thousands of runs have too many of them."""
    logger = logging.getLogger("rollover")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)
